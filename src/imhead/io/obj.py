"""Wavefront OBJ read from its raw bytes, every row checked: trimesh cuts short rows and wraps index 0 silently."""

from __future__ import annotations

import numpy as np

from imhead.errors import InputError
from imhead.io.raw_geometry import RawGeometry, bad_row, checked_points, fan_triangles


def read_obj(data: bytes, label: str) -> RawGeometry:
    """Points and faces of a Wavefront OBJ; materials, texture coordinates, lines and groups are passed over.

    Points carry the normals of the file only where it lists as many as points and has no face.

    Raises:
        InputError: no points, a row that cannot be read, NaN, or an index out of range; one line.
    """
    points: list[list[float]] = []
    normals: list[list[float]] = []
    counts: list[int] = []
    corners: list[int] = []
    for number, line in enumerate(data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").splitlines(), start=1):
        words = line.split()
        if not words or words[0] not in (b"v", b"vn", b"f"):
            continue
        try:
            if words[0] == b"f":
                numbers = [int(word.split(b"/", 1)[0]) for word in words[1:]]
                # OBJ counts from 1; a negative number counts back from the newest point
                corners.extend(n - 1 if n >= 0 else (len(points) + n if len(points) + n >= 0 else n) for n in numbers)
                counts.append(len(numbers))
            else:
                x, y, z = words[1:4]
                (points if words[0] == b"v" else normals).append([float(x), float(y), float(z)])
        except ValueError:
            raise bad_row(label, number, line) from None
    if not points:
        raise InputError(
            f"{label}: is not an OBJ with points (no line begins with 'v'); is it another format, renamed?"
        )
    array = checked_points(np.array(points), label)
    if not counts:
        return RawGeometry(array, np.array(normals) if len(normals) == len(points) else None, None)
    indices = _within_int64(corners, len(points))
    faces, warnings = fan_triangles(np.array(counts, dtype=np.int64), indices, len(points), label)
    return RawGeometry(array, None, faces, warnings)


def _within_int64(corners: list[int], point_count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    # a number of a hundred digits is out of range like any other, and must not overflow on the way to saying so
    limit = np.iinfo(np.int64).max
    return np.array([c if -1 <= c < point_count else max(-limit, min(limit, c)) for c in corners], dtype=np.int64)
