"""OFF read from its raw bytes, every row checked."""

from __future__ import annotations

import re

import numpy as np

from imhead.errors import InputError
from imhead.io.raw_geometry import RawGeometry, checked_geometry, whole_numbers
from imhead.io.text_numbers import bad_row, first_columns, numbers, unix_text, word_counts
from imhead.io.triangles import fan_triangles
from imhead.types import FloatArray, IntArray

# the word in front is optional; its letters say what a row holds beside the place (ST texture, C colour, N normal)
_HEADER = re.compile(
    rb"\s*((?:ST|C|N){0,3}OFF\b)?\s*([-+]?\d{1,18})[ \t]+([-+]?\d{1,18})(?:[ \t]+\d+)?[ \t]*(?=\n|$)", re.I
)
_BINARY = re.compile(rb"\s*\w*OFF[ \t]+BINARY", re.I)


def read_off(data: bytes, label: str) -> RawGeometry:
    """Points and faces of an ascii OFF; colours, normals and texture coordinates are ignored.

    Raises:
        InputError: not an OFF, truncated, a row that cannot be read, a face with a NaN point or an index out of
            range; one line.
    """
    text = unix_text(data)
    if b"#" in text:
        text = re.sub(rb"#[^\n]*", b"", text)
    if _BINARY.match(text):
        raise InputError(f"{label}: is a binary OFF; export it as text, or as PLY")
    header = _HEADER.match(text)
    if header is None:
        if re.match(rb"\s*\w{0,4}OFF\b", text, re.I):
            raise InputError(f"{label}: its OFF counts are missing or no numbers; export it again")
        raise InputError(f"{label}: is not an OFF file (it does not begin with 'OFF'); is it another format, renamed?")
    points_promised, faces_promised = int(header.group(2)), int(header.group(3))
    words = word_counts(text[header.end() :])
    lines = np.flatnonzero(words)
    if points_promised < 0 or faces_promised < 0 or points_promised + faces_promised > len(lines):
        raise InputError(
            f"{label}: its header promises {points_promised} points and {faces_promised} faces, but {len(lines)} rows "
            "follow; it is truncated or damaged, export it again"
        )
    counts = words[lines[: points_promised + faces_promised]]
    try:
        values = numbers(_first_lines(text, header.end(), int(lines[len(counts) - 1]) + 1 if len(counts) else 0))
    except ValueError:
        values = np.zeros(0)
    if len(values) != counts.sum():
        raise _first_bad_row(text, header.end(), label)
    return _geometry(values, counts, points_promised, label)


def _first_lines(text: bytes, start: int, count: int) -> bytes:
    """The text of so many lines from an offset."""
    ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8, offset=start) == 10)
    return text[start : start + int(ends[count - 1]) + 1] if 0 < count <= len(ends) else text[start:]


def _geometry(values: FloatArray, counts: IntArray, point_count: int, label: str) -> RawGeometry:
    of_points, of_faces = counts[:point_count], counts[point_count:]
    if len(of_points) and of_points.min() < 3:
        raise InputError(f"{label}: point {int(of_points.argmin())} has no three coordinates; export it again")
    split = int(of_points.sum())
    points = first_columns(values[:split], of_points, 3)
    if not len(of_faces):
        return checked_geometry(points, label)
    rows = values[split:]
    first = np.cumsum(of_faces) - of_faces
    sizes = whole_numbers(rows[first], "a number of corners", label)
    if (sizes < 0).any() or (sizes >= of_faces).any():
        wrong = int(((sizes < 0) | (sizes >= of_faces)).argmax())
        raise InputError(
            f"{label}: face {wrong} has fewer corners than it promises; the file is damaged, export it again"
        )
    place = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    corners = whole_numbers(rows[np.repeat(first + 1, sizes) + place], "a face index of", label)
    faces, warnings = fan_triangles(sizes, corners, point_count, label)
    return checked_geometry(points, label, faces=faces, warnings=warnings)


def _first_bad_row(text: bytes, start: int, label: str) -> InputError:
    for number, line in enumerate(text[start:].split(b"\n"), text.count(b"\n", 0, start) + 1):
        try:
            if len(numbers(line)) == len(line.split()):
                continue
        except ValueError:
            pass
        return bad_row(label, number, line)
    return InputError(f"{label}: a row cannot be read; the file is damaged, export it again")
