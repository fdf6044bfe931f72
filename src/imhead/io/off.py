"""OFF read from its raw bytes, every row checked."""

from __future__ import annotations

import numpy as np

from imhead.errors import InputError
from imhead.io.raw_geometry import RawGeometry, bad_row, checked_points, fan_triangles, index_array


def read_off(data: bytes, label: str) -> RawGeometry:
    """Points and faces of an ascii OFF or COFF; colours are ignored.

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
            raise bad_row(label, number, b" ".join(row)) from None
    array = checked_points(np.array(points), label)
    if not counts:
        return RawGeometry(array, None, None)
    indices = index_array(corners, point_count)
    faces, warnings = fan_triangles(np.array(counts, dtype=np.int64), indices, point_count, label)
    return RawGeometry(array, None, faces, warnings)
