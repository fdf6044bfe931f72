"""Hair on virtual heads: beards, moustaches, and hair that hangs over the ears, grown on a head whose skin is known.

Hair is what a scanner makes of it: a rough surface outside the skin, with waves of a few millimetres.

Shape legend: V vertices, F faces, N points.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from imhead.errors import InputError
from imhead.surfaces.normals import vertex_normals
from imhead.template.projection import smoothstep
from imhead.types import BoolArray, FloatArray, Mesh

HairStyle = Literal["beard", "moustache", "over_ears"]

_EDGE_MM = 1.0  # of the triangles that carry hair: short enough for the shortest wave
_ROUGH_WAVES_MM = (1.5, 4.0)
_LOCK_WAVES_MM = (15.0, 30.0)
_LOCK_SHARE = 0.25  # standard deviation of the thickness from lock to lock, over the thickness
_RIM_MM = 4.0  # over which hair grows thick
_CURTAIN_AXES_MM = (96.0, 130.0, 100.0)  # of the ellipsoid on which hair over the ears hangs, clear of the helix
_CURTAIN_CENTER_MM = (0.0, 15.0, -14.0)


def grow_hair(
    head: Mesh, mean_mm: FloatArray, style: HairStyle, thickness_mm: float, rough_mm: float, rng: np.random.Generator
) -> Mesh:
    """A head with hair.

    Args:
        head: the bald head, head frame, mm.
        mean_mm: (V, 3) its vertices on the mean head: they say where hair grows.
        style: which hair.
        thickness_mm: of a beard or moustache, from the skin to the hair's surface; hair over the ears clears them.
        rough_mm: standard deviation of the hair's waves of 1.5 to 4 mm.
        rng: the same state gives the same hair.

    Raises:
        InputError: an unknown style, or a length that is not above 0.
    """
    if style not in get_args(HairStyle):
        raise InputError(f"hair style {style!r} is unknown; give one of {', '.join(get_args(HairStyle))}")
    if not (thickness_mm > 0 and rough_mm > 0):
        raise InputError(f"hair of {thickness_mm} mm, rough by {rough_mm} mm; give lengths above 0")
    if style == "over_ears":
        return _with_curtains(head, rough_mm, rng)
    vertices, mean, faces = head.vertices, np.asarray(mean_mm, dtype=np.float64), head.faces
    for _ in range(6):
        corners = vertices[faces]
        longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
        coarse = np.flatnonzero(_bears(mean, style)[faces].any(axis=1) & (longest > _EDGE_MM))
        if not len(coarse):
            break
        both, faces = trimesh.remesh.subdivide(np.hstack([vertices, mean]), faces, coarse)
        vertices, mean = both[:, :3], both[:, 3:]
    bears = _bears(mean, style)
    grown = np.zeros(len(vertices))
    inner = cKDTree(vertices[~bears]).query(vertices[bears])[0]
    locks = thickness_mm * np.maximum(0.3, 1.0 + _LOCK_SHARE * _waves(vertices[bears], _LOCK_WAVES_MM, rng))
    grown[bears] = (locks + rough_mm * _waves(vertices[bears], _ROUGH_WAVES_MM, rng)) * smoothstep(0.0, _RIM_MM, inner)
    normals, _ = vertex_normals(vertices, faces)
    return Mesh(vertices + grown[:, None] * normals, faces)


def _bears(mean: FloatArray, style: HairStyle) -> BoolArray:
    """(V,) bool: places (V, 3) of the mean head, mm, that bear the hair of a beard or of a moustache."""
    x, y, z = np.abs(mean[:, 0]), mean[:, 1], mean[:, 2]
    lips = ((x / 27.0) ** 1.6 + (np.abs(y + 40.3) / 11.0) ** 1.6 < 1.0) & (z > 75.0)
    upper_lip = (x < 30.0) & (y > -42.0) & (y < -20.0) & (z > 84.0)
    if style == "moustache":
        moustache: BoolArray = upper_lip & ~lips
        return moustache
    # from the sideburns, before the ears, down to the corners of the mouth, and to the neck under the jaw
    below = (y < 20.0 - 0.65 * (z - 10.0)) & (y > -100.0) & (z > np.where(y > -50.0, 12.0, 5.0)) & (x < 85.0)
    beard: BoolArray = (below | upper_lip) & ~lips
    return beard


def _waves(points: FloatArray, lengths_mm: tuple[float, float], rng: np.random.Generator) -> FloatArray:
    """(N,) a smooth random field of unit variance at points (N, 3), of waves in all directions."""
    ways = rng.normal(size=(3, 48))
    ways *= 2.0 * math.pi / (rng.uniform(*lengths_mm, 48) * np.linalg.norm(ways, axis=0))
    total: FloatArray = np.cos(points @ ways + rng.uniform(0.0, 2.0 * math.pi, 48)).sum(axis=1) * math.sqrt(2.0 / 48)
    return total


def _with_curtains(head: Mesh, rough_mm: float, rng: np.random.Generator) -> Mesh:
    """The head, and a sheet of hair on each side that hides ear and temple."""
    vertices, faces = [head.vertices], [head.faces]
    y, z = np.meshgrid(np.arange(-45.0, 95.0, _EDGE_MM), np.arange(-75.0, 18.0, _EDGE_MM), indexing="ij")
    corner = np.arange(y.size).reshape(y.shape)
    a, b, c, d = (p.reshape(-1) for p in (corner[:-1, :-1], corner[1:, :-1], corner[:-1, 1:], corner[1:, 1:]))
    left = np.concatenate([np.stack([a, b, c], axis=1), np.stack([b, d, c], axis=1)])
    (_, cy, cz), (ax, ay, az) = _CURTAIN_CENTER_MM, _CURTAIN_AXES_MM
    x = ax * np.sqrt(np.maximum(1.0 - ((y - cy) / ay) ** 2 - ((z - cz) / az) ** 2, 0.05))
    for side in (1.0, -1.0):
        sheet = np.stack([side * x, y, z], axis=-1).reshape(-1, 3)
        sheet[:, 0] += side * rough_mm * _waves(sheet, _ROUGH_WAVES_MM, rng)
        faces.append((left if side > 0 else left[:, ::-1]) + sum(len(part) for part in vertices))
        vertices.append(sheet)
    return Mesh(np.concatenate(vertices), np.concatenate(faces))
