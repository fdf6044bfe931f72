"""Learnt topologies on disk: safetensors files in the user's data folder, or wherever they are put.

Shape legend: U vertices, V of the template, P polygons, C corners, T texture vertices.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save

from imhead.checkpoint import check_tensors, read_tensors
from imhead.errors import InputError, one_line
from imhead.io.atomic import write_atomically
from imhead.io.obj_polygons import Polygons, polygon_obj
from imhead.io.tensor_file import with_metadata
from imhead.template.surface import TemplateSurface
from imhead.topology.binding import NEAR_MM, Binding
from imhead.types import BoolArray, FloatArray, IntArray

FORMAT = "imhead-user-topology-1"
SUFFIX = ".safetensors"
_LONGEST_NAME = 60
_MOST_VERTICES = 2_000_000
_FLOATS = ("rest", "template_rest", "shares", "uv", "jaw")
_INTEGERS = ("corners", "eye", "chin", "counts", "polygon_corners", "uv_corners")


@dataclass(frozen=True, eq=False)
class UserTopology:
    """A user's mesh that follows the template."""

    name: str
    """What it is called."""
    binding: Binding
    """How its vertices hang on the template."""
    polygons: Polygons
    """Its polygons and UVs, as its file has them."""
    template_digest: str
    """Of the template's topology that it hangs on."""

    def placed(self, template: TemplateSurface, vertices: FloatArray, neutral: FloatArray | None = None) -> FloatArray:
        """The mesh (U, 3) on a template with vertices (V, 3), and without its expression (V, 3), mm.

        Raises:
            InputError: it was learnt on another template.
        """
        if digest_of(template.faces) != self.template_digest or len(vertices) != len(self.binding.template_rest):
            raise InputError(f"topology {self.name!r} was learnt on another template; learn it again with this model")
        return self.binding.placed(vertices, neutral)

    def triangles(self) -> IntArray:
        """(F, 3) its polygons, cut into fans."""
        return self.binding.triangles

    @property
    def on_skin(self) -> BoolArray:
        """(U,) vertices that lie on the template's skin: no eyeball, tooth or hair."""
        on_skin: BoolArray = (self.binding.distance_mm < NEAR_MM) & (self.binding.eye == 0)
        return on_skin

    @property
    def nearest(self) -> IntArray:
        """(U,) the template's vertex nearest to each of its vertices."""
        corners, largest = self.binding.corners, self.binding.shares.argmax(axis=1)
        nearest: IntArray = corners[np.arange(len(corners)), largest]
        return nearest

    def at_vertices(self, values: FloatArray) -> FloatArray:
        """(U,) values at its vertices, from values (V,) at the template's; NaN where one that counts is NaN."""
        shares = self.binding.shares
        carried: FloatArray = np.where(shares > 0.0, shares * values[self.binding.corners], 0.0).sum(axis=1)
        return carried

    def obj(self, vertices: FloatArray, notes: dict[str, str]) -> bytes:
        """A Wavefront OBJ of the mesh with vertices (U, 3): polygons, UVs and order as they are."""
        return polygon_obj(vertices, self.polygons, notes)


def digest_of(faces: IntArray) -> str:
    """First 16 hex digits of the SHA-256 over the template's faces (F, 3)."""
    return hashlib.sha256(np.ascontiguousarray(faces, dtype=np.int32).tobytes()).hexdigest()[:16]


def data_folder() -> Path:
    """Where learnt topologies are kept: the data folder of the platform."""
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = str(Path.home() / "Library" / "Application Support")
    else:
        root = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(root) / "imhead" / "topologies"


def topology_path(name: str) -> Path:
    """The file of a topology: `NAME.safetensors` in the data folder, or the path that the name is.

    Raises:
        InputError: neither a path that ends in .safetensors nor a plain name.
    """
    if name.endswith(SUFFIX):
        return Path(name)
    plain = 0 < len(name) <= _LONGEST_NAME and all(c.isalnum() or c in "-_." for c in name)
    if not plain or name.startswith("."):
        shown = one_line(name, 40)
        raise InputError(f"topology {shown!r}: give a name of letters, digits, - and _, or a {SUFFIX} file")
    return data_folder() / f"{name}{SUFFIX}"


