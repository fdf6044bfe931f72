"""Lips that meet at rest.

A head's field closes a gap of a millimetre between lips, so its template may leave one, in which teeth would show.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from imhead.avatar.parts import MOVED_SHAPES, Parts, affine
from imhead.conventions import ARKIT_NAMES
from imhead.surfaces.normals import vertex_normals
from imhead.template.projection import smoothstep
from imhead.types import FloatArray, IntArray

_PAIR_MM, _OPPOSED = 2.2, -0.5  # vertices of the two lips that face each other on the mean head
_REACH_MM = np.array([24.0, 9.0, 14.0])  # around the middle of the mouth
_GAP_MM = 0.1  # left between them
_OPEN_MM, _WIDE_MM = 4.0, 6.0  # a gap wider than the first is closed less; from the second on it stays open
_WIDTH_MM = 2.5  # over which neighbours close alike
_NEAR_MM, _FAR_MM = 3.0, 10.0  # from the lips' line: all of it, and nothing, so that an edit elsewhere moves no lip
_LOWER_SHARE = 0.35  # of the jaw's movement: what follows it by more is the lower lip


def lips_shut(parts: Parts, faces: IntArray, skin: FloatArray, shapes: FloatArray) -> FloatArray:
    """Vertices (V, 3) of the neutral face `skin` whose lips come together where a gap is between them.

    Nothing moves but the lips, and each of their places by the gap beside it.

    Args:
        faces: (F, 3) of the template.
        shapes: (52, V, 3) ARKit shapes, mm.
    """
    jaw = shapes[ARKIT_NAMES.index("jawOpen")]
    found = _facing(parts, faces.tobytes(), jaw.astype(np.float32).tobytes())
    if not len(found.upper):
        return skin
    gap = np.maximum(skin[found.upper, 1] - skin[found.lower, 1] - _GAP_MM, 0.0)
    gap = gap * np.clip((_WIDE_MM - gap) / (_WIDE_MM - _OPEN_MM), 0.0, 1.0)
    shut = skin.copy()
    shut[found.moved, 1] += found.spread @ gap
    return shut


@dataclass(frozen=True, eq=False)
class _Facing:
    """Pairs of vertices of the two lips that face each other at rest."""

    upper: IntArray
    """(n,)."""
    lower: IntArray
    """(n,)."""
    moved: IntArray
    """(m,) the lips' vertices."""
    spread: FloatArray
    """(m, n) how far up each vertex goes by the gap of each pair: half of it, down in the upper lip."""


@lru_cache(maxsize=2)
def _facing(parts: Parts, faces: bytes, jaw: bytes) -> _Facing:
    normals, _ = vertex_normals(parts.skin, np.frombuffer(faces, dtype=np.int64).reshape(-1, 3))
    opened = np.frombuffer(jaw, dtype=np.float32).reshape(-1, 3)
    bone = affine(parts.jaw[MOVED_SHAPES.index("jawOpen")], parts.skin, parts.centers[1])
    share = (opened * bone).sum(axis=1) / np.maximum(np.square(bone).sum(axis=1), 1.0)
    middle = parts.marks[[62, 66]].mean(axis=0)
    near = (np.abs(parts.skin - middle) < _REACH_MM).all(axis=1)
    upper = np.flatnonzero(near & (share < _LOWER_SHARE) & (normals[:, 1] < 0.0))
    lower = np.flatnonzero(near & (share >= _LOWER_SHARE) & (normals[:, 1] > 0.0))
    distance, found = cKDTree(parts.skin[lower]).query(parts.skin[upper])
    kept = (distance < _PAIR_MM) & ((normals[upper] * normals[lower[found]]).sum(axis=1) < _OPPOSED)
    upper, lower = upper[kept], lower[found[kept]]
    if not len(upper):
        return _Facing(upper, lower, upper, np.zeros((0, 0)))
    middles = 0.5 * (parts.skin[upper] + parts.skin[lower])
    apart = cKDTree(middles).query(parts.skin)[0]
    moved = np.flatnonzero(apart < _FAR_MM)
    weight = np.exp(-0.5 * np.square(cdist(parts.skin[moved], middles) / _WIDTH_MM)) + 1e-30
    weight /= weight.sum(axis=1, keepdims=True)
    up = np.where(share[moved] < _LOWER_SHARE, -0.5, 0.5) * smoothstep(_FAR_MM, _NEAR_MM, apart[moved])
    return _Facing(upper, lower, moved, up[:, None] * weight)
