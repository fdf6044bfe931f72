"""Mending triangle meshes: equal points merged, degenerate faces and unused points left out.

Shape legend: V vertices, F faces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.surfaces.properties import face_cross
from imhead.types import FloatArray, IntArray

_FLAT = 1e-7


def merge_equal_points(points: NDArray[Any], faces: NDArray[Any]) -> tuple[FloatArray, IntArray]:
    """Merge points that are equal to the last bit, keeping the order of first appearance.

    Args:
        points: (V, 3).
        faces: (F, 3).

    Returns:
        (V', 3) points and (F, 3) faces that index them; the arrays given where no two points are equal.
    """
    array, corners = np.asarray(points, dtype=np.float64), np.asarray(faces, dtype=np.int64)
    order = np.lexsort(array.T)
    in_order = array[order]
    fresh = np.ones(len(array), dtype=bool)
    fresh[1:] = (in_order[1:] != in_order[:-1]).any(axis=1)
    del in_order
    if fresh.all():
        return array, corners  # no two are equal
    # lexsort is stable, so the first of each group is its first appearance
    first = order[fresh][np.cumsum(fresh) - 1]
    representative = np.empty(len(array), dtype=np.int64)
    representative[order] = first
    kept = representative == np.arange(len(array))
    new_index = np.cumsum(kept) - 1
    # one look-up for each corner: there may be far more corners than points
    return array[kept], new_index[representative][corners]


def surface_faces(points: FloatArray, faces: IntArray) -> NDArray[np.bool_]:
    """(F,) True for faces with area: three different corners, and a height above 1e-7 of the longest edge."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    longest = np.max([np.linalg.norm(e, axis=1) for e in (b - a, c - b, a - c)], axis=0)
    twice_area = np.linalg.norm(face_cross(points, faces), axis=1)
    different = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    has_area: NDArray[np.bool_] = different & (twice_area > _FLAT * longest**2)
    return has_area


def without_unused_points(points: FloatArray, faces: IntArray) -> tuple[FloatArray, IntArray]:
    """(V', 3) points that a face uses, in their order, and the (F, 3) faces that index them."""
    used = np.zeros(len(points), dtype=bool)
    used[faces.reshape(-1)] = True
    return points[used], (np.cumsum(used) - 1)[faces]
