"""Clouds as rows of text: XYZ and PTS.

Shape legend: N points.
"""

from __future__ import annotations

import re

import numpy as np

from imhead.errors import InputError
from imhead.io.raw_geometry import RawGeometry, checked_geometry
from imhead.io.text_numbers import bad_row, first_columns, has_decimal_comma, numbers, unix_text, word_counts
from imhead.types import FloatArray

_COMMENT = re.compile(rb"(?:#|//|%)[^\n]*")
_TITLE = re.compile(rb"\s*[^\n]*[a-z][^\n]*\n", re.I)
_UNIT = 1e-3


def read_points(data: bytes, label: str) -> RawGeometry:
    """The points of a text whose rows begin with x, y and z, between spaces, tabs, commas or semicolons.

    A row of one number in front is the number of points; a row of titles is skipped. Three more columns are normals
    if they have length 1, and ignored otherwise, as all others are.

    Raises:
        InputError: a row without three numbers, or fewer rows than promised; one line.
    """
    text = unix_text(data)
    if re.match(rb"\s*version\s*:", text):
        raise InputError(f"{label}: holds landmarks, not a scan; give it as landmarks, and the scan itself as the scan")
    title = _TITLE.match(text)
    # a row of titles holds no number at all; a row of numbers with a letter among them is damaged
    offset = title.end() if title and not any(map(_is_numbers, re.split(rb"[\s,;]+", title.group()))) else 0
    body = _COMMENT.sub(b"", text[offset:])
    if b";" in body:
        body = body if _commas_are_decimal(body) else body.replace(b";", b" ").replace(b",", b" ")
    elif b"," in body and not _commas_are_decimal(body):
        body = body.replace(b",", b" ")
    counts = word_counts(body)
    rows = np.flatnonzero(counts)
    try:
        values = numbers(body)
        if len(values) != counts.sum():
            raise ValueError
    except ValueError:
        raise _first_bad_row(body, text.count(b"\n", 0, offset), label) from None
    counts = counts[rows]
    warnings: tuple[str, ...] = ()
    if len(counts) > 1 and counts[0] == 1 and counts[1] >= 3:
        promised, values, counts = float(values[0]), values[1:], counts[1:]
        if promised > len(counts):
            raise InputError(
                f"{label}: its header promises {promised:.0f} points, but {len(counts)} rows follow; it is truncated, "
                "copy it again"
            )
        if promised < len(counts):
            warnings += (f"The header promises {promised:.0f} points, but {len(counts)} follow; all were read.",)
    if not len(counts) or counts.min() < 3:
        raise InputError(
            f"{label}: has no rows of three numbers or more, as a text of points has; is it another format, renamed?"
        )
    points = first_columns(values, counts, 3)
    return checked_geometry(points, label, normals=_normals(values, counts), warnings=warnings)


def _is_numbers(line: bytes) -> bool:
    try:
        return len(numbers(line)) > 0
    except ValueError:
        return False


def _commas_are_decimal(body: bytes) -> bool:
    """Whether commas stand inside numbers: some are left after those between a digit and a space are gone."""
    start = body[: 1 << 12].rsplit(b"\n", 1)[0] or body[: 1 << 12]
    rows = [row for row in start.split(b"\n") if row.strip()]
    if b";" in start:
        return any(b"," in row for row in rows)
    return any(has_decimal_comma(word) and word.count(b",") == 1 for row in rows for word in row.split()) and all(
        len(row.split()) >= 3 for row in rows if b"," in row
    )


def _normals(values: FloatArray, counts: np.ndarray) -> FloatArray | None:
    """(N, 3) columns four to six if they are directions."""
    if not (counts == counts[0]).all() or counts[0] < 6:
        return None
    found = values.reshape(len(counts), -1)[:, 3:6]
    with np.errstate(invalid="ignore", over="ignore"):
        length = np.linalg.norm(found, axis=1)
        usual = np.abs(length - 1.0) < _UNIT
    # colours have length 1 here and there, directions everywhere
    return found.copy() if usual.mean() > 0.9 else None


def _first_bad_row(body: bytes, before: int, label: str) -> InputError:
    for number, line in enumerate(body.split(b"\n"), before + 1):
        if line.strip() and (not _is_numbers(line) or len(numbers(line)) != len(line.split())):
            return bad_row(label, number, line)
    return InputError(f"{label}: a row cannot be read; the file is damaged, export it again")
