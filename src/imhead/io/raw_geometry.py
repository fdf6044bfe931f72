"""What a geometry file holds: the value that every format reader returns, and the checks that all of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.types import FloatArray, IntArray, ScanTexture


@dataclass(frozen=True, eq=False)
class RawGeometry:
    """Points and triangles as a file holds them: finite, indices in range, nothing merged."""

    points: FloatArray
    """(N, 3), the file's own units."""
    normals: FloatArray | None
    """(N, 3) as written, not normalised and possibly not finite; None where the file has none."""
    faces: IntArray | None
    """(F, 3), polygons cut into fans; None for a point cloud."""
    warnings: tuple[str, ...] = ()
    """What the reader left out, one sentence each."""
    colors: NDArray[np.uint8] | None = None
    """(N, 3) sRGB of the points; None where the file has none."""
    texture: ScanTexture | None = None
    """Pictures on the faces; None where the file has none."""


def checked_geometry(
    points: NDArray[Any],
    label: str,
    *,
    normals: NDArray[Any] | None = None,
    faces: IntArray | None = None,
    warnings: tuple[str, ...] = (),
    colors: NDArray[np.uint8] | None = None,
    texture: ScanTexture | None = None,
) -> RawGeometry:
    """The geometry of a file, without the points that have no finite coordinates.

    A depth camera writes such points where it saw nothing, so they are left out with a warning; but a face that uses
    one makes the file damaged.

    Args:
        points: (N, 3), any number type.
        normals: (N, 3) or None.
        faces: (F, 3), indices in range; None or empty for a cloud.
        warnings: what the reader has left out so far.
        colors: (N, 3) sRGB or None.
        texture: pictures on the faces or None.

    Raises:
        InputError: no point, no finite point, or a face that uses a point that is not finite.
    """
    with np.errstate(invalid="ignore"):  # a signalling NaN warns when it is widened; it is left out below
        values = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        lit = None if normals is None else np.asarray(normals, dtype=np.float64).reshape(-1, 3)
    if len(values) == 0:
        raise InputError(f"{label}: holds no points; export the scan again")
    faces = faces if faces is not None and len(faces) else None
    texture = texture if faces is not None else None
    fine: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=1))
    if fine.all():
        return RawGeometry(values, lit, faces, warnings, colors, texture)
    bad = int((~fine).sum())
    if not fine.any():
        raise InputError(f"{label}: all {len(values)} points are NaN or infinite; export the scan again")
    if faces is not None:
        if not fine[faces].all():
            raise InputError(
                f"{label}: {bad} of {len(values)} points are NaN or infinite, and faces use them; the first is "
                f"point {int(fine.argmin())}; remove them or export the scan again"
            )
        faces = (np.cumsum(fine) - 1)[faces]
    warnings += (f"{bad} of {len(values)} points have no finite coordinates and were left out.",)
    lit = None if lit is None else lit[fine]
    return RawGeometry(values[fine], lit, faces, warnings, None if colors is None else colors[fine], texture)


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
    elif values.dtype == np.uint64 and len(values) and int(values.max()) > np.iinfo(np.int64).max:
        raise InputError(f"{label}: {what} {int(values.max())} is too large; export the scan again")
    return values.astype(np.int64, copy=False)
