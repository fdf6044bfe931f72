"""Polygons and strips of a file as triangles, every index checked.

Shape legend: P polygons, C corners, F triangles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.types import IntArray

_FACES_PER_POINT = 6
"""A closed mesh has two triangles for each point, a mesh with both sides four."""
_FREE_FACES = 100_000
"""Triangles that any file may have, however few its points."""


def fan_triangles(
    counts: IntArray, corners: IntArray, point_count: int, label: str
) -> tuple[IntArray, tuple[str, ...]]:
    """Cut polygons into triangle fans.

    Args:
        counts: (P,) corners of each polygon.
        corners: (sum of counts,) point indices, polygon after polygon.
        point_count: number of points in the file.
        label: the file, for messages.

    Returns:
        (F, 3) triangles in polygon order, and a warning where polygons of fewer than three corners were left out.

    Raises:
        InputError: an index is negative or names no point, or there are many more triangles than points.
    """
    check_indices(corners, point_count, label)
    enough = counts >= 3
    short = len(counts) - int(enough.sum())
    warnings = (f"{short} faces have fewer than three corners and were left out.",) if short else ()
    if short:
        corners, counts = corners[np.repeat(enough, counts)], counts[enough]
    if (counts == 3).all():
        check_face_count(len(counts), point_count, label)
        return corners.reshape(-1, 3), warnings
    fans = counts - 2
    check_face_count(int(fans.sum()), point_count, label)
    polygon = np.repeat(np.arange(len(counts)), fans)
    start = (np.cumsum(counts) - counts)[polygon]
    step = np.arange(len(polygon)) - (np.cumsum(fans) - fans)[polygon]
    triangles = np.stack([corners[start], corners[start + step + 1], corners[start + step + 2]], axis=1)
    return triangles, warnings


def strip_triangles(counts: IntArray, corners: IntArray, point_count: int, label: str) -> IntArray:
    """(F, 3) triangles of strips, every second one turned; -1 ends a strip, and repeated corners are no triangle.

    Args:
        counts: (P,) numbers in each row of strips.
        corners: (sum of counts,) point indices and -1, row after row.
        point_count: number of points in the file.
        label: the file, for messages.

    Raises:
        InputError: an index names no point, or there are many more triangles than points.
    """
    cut = corners == -1
    check_indices(corners[~cut], point_count, label)
    place = np.arange(len(corners))
    begins = np.zeros(len(corners), dtype=bool)
    begins[:1] = True
    begins[1:] = cut[:-1]
    rows = np.cumsum(counts)[:-1]
    begins[rows[rows < len(corners)]] = True
    first = np.maximum.accumulate(np.where(begins, place, 0))
    a, b, c = corners[:-2], corners[1:-1], corners[2:]
    # three corners lie in one strip if the strip of the last began at or before the first
    whole = (first[2:] <= place[:-2]) & ~cut[:-2] & ~cut[1:-1] & ~cut[2:] & (a != b) & (b != c) & (c != a)
    check_face_count(int(whole.sum()), point_count, label)
    turned = ((place[:-2] - first[:-2]) % 2 == 1)[whole]
    triangles = np.stack([a[whole], b[whole], c[whole]], axis=1)
    triangles[turned] = triangles[turned][:, [1, 0, 2]]
    return triangles


def check_indices(corners: NDArray[np.integer], point_count: int, label: str) -> None:
    """Refuse an index that names no point.

    Raises:
        InputError: an index is negative or not below the number of points.
    """
    if not len(corners) or (corners.min() >= 0 and corners.max() < point_count):
        return
    wrong = corners[((corners < 0) | (corners >= point_count)).argmax()]
    raise InputError(
        f"{label}: a face names point {int(wrong)}, but the points run from 0 to {point_count - 1}; "
        "the file is damaged, export it again"
    )


def check_face_count(faces: int, point_count: int, label: str) -> None:
    """Refuse far more triangles than the points of a surface can carry, before memory is allocated for them.

    Raises:
        InputError: more than six triangles for each point, beyond the first 100 000.
    """
    if faces > _FACES_PER_POINT * point_count + _FREE_FACES:
        raise InputError(
            f"{label}: has {faces} triangles on only {point_count} points; it is damaged, export it again as one mesh"
        )
