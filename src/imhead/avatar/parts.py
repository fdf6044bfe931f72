"""The parts that a head's skin does not have: teeth, gums, tongue, lashes, tear lines; where they sit on any head.

Their shapes are ICT-FaceKit's (MIT), stored beside the template's own vertices at rest, so that they belong to no
model's weights. `python tools/avatar_parts.py` makes the file. A part follows a few hundred vertices of the template
and nothing else: an edit that moves none of these moves no part.

Shape legend: V template vertices, M vertices in the mouth, L at the lids, A anchors in the template, F faces.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from scipy.spatial import cKDTree

from imhead.checkpoint import check_tensors, read_tensors
from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.regions import CENTERS_MM, REGIONS
from imhead.types import FloatArray, IntArray

PARTS_FORMAT = "imhead-parts-1"
UPPER_GUM, LOWER_GUM, TONGUE, UPPER_TEETH, LOWER_TEETH = 0, 1, 2, 3, 19
"""Pieces of the mouth. Each tooth is a piece of its own: sixteen from `UPPER_TEETH`, sixteen from `LOWER_TEETH`."""
LASHES, TEAR_LINES, CARUNCLES = range(3)
"""Pieces at the lids."""
MOVED_SHAPES = ("jawForward", "jawLeft", "jawRight", "jawOpen")
"""The shapes that move the lower teeth."""


@dataclass(frozen=True, eq=False)
class Parts:
    """Shapes at rest, on the mean head, and how they follow the template. Head frame, mm."""

    skin: FloatArray
    """(V, 3) the template's vertices of the mean head, neutral."""
    shade: FloatArray
    """(V,) share of the sky that a vertex sees, 0 to 1."""
    marks: FloatArray
    """(68, 3) points of the usual 68 marks of a face: brows 17-26, lids 36-47, lips 48-67."""
    eyes: FloatArray
    """(2, 5) its eyeballs (surfaces/eyeballs.py)."""
    mouth: FloatArray
    """(M, 3) gums, tongue and teeth."""
    mouth_faces: IntArray
    """(F, 3) counter-clockwise seen from outside."""
    mouth_piece: IntArray
    """(M,) the piece of each vertex, non-decreasing."""
    anchors: IntArray
    """(A,) template vertices that the mouth's parts follow."""
    follow: FloatArray
    """(2, 12, 3 A) movements of the anchors → an affine map (3 × 4, `affine`) of the upper and of the lower jaw."""
    centers: FloatArray
    """(2, 3) the points about which these maps turn."""
    jaw: FloatArray
    """(4, 12) affine map of the lower jaw at weight 1 of each of `MOVED_SHAPES`, about its own centre."""
    lids: FloatArray
    """(L, 3) lashes, tear lines and caruncles."""
    lid_faces: IntArray
    """(F, 3)."""
    lid_piece: IntArray
    """(L,) `LASHES`, `TEAR_LINES` or `CARUNCLES`."""
    lid_root: FloatArray
    """(L, 3) the place on the lid that carries the vertex: the root of its lash, or the vertex itself."""


def affine(numbers: FloatArray, points: FloatArray, center: FloatArray) -> FloatArray:
    """Movements (N, 3) of points (N, 3) under an affine map (12,): nine numbers about `center`, and a shift."""
    table = numbers.reshape(3, 4)
    moved: FloatArray = (points - center) @ table[:, :3].T + table[:, 3]
    return moved


def save_parts(parts: Parts, path: Path, metadata: dict[str, str]) -> None:
    """Write the parts: places in half precision about the head's own, maps in single."""
    tensors = {}
    for spec in fields(Parts):
        value = np.ascontiguousarray(getattr(parts, spec.name))
        tensors[spec.name] = value.astype(np.float32 if np.issubdtype(value.dtype, np.floating) else np.int32)
    write_atomically(path, save(tensors, {"format": PARTS_FORMAT} | metadata))


@lru_cache(maxsize=2)
def load_parts(path: Path | None = None) -> Parts:
    """The parts that ship with the package, or those of a file.

    Raises:
        InputError: no such file, damaged, or it holds no parts.
    """
    path = path or Path(str(resources.files("imhead") / "assets" / "parts.safetensors"))
    tensors, _ = read_tensors(path, "parts", PARTS_FORMAT)
    names = {spec.name for spec in fields(Parts)}
    if set(tensors) != names:
        raise InputError(f"{path}: holds no parts ({', '.join(sorted(names.symmetric_difference(tensors)))})")
    v, m, a, n = (len(tensors[name]) for name in ("skin", "mouth", "anchors", "lids"))
    f, g = len(tensors["mouth_faces"]), len(tensors["lid_faces"])
    integers = {"mouth_faces": (f, 3), "mouth_piece": (m,), "anchors": (a,), "lid_faces": (g, 3), "lid_piece": (n,)}
    floats = {
        "skin": (v, 3), "shade": (v,), "marks": (68, 3), "eyes": (2, 5), "mouth": (m, 3), "follow": (2, 12, 3 * a),
        "centers": (2, 3),
        "jaw": (len(MOVED_SHAPES), 12), "lids": (n, 3), "lid_root": (n, 3),
    }  # fmt: skip
    check_tensors(path, {k: w for k, w in tensors.items() if k in integers}, integers, (torch.int32,))
    check_tensors(path, {k: w for k, w in tensors.items() if k not in integers}, floats)
    limits = {"mouth_faces": m, "mouth_piece": LOWER_TEETH + 16, "anchors": v, "lid_faces": n, "lid_piece": 3}
    for name, limit in limits.items():
        if not 0 <= int(tensors[name].min()) <= int(tensors[name].max()) < limit:
            raise InputError(f"{path}: tensor {name} holds an index out of range; get the file again")
    arrays = {name: value.double() if value.is_floating_point() else value.long() for name, value in tensors.items()}
    return Parts(**{name: value.numpy() for name, value in arrays.items()})


@lru_cache(maxsize=2)
def groups_of_skin(parts: Parts) -> NDArray[np.str_]:
    """(V,) the group of the region whose middle is nearest to each vertex of the template."""
    return np.array([region.group for region in REGIONS])[cKDTree(CENTERS_MM).query(parts.skin)[1]]


def in_lower_jaw(piece: IntArray) -> IntArray:
    """1 for the pieces (M,) that the jaw carries, 0 for those of the skull."""
    return ((piece == LOWER_GUM) | (piece == TONGUE) | (piece >= LOWER_TEETH)).astype(np.int64)


def shape_rows() -> list[int]:
    """Rows of `MOVED_SHAPES` among the 52."""
    return [ARKIT_NAMES.index(name) for name in MOVED_SHAPES]
