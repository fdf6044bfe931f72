"""Scans from untrusted files: every refusal is one line that says what to do.

The formats are read from their raw bytes, because general readers silently drop NaN, wrap negative indices and cut
short rows, and because time and memory have to stay in proportion to the file.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.io.formats import READERS, read_bytes
from imhead.io.raw_geometry import RawGeometry
from imhead.io.siblings import files_beside
from imhead.surfaces.mending import merge_equal_points, surface_faces, without_unused_points
from imhead.surfaces.normals import vertex_normals
from imhead.types import FloatArray, IntArray, Scan

_MIN_POINTS = 200
"""Fewer points than this cannot show a face."""

SCAN_EXTENSIONS: tuple[str, ...] = tuple(READERS)
"""Extensions that can be read, lower case, with their dot."""

_LARGEST_COORDINATE = 1e9
_SMALLEST_EXTENT = 1e-6
_FLAT_SHARE = 1e-4
_FACES_AT_ONCE = 1 << 15
_REPEATED_ORIGIN = 10
"""Points of a cloud at exactly (0, 0, 0) from which on they are pixels without depth."""


def read_scan(path: Path, *, max_bytes: int = 1 << 30) -> Scan:
    """Read a scan: a mesh or a point cloud in its own frame and units.

    In a mesh, bitwise equal points are merged; faces without area and points without a face are left out, with a
    warning in `Scan.warnings`; normals are area-weighted vertex normals. A cloud keeps the normals of the file, scaled
    to length 1, or has None if one of them is zero or not finite. Colours and pictures come along; a picture that
    cannot be read is a warning.

    Args:
        path: a file with one of `SCAN_EXTENSIONS`.
        max_bytes: larger files are refused without reading them.

    Raises:
        InputError: the file is missing, unreadable, damaged, hostile, or too small for a scan; one line.
    """
    label = one_line(path)
    raw = read_geometry(path, max_bytes=max_bytes)
    warnings = list(raw.warnings)
    if raw.faces is not None and len(raw.faces):
        points, faces, colors, texture = raw.points, raw.faces, raw.colors, raw.texture
        del raw  # every step lets go of the arrays of the one before
        check_magnitude(points, label)
        used = np.zeros(len(points), dtype=bool)
        used[faces] = True
        unused = len(points) - int(used.sum())
        before = faces if colors is not None else None
        points, faces = merge_equal_points(points, faces)
        colors = _renumbered(colors, before, faces, len(points))
        real = _with_area(points, faces, warnings, label)
        if not real.all():
            faces = faces[real]
            texture = None if texture is None else replace(texture, uv=texture.uv[real], picture=texture.picture[real])
        if unused:
            warnings.append(f"{unused} points that belong to no face were left out.")
        before = faces if colors is not None else None
        points, faces = without_unused_points(points, faces)
        colors = _renumbered(colors, before, faces, len(points))
        del before
        normals: FloatArray | None
        normals, doubled = vertex_normals(points, faces)
        if doubled:
            warnings.append(f"At {doubled} points the surface is doubled back on itself; their normals are uncertain.")
        check_extent(points, label)
        return Scan(path.stem, points, normals, faces, tuple(warnings), colors, texture)
    raw = _without_repeated_origin(raw, warnings)
    check_extent(raw.points, label)
    return Scan(path.stem, raw.points, _unit_normals(raw.normals, warnings), None, tuple(warnings), raw.colors)


def read_geometry(path: Path, *, max_bytes: int = 1 << 30) -> RawGeometry:
    """The geometry of a file, checked but unmended: finite points in file order, faces with indices in range.

    Args:
        path: a file with one of `SCAN_EXTENSIONS`.
        max_bytes: larger files are refused without reading them.

    Raises:
        InputError: the file is missing, of an unknown format, too large, or damaged; one line.
    """
    path = Path(path)
    label = one_line(path)
    known = ", ".join(SCAN_EXTENSIONS)
    suffix = path.suffix.lower()
    try:
        if path.is_dir():
            raise InputError(f"{label}: is a folder; name one of the scans in it ({known})")
        if not path.exists():
            raise InputError(f"{label}: no such file; check the path")
        if suffix not in READERS:
            extension = ascii(path.suffix)[1:-1] or "no extension"
            raise InputError(f"{label}: {extension} is not a format that can be read; convert it to one of {known}")
        if not path.is_file():
            raise InputError(f"{label}: is not a regular file; copy the scan to disk first")
        size = path.stat().st_size
        if size == 0:
            raise InputError(f"{label}: is empty; copy or export it again")
        if size > max_bytes:
            raise InputError(f"{label}: has {size} bytes, more than the {max_bytes} allowed; thin the scan out first")
        data = path.read_bytes()
        beside = files_beside(path, label, max_bytes)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{label}: cannot be opened ({reason}); check the path and its permissions") from None
    return read_bytes(data, suffix, label, beside)


def one_line(path: Path) -> str:
    """The path for a message, with line breaks and control characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))


