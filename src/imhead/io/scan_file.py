"""Scans from untrusted files: every refusal is one line that says what to do.

PLY, OBJ, STL and OFF are read from their raw bytes, because general readers silently drop NaN, wrap negative indices
and cut short rows. Only GLB is read by trimesh, for its scene graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from imhead.errors import InputError
from imhead.io.glb_reader import read_glb
from imhead.io.obj import read_obj
from imhead.io.off import read_off
from imhead.io.ply import read_ply
from imhead.io.raw_geometry import RawGeometry
from imhead.io.stl import read_stl
from imhead.surfaces.mending import merge_equal_points, surface_faces, without_unused_points
from imhead.surfaces.normals import vertex_normals
from imhead.types import FloatArray, IntArray, Scan

_MIN_POINTS = 200
"""Fewer points than this cannot show a face."""

_READERS: dict[str, Callable[[bytes, str], RawGeometry]] = {
    ".ply": read_ply, ".obj": read_obj, ".stl": read_stl, ".glb": read_glb, ".off": read_off,
}  # fmt: skip
SCAN_EXTENSIONS: tuple[str, ...] = tuple(_READERS)
"""Extensions that can be read, lower case, with their dot."""

_LARGEST_COORDINATE = 1e9
_SMALLEST_EXTENT = 1e-6
_FLAT_SHARE = 1e-4


def read_scan(path: Path, *, max_bytes: int = 1 << 30) -> Scan:
    """Read a scan: a mesh or a point cloud in its own frame and units.

    In a mesh, bitwise equal points are merged; faces without area and points without a face are left out, with a
    warning in `Scan.warnings`; normals are area-weighted vertex normals. A cloud keeps the normals of the file, scaled
    to length 1, or has None if one of them is zero or not finite.

    Args:
        path: a .ply, .obj, .stl, .glb or .off file.
        max_bytes: larger files are refused without reading them.

    Raises:
        InputError: the file is missing, unreadable, damaged, hostile, or too small for a scan; one line.
    """
    label = one_line(path)
    raw = read_geometry(path, max_bytes=max_bytes)
    warnings = list(raw.warnings)
    if raw.faces is not None and len(raw.faces):
        points, faces = _mended_mesh(raw.points, raw.faces, warnings, label)
        normals: FloatArray | None
        normals, doubled = vertex_normals(points, faces)
        if doubled:
            warnings.append(f"At {doubled} points the surface is doubled back on itself; their normals are uncertain.")
        check_extent(points, label)
        return Scan(path.stem, points, normals, faces, tuple(warnings))
    check_extent(raw.points, label)
    return Scan(path.stem, raw.points, _unit_normals(raw.normals, warnings), None, tuple(warnings))


def read_geometry(path: Path, *, max_bytes: int = 1 << 30) -> RawGeometry:
    """The geometry of a file, checked but unchanged: finite points in file order, faces with indices in range.

    Args:
        path: a .ply, .obj, .stl, .glb or .off file.
        max_bytes: larger files are refused without reading them.

    Raises:
        InputError: the file is missing, of an unknown format, too large, or damaged; one line.
    """
    path = Path(path)
    label = one_line(path)
    known = ", ".join(SCAN_EXTENSIONS)
    try:
        if path.is_dir():
            raise InputError(f"{label}: is a folder; name one of the scans in it ({known})")
        if not path.exists():
            raise InputError(f"{label}: no such file; check the path")
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
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
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{label}: cannot be opened ({reason}); check the path and its permissions") from None
    return reader(data, label)


def one_line(path: Path) -> str:
    """The path for a message, with line breaks and control characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))


def _mended_mesh(points: FloatArray, faces: IntArray, warnings: list[str], label: str) -> tuple[FloatArray, IntArray]:
    check_magnitude(points, label)
    unused = len(points) - len(np.unique(faces))
    points, faces = merge_equal_points(points, faces)
    real = surface_faces(points, faces)
    if not real.any():
        raise InputError(f"{label}: none of its {len(faces)} faces has any area; export the scan again")
    if not real.all():
        warnings.append(f"{int((~real).sum())} faces without area were left out.")
    if unused:
        warnings.append(f"{unused} points that belong to no face were left out.")
    points, faces = without_unused_points(points, faces[real])
    return points, faces


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
