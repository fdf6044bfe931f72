"""What a geometry file holds, checked but not mended: the value that every format reader returns, and its checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.types import FloatArray, IntArray

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, eq=False)
class RawGeometry:
    """Points and triangles as a file holds them: finite, indices in range, nothing merged or left out."""

    points: FloatArray
    """(N, 3), the file's own units."""
    normals: FloatArray | None
    """(N, 3) as written, not normalised and possibly not finite; None where the file has none."""
    faces: IntArray | None
    """(F, 3), polygons cut into fans; None for a point cloud."""
    warnings: tuple[str, ...] = ()
    """What the reader left out, one sentence each."""


def checked_points(points: NDArray[Any], label: str) -> FloatArray:
    """(N, 3) float64 copy of the points.

    Raises:
        InputError: no point at all, or a coordinate that is NaN or infinite.
    """
    with np.errstate(invalid="ignore"):  # a signalling NaN warns when it is widened; it is refused below
        values = np.array(points, dtype=np.float64).reshape(-1, 3)
    if len(values) == 0:
        raise InputError(f"{label}: holds no points; export the scan again")
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise InputError(
            f"{label}: {int(bad.sum())} of {len(values)} points are NaN or infinite, the first is "
            f"point {int(bad.argmax())}; remove them or export the scan again"
        )
    return values


def whole_numbers(values: NDArray[Any], what: str, label: str) -> IntArray:
    """The values as int64.

    Raises:
        InputError: a value is not finite, not whole or too large to be an index or a count.
    """
    if np.issubdtype(values.dtype, np.floating):
        with np.errstate(invalid="ignore"):
            fine = np.isfinite(values) & (np.abs(values) < 2.0**53) & (values == np.floor(values))
        if not fine.all():
            raise InputError(f"{label}: {what} {values[~fine][0]!s} is not a whole number; export the scan again")
    return values.astype(np.int64)


def index_array(indices: list[int], point_count: int) -> IntArray:
    """The point indices of a text file as int64; numbers too large for it stay out of range without overflowing."""
    limit = np.iinfo(np.int64).max
    return np.array([i if -1 <= i < point_count else max(-limit, min(limit, i)) for i in indices], dtype=np.int64)


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
        InputError: an index is negative or names no point.
    """
    outside = (corners < 0) | (corners >= point_count)
    if outside.any():
        raise InputError(
            f"{label}: a face names point {int(corners[outside][0])}, but the points run from 0 to {point_count - 1}; "
            "the file is damaged, export it again"
        )
    fans = np.maximum(counts - 2, 0)
    polygon = np.repeat(np.arange(len(counts)), fans)
    start = (np.cumsum(counts) - counts)[polygon]
    step = np.arange(len(polygon)) - (np.cumsum(fans) - fans)[polygon]
    triangles = np.stack([corners[start], corners[start + step + 1], corners[start + step + 2]], axis=1)
    short = int((counts < 3).sum())
    warnings = (f"{short} faces have fewer than three corners and were left out.",) if short else ()
    return triangles, warnings


def bad_row(label: str, number: int, row: bytes) -> InputError:
    """The error for a line of a text file that cannot be read; lines count from 1."""
    shown = ascii(row.decode("latin-1").strip()[:_SHOWN_CHARACTERS])
    return InputError(f"{label}: line {number} makes no sense: {shown}; the file is damaged, export it again")