def _renumbered(
    colors: NDArray[np.uint8] | None, before: IntArray | None, faces: IntArray, count: int
) -> NDArray[np.uint8] | None:
    """Colours (count, 3) of the points that `faces` (F, 3) name, of those (N, 3) that the same faces named `before`."""
    if colors is None or before is None:
        return None
    found = np.zeros((count, 3), dtype=np.uint8)
    found[faces[::-1].ravel()] = colors[before[::-1].ravel()]  # of equal points the first counts
    return found


def _with_area(points: FloatArray, faces: IntArray, warnings: list[str], label: str) -> NDArray[np.bool_]:
    """(F,) whether a face has area; a sentence says how many have none."""
    # some faces at a time: their edges would need more memory than the whole file
    real = np.concatenate(
        [surface_faces(points, faces[k : k + _FACES_AT_ONCE]) for k in range(0, len(faces), _FACES_AT_ONCE)]
    )
    if not real.any():
        raise InputError(f"{label}: none of its {len(faces)} faces has any area; export the scan again")
    if not real.all():
        warnings.append(f"{int((~real).sum())} faces without area were left out.")
    return real


def _without_repeated_origin(raw: RawGeometry, warnings: list[str]) -> RawGeometry:
    """A cloud without the points at (0, 0, 0), where a depth camera puts pixels without depth."""
    origin: NDArray[np.bool_] = np.asarray(~raw.points.any(axis=1))
    count = int(origin.sum())
    if count < _REPEATED_ORIGIN or count == len(origin):
        return raw
    warnings.append(f"{count} points at exactly (0, 0, 0), pixels without depth, were left out.")
    return replace(
        raw,
        points=raw.points[~origin],
        normals=None if raw.normals is None else raw.normals[~origin],
        colors=None if raw.colors is None else raw.colors[~origin],
    )


def _unit_normals(normals: FloatArray | None, warnings: list[str]) -> FloatArray | None:
    if normals is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.linalg.norm(normals, axis=1)
    fine = np.isfinite(length) & (length > 1e-12)
    if not fine.all():
        warnings.append(f"{int((~fine).sum())} normals in the file are zero or not finite, so none of them was used.")
        return None
    unit: FloatArray = normals / length[:, None]
    return unit


def check_magnitude(points: FloatArray, label: str) -> None:
    """Refuse coordinates so large that lengths and areas would overflow or lose the shape.

    Raises:
        InputError: a coordinate beyond 1e9.
    """
    largest = float(np.abs(points).max())
    if largest > _LARGEST_COORDINATE:
        raise InputError(
            f"{label}: has a coordinate of {largest:.3g}, which in no unit is a head; export the scan again"
        )


def check_extent(points: FloatArray, label: str) -> None:
    """Refuse points that cannot show a face.

    Raises:
        InputError: fewer than 200 points or distinct points, no extent, or all on one plane or line.
    """
    if len(points) < _MIN_POINTS:
        raise InputError(f"{label}: has {len(points)} points, a scan needs at least {_MIN_POINTS}; export it in full")
    check_magnitude(points, label)
    extent = float(np.ptp(points, axis=0).max())
    if extent < max(_SMALLEST_EXTENT, 1e-9 * float(np.abs(points).max())):
        raise InputError(f"{label}: all {len(points)} points lie in one place; export the scan again")
    centred = (points - points.mean(axis=0)) / extent
    spread = np.linalg.eigvalsh(centred.T @ centred)
    if math.sqrt(max(spread[0], 0.0)) < _FLAT_SHARE * math.sqrt(spread[2]):
        raise InputError(
            f"{label}: all {len(points)} points lie on one plane or line; a face needs depth, scan it again"
        )
    positions = _distinct_count(points)
    if positions < _MIN_POINTS:
        raise InputError(
            f"{label}: its {len(points)} points lie at only {positions} positions; export the scan in full"
        )


def _distinct_count(points: FloatArray) -> int:
    """Number of distinct points, from hashes of their bits."""
    bits = np.ascontiguousarray(points + 0.0).view(np.uint64)  # + 0.0 turns -0 into 0
    odd = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)
    with np.errstate(over="ignore"):
        # the shift mixes in the high bits: round numbers have no others, and a product alone would shift those out
        return len(np.unique(((bits ^ (bits >> np.uint64(32))) * odd).sum(axis=1, dtype=np.uint64)))
