"""OBJ, STL and OFF read from their raw bytes, every row checked: trimesh cuts short rows and wraps index 0 silently."""

from __future__ import annotations

import re

import numpy as np

from imhead.curation.rawgeometry import RawGeometry, checked_points, fan_triangles
from imhead.errors import InputError

_STL_RECORD = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_STL_HEADER = 84
_STL_CORNER = re.compile(rb"\bvertex\s+(\S+)\s+(\S+)\s+(\S+)")
_SHOWN = 60


def _bad_row(label: str, number: int, row: bytes) -> InputError:
    shown = ascii(row.decode("latin-1").strip()[:_SHOWN])
    return InputError(f"{label}: line {number} makes no sense: {shown}; the file is damaged, export it again")


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
            raise _bad_row(label, number, line) from None
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


def read_stl(data: bytes, label: str) -> RawGeometry:
    """Corners of an STL, binary or ascii, three points to a face; facet normals are passed over.

    Raises:
        InputError: not an STL, truncated, no facets, or NaN; one line.
    """
    if len(data) >= _STL_HEADER:
        promised = int.from_bytes(data[80:84], "little")
        held = (len(data) - _STL_HEADER) // _STL_RECORD.itemsize
        # many binary files begin with 'solid' too, so the size decides
        exact = len(data) == _STL_HEADER + promised * _STL_RECORD.itemsize
    else:
        promised, held, exact = 0, 0, False
    text = data[:5].lower() == b"solid" or data[:_STL_HEADER].lstrip()[:5].lower() == b"solid"
    if not exact and text:
        return _read_ascii_stl(data, label)
    looks_like_text = not any(b < 9 or 13 < b < 32 or b > 126 for b in data[:512])
    if not exact and (len(data) < _STL_HEADER or looks_like_text):
        raise InputError(f"{label}: is not an STL file, or it is cut within its header; is it another format, renamed?")
    if promised > held:
        raise InputError(
            f"{label}: its header promises {promised} facets, but the file holds {held}; it is truncated, copy it again"
        )
    if promised == 0:
        raise InputError(f"{label}: holds no facets; export the scan again")
    corners = np.frombuffer(data, _STL_RECORD, promised, _STL_HEADER)["corners"]
    points = checked_points(corners.reshape(-1, 3), label)
    return RawGeometry(points, None, np.arange(len(points)).reshape(-1, 3))


def _read_ascii_stl(data: bytes, label: str) -> RawGeometry:
    lowered = data.lower()
    facets, closed = len(re.findall(rb"\bfacet\s+normal\b", lowered)), lowered.count(b"endfacet")
    if facets != closed or b"endsolid" not in lowered:
        raise InputError(f"{label}: its last facet or solid is not closed, the STL is truncated; copy it again")
    if facets == 0:
        raise InputError(f"{label}: holds no facets; export the scan again")
    found = _STL_CORNER.findall(lowered)
    if len(found) != 3 * facets:
        raise InputError(f"{label}: {facets} STL facets have {len(found)} corners, not {3 * facets}; export it again")
    try:
        corners = np.array(found).astype(np.float64)
    except ValueError:
        raise InputError(f"{label}: an STL corner is not three numbers; export it again") from None
    points = checked_points(corners, label)
    return RawGeometry(points, None, np.arange(len(points)).reshape(-1, 3))


def read_off(data: bytes, label: str) -> RawGeometry:
    """Points and faces of an ascii OFF or COFF; colours are passed over.

    Raises:
        InputError: not an OFF, truncated, a row that cannot be read, NaN, or an index out of range; one line.
    """
    rows = [(i, row) for i, line in enumerate(data.splitlines(), 1) if (row := line.split(b"#", 1)[0].split())]
    if not rows or rows[0][1][0].upper() not in (b"OFF", b"COFF"):
        raise InputError(f"{label}: is not an OFF file (it does not begin with 'OFF'); is it another format, renamed?")
    first = rows[0][1][1:]
    head = first or (rows[1][1] if len(rows) > 1 else [])
    body = rows[1:] if first else rows[2:]
    try:
        point_count, face_count = int(head[0]), int(head[1])
    except (ValueError, IndexError):
        raise InputError(f"{label}: its OFF counts are missing or no numbers; export it again") from None
    if point_count < 0 or face_count < 0 or point_count + face_count > len(body):
        raise InputError(
            f"{label}: its header promises {point_count} points and {face_count} faces, but {len(body)} rows follow; "
            "it is truncated or damaged, export it again"
        )
    points: list[list[float]] = []
    counts: list[int] = []
    corners: list[int] = []
    for k, (number, row) in enumerate(body[: point_count + face_count]):
        try:
            if k < point_count:
                x, y, z = row[:3]
                points.append([float(x), float(y), float(z)])
            else:
                size = int(row[0])
                if not 0 <= size < len(row):
                    raise ValueError
                counts.append(size)
                corners.extend(int(word) for word in row[1 : size + 1])
        except ValueError:
            raise _bad_row(label, number, b" ".join(row)) from None
    array = checked_points(np.array(points), label)
    if not counts:
        return RawGeometry(array, None, None)
    indices = _within_int64(corners, point_count)
    faces, warnings = fan_triangles(np.array(counts, dtype=np.int64), indices, point_count, label)
    return RawGeometry(array, None, faces, warnings)
