"""The formats that can be read, by extension."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imhead.io.archive import read_zip
from imhead.io.collada import read_dae
from imhead.io.file_kind import check_kind
from imhead.io.gltf import read_glb, read_gltf
from imhead.io.obj import read_obj
from imhead.io.off import read_off
from imhead.io.pcd import read_pcd
from imhead.io.ply import read_ply
from imhead.io.point_text import read_points
from imhead.io.raw_geometry import RawGeometry
from imhead.io.siblings import Beside
from imhead.io.stl import read_stl
from imhead.io.threemf import read_3mf
from imhead.io.usd import read_usd, read_usdz
from imhead.io.vrml import read_wrl
from imhead.io.vtk import read_vtk, read_vtp

_Reader = Callable[[bytes, str, Beside], RawGeometry]


def _alone(read: Callable[[bytes, str], RawGeometry]) -> _Reader:
    """A reader of a format whose geometry is in one file."""
    return lambda data, label, beside: read(data, label)


_UNPACKED: dict[str, _Reader] = {
    ".ply": _alone(read_ply), ".obj": read_obj, ".stl": _alone(read_stl), ".glb": read_glb,
    ".gltf": read_gltf, ".off": _alone(read_off), ".3mf": _alone(read_3mf), ".vtk": _alone(read_vtk),
    ".vtp": _alone(read_vtp), ".xyz": _alone(read_points), ".asc": _alone(read_points),
    ".pts": _alone(read_points), ".pcd": _alone(read_pcd),
    ".wrl": _alone(read_wrl), ".dae": _alone(read_dae), ".usda": _alone(read_usd), ".usdc": _alone(read_usd),
    ".usd": _alone(read_usd), ".usdz": _alone(read_usdz),
}  # fmt: skip


def _read_archive(data: bytes, label: str, beside: Beside) -> RawGeometry:
    return read_zip(data, label, tuple(_UNPACKED), read_bytes)


READERS: dict[str, _Reader] = {**_UNPACKED, ".zip": _read_archive}
"""Extension, lower case with its dot → reader of the bytes, the label for messages, and the files beside."""


def read_bytes(data: bytes, suffix: str, label: str, beside: Beside) -> RawGeometry:
    """The geometry of a file of a known extension.

    Raises:
        InputError: the bytes are not of this format, or damaged; one line.
    """
    check_kind(data, suffix, label)
    with np.errstate(all="ignore"):  # a file may hold any numbers; those that are not finite are looked for in the end
        return READERS[suffix](data, label, beside)
