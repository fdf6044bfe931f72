"""Lips that meet at rest.

A head's field closes a gap of a millimetre between lips, so its template may leave one, in which teeth would show.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree

from imhead.avatar.parts import MOVED_SHAPES, Parts, affine
from imhead.conventions import ARKIT_NAMES
from imhead.surfaces.normals import vertex_normals
from imhead.types import FloatArray, IntArray

_PAIR_MM, _OPPOSED = 2.2, -0.5  # vertices of the two lips that face each other on the mean head
_REACH_MM = np.array([24.0, 9.0, 14.0])  # around the middle of the mouth
_GAP_MM = 0.1  # left between them
_MOST = 0.12  # of the shape that closes lips; a wider gap is an open mouth, and stays
_LOWER_SHARE = 0.35  # of the jaw's movement: what follows it by more is the lower lip


def lips_shut(parts: Parts, faces: IntArray, skin: FloatArray, shapes: FloatArray) -> FloatArray:
    """Vertices (V, 3) of the neutral face `skin` with the gap between its lips closed by a little `mouthClose`.

    Args:
        faces: (F, 3) of the template.
        shapes: (52, V, 3) ARKit shapes, mm.
    """
    jaw = shapes[ARKIT_NAMES.index("jawOpen")]
    upper, lower = _facing(parts, faces.tobytes(), jaw.astype(np.float32).tobytes())
    if not len(upper):
        return skin
    close = shapes[ARKIT_NAMES.index("mouthClose")]
    gap = float(np.median(skin[upper, 1] - skin[lower, 1])) - _GAP_MM
    nearer = float(np.median(close[lower, 1] - close[upper, 1]))
    share = gap / max(nearer, 1e-6)
    return skin + close * share if 0.0 < share < _MOST else skin


@lru_cache(maxsize=2)
def _facing(parts: Parts, faces: bytes, jaw: bytes) -> tuple[IntArray, IntArray]:
    """Pairs of vertices (n,) of the upper and the lower lip that face each other at rest."""
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
    return upper[kept], lower[found[kept]]
