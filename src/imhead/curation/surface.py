"""Mending triangle meshes: merging equal points, leaving out what is no surface, vertex normals.

Shape legend: V vertices, F faces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_CANCELLED = 1e-6
_FLAT = 1e-7


def merge_equal_points(points: NDArray[Any], faces: NDArray[Any]) -> tuple[Float, Int]:
    """Merge points that are equal to the last bit, keeping the order of first appearance.

    Args:
        points: (V, 3).
        faces: (F, 3).

    Returns:
        (V', 3) points and (F, 3) faces that index them.
    """
    array = np.asarray(points, dtype=np.float64)
    order = np.lexsort(array.T)
    in_order = array[order]
    fresh = np.ones(len(array), dtype=bool)
    fresh[1:] = (in_order[1:] != in_order[:-1]).any(axis=1)
    # lexsort is stable, so the first of each group is its first appearance
    first = order[fresh][np.cumsum(fresh) - 1]
    representative = np.empty(len(array), dtype=np.int64)
    representative[order] = first
    kept = representative == np.arange(len(array))
    new_index = np.cumsum(kept) - 1
    return array[kept], new_index[representative[np.asarray(faces, dtype=np.int64)]]


def surface_faces(points: Float, faces: Int) -> NDArray[np.bool_]:
    """(F,) True for faces with area: three different corners, not on one line (height over the longest edge > 1e-7)."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    longest = np.max([np.linalg.norm(e, axis=1) for e in (b - a, c - b, a - c)], axis=0)
    twice_area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    different = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    has_area: NDArray[np.bool_] = different & (twice_area > _FLAT * longest**2)
    return has_area


def without_unused_points(points: Float, faces: Int) -> tuple[Float, Int]:
    """Points that a face names, in their order, and the faces that index them."""
    used = np.zeros(len(points), dtype=bool)
    used[faces.reshape(-1)] = True
    return points[used], (np.cumsum(used) - 1)[faces]


def vertex_normals(vertices: NDArray[Any], faces: NDArray[Any]) -> tuple[Float, int]:
    """Area-weighted unit normals of the vertices, every one of length 1.

    Args:
        vertices: (V, 3).
        faces: (F, 3), counter-clockwise seen from outside.

    Returns:
        (V, 3) normals, and the number of vertices whose faces cancel out (a surface doubled back on itself): those
        take the normal of their largest face. A vertex without any face with area points along +Z and counts too.
    """
    points, triangles = np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64)
    a, b, c = (points[triangles[:, k]] for k in range(3))
    weighted = np.cross(b - a, c - a)
    corner, repeated = triangles.T.reshape(-1), np.tile(weighted, (3, 1))
    total = np.stack([np.bincount(corner, repeated[:, k], minlength=len(points)) for k in range(3)], axis=1)
    area = np.linalg.norm(weighted, axis=1)
    scale = np.bincount(corner, np.tile(area, 3), minlength=len(points))
    length = np.linalg.norm(total, axis=1)
    cancelled = length <= _CANCELLED * scale
    if cancelled.any():
        # ascending by area, so that the largest face of a vertex is written last
        rising = np.argsort(np.tile(area, 3), kind="stable")
        largest = np.full(len(points), -1, dtype=np.int64)
        largest[corner[rising]] = np.tile(np.arange(len(triangles)), 3)[rising]
        fallback = np.where((largest >= 0)[:, None], weighted[largest], 0.0) if len(triangles) else np.zeros_like(total)
        fallback[np.linalg.norm(fallback, axis=1) == 0] = (0.0, 0.0, 1.0)
        total[cancelled] = fallback[cancelled]
        length = np.linalg.norm(total, axis=1)
    return total / length[:, None], int(cancelled.sum())