def known_topologies() -> list[str]:
    """Names in the data folder."""
    folder = data_folder()
    return sorted(path.stem for path in folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []


def save_topology(topology: UserTopology, path: Path) -> None:
    """Write a topology.

    Raises:
        InputError: the file cannot be written.
    """
    binding, polygons = topology.binding, topology.polygons
    tensors = {
        "rest": binding.rest, "template_rest": binding.template_rest, "corners": binding.corners,
        "shares": binding.shares, "eye": binding.eye, "jaw": binding.jaw, "chin": binding.chin,
        "counts": polygons.counts, "polygon_corners": polygons.corners,
    }  # fmt: skip
    if polygons.uv is not None and polygons.uv_corners is not None:
        tensors |= {"uv": polygons.uv, "uv_corners": polygons.uv_corners}
    stored = {
        name: np.ascontiguousarray(value, dtype=np.float32 if name in _FLOATS else np.int32)
        for name, value in tensors.items()
    }
    metadata = {"format": FORMAT, "name": topology.name, "template": topology.template_digest}
    write_atomically(path, with_metadata(save(stored), metadata))


def open_topology(name: str, template: TemplateSurface) -> UserTopology:
    """A learnt topology by name or path, on the template that it hangs on.

    Raises:
        InputError: there is none, it is damaged, or it was learnt on another template.
    """
    path = topology_path(name)
    if not path.exists() and not name.endswith(SUFFIX):
        known = ", ".join(known_topologies()) or "none"
        raise InputError(f"no topology is named {name!r}; known: {known}; imhead topology learn makes one")
    tensors, metadata = read_tensors(path, "user-topology", FORMAT)
    label = one_line(path)
    if metadata.get("template") != digest_of(template.faces):
        raise InputError(f"{label}: was learnt on another template; learn it again with this model")
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    u, p, c, t = (shapes.get(key, (0,))[0] if shapes.get(key) else 0
                  for key in ("rest", "counts", "polygon_corners", "uv"))  # fmt: skip
    wanted: dict[str, tuple[int, ...]] = {
        "rest": (u, 3), "template_rest": (len(template.part), 3), "corners": (u, 3), "shares": (u, 3), "eye": (u,),
        "jaw": (u,), "chin": shapes.get("chin", (0,)), "counts": (p,), "polygon_corners": (c,),
    }  # fmt: skip
    if "uv" in tensors or "uv_corners" in tensors:
        wanted |= {"uv": (t, 2), "uv_corners": (c,)}
    floats = {key: value for key, value in tensors.items() if key in _FLOATS}
    whole = {key: value for key, value in tensors.items() if key not in _FLOATS}
    check_tensors(path, floats, _only(wanted, _FLOATS), (torch.float32,))
    check_tensors(path, whole, _only(wanted, _INTEGERS), (torch.int32,))
    arrays: dict[str, Any] = {key: value.double().numpy() for key, value in floats.items()}
    arrays |= {key: value.long().numpy() for key, value in whole.items()}
    limits = {
        "corners": len(template.part),
        "chin": len(template.part),
        "eye": 4,
        "polygon_corners": u,
        "uv_corners": t,
    }
    for key, limit in limits.items():
        if key in arrays and arrays[key].size and not 0 <= arrays[key].min() <= arrays[key].max() < limit:
            raise InputError(f"{label}: tensor {key} holds an index out of range; learn it again")
    counts = arrays["counts"]
    if not 0 < u <= _MOST_VERTICES or not p or counts.min() < 3 or counts.sum() != c:
        raise InputError(f"{label}: its polygons do not fit together; learn it again")
    polygons = Polygons(counts, arrays["polygon_corners"], arrays.get("uv"), arrays.get("uv_corners"))
    binding = Binding(
        arrays["rest"], polygons.triangles(u), arrays["template_rest"], template.faces, template.part,
        arrays["corners"], arrays["shares"], arrays["eye"], arrays["jaw"], arrays["chin"],
    )  # fmt: skip
    return UserTopology(one_line(metadata.get("name", path.stem), 100), binding, polygons, digest_of(template.faces))


def _only(shapes: dict[str, tuple[int, ...]], names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    return {key: shape for key, shape in shapes.items() if key in names}
