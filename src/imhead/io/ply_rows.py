"""The rows of a PLY element: only the wanted columns are taken out, in time and memory linear in the bytes.

Shape legend: R rows, N numbers in all lists of a column.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.io.ply_header import Element, Property
from imhead.types import IntArray

_GATHERED = 1 << 18


@dataclass(frozen=True, eq=False)
class Table:
    """The wanted columns of an element."""

    values: dict[str, NDArray[Any]]
    """Single values (R,) by name."""
    lists: dict[str, tuple[NDArray[Any], NDArray[Any]]]
    """Lists by name: lengths (R,), and all numbers (N,) row after row."""


@dataclass(frozen=True)
class _Segment:
    """A run of single values and the list after it."""

    size: int
    """Bytes of the single values."""
    singles: tuple[tuple[str, str, int], ...]
    """Wanted single values: name, type, offset within the segment."""
    rows: Property | None
    """The list; None after the last one."""
    wanted: bool
    """Whether the numbers of the list are needed."""


def read_rows(body: bytes, start: int, element: Element, wanted: frozenset[str], label: str) -> tuple[Table, int]:
    """The wanted columns of one element, and the offset after its rows.

    Raises:
        InputError: rows that do not fit into the bytes, a wanted column twice, or a length that is no natural number.
    """
    least = sum(prop.least_bytes for prop in element.properties)
    if element.count < 0 or (wanted and not least) or element.count * least > len(body) - start:
        raise InputError(
            f"{label}: the header promises {element.count} rows of '{ascii(element.name)[1:-1][:40]}', more "
            "than a file of this size holds; it is truncated or damaged, export it again"
        )
    segments = _segments(element, wanted, label)
    if not element.count:
        return _empty(element, wanted), start
    lengths = _first_lengths(body, start, segments, element, label)
    pitch = sum(s.size for s in segments) + sum(
        prop.least_bytes + n * np.dtype(prop.dtype).itemsize for prop, n in lengths
    )
    if start + element.count * pitch <= len(body):
        table = _uniform(body, start, element.count, pitch, segments, [n for _, n in lengths])
        if table is not None:
            return table, start + element.count * pitch
    return _mixed(body, start, element, segments, label)


def _segments(element: Element, wanted: frozenset[str], label: str) -> list[_Segment]:
    seen: set[str] = set()
    segments: list[_Segment] = []
    singles: list[tuple[str, str, int]] = []
    size = 0
    for prop in element.properties:
        fresh = prop.name in wanted
        if fresh and prop.name in seen:
            raise InputError(
                f"{label}: its PLY header names '{prop.name}' twice in '{element.name}', so it is not clear which one "
                "counts; export it again"
            )
        seen.add(prop.name)
        if prop.count_dtype is None:
            if fresh:
                singles.append((prop.name, prop.dtype, size))
            size += prop.least_bytes
        else:
            segments.append(_Segment(size, tuple(singles), prop, fresh))
            singles, size = [], 0
    segments.append(_Segment(size, tuple(singles), None, False))
    return segments


def _empty(element: Element, wanted: frozenset[str]) -> Table:
    none = np.zeros(0)
    values = {p.name: none for p in element.properties if p.name in wanted and p.count_dtype is None}
    lists = {p.name: (none, none) for p in element.properties if p.name in wanted and p.count_dtype}
    return Table(values, lists)


def _truncated(element: Element, label: str) -> InputError:
    name = ascii(element.name)[1:-1][:40]
    return InputError(
        f"{label}: ends before the {element.count} rows of '{name}' that its header promises; truncated, copy it again"
    )


def _first_lengths(
    body: bytes, at: int, segments: list[_Segment], element: Element, label: str
) -> list[tuple[Property, int]]:
    """Each list of the first row with its length."""
    lengths = []
    for segment in segments:
        at += segment.size
        if segment.rows is None:
            continue
        count_type = np.dtype(segment.rows.count_dtype)
        if at + count_type.itemsize > len(body):
            raise _truncated(element, label)
        length = _whole(np.frombuffer(body, count_type, 1, at)[0], element, label)
        at += count_type.itemsize + length * np.dtype(segment.rows.dtype).itemsize
        if at > len(body):
            raise _truncated(element, label)
        lengths.append((segment.rows, length))
    return lengths


def _whole(value: Any, element: Element, label: str) -> int:
    if not (0 <= value < 2**53) or value != int(value):
        raise InputError(
            f"{label}: a list of '{ascii(element.name)[1:-1][:40]}' has the length {value}; the file is damaged, "
            "export it again"
        )
    return int(value)


def _column(body: bytes, start: int, count: int, pitch: int, dtype: str, width: int | None = None) -> NDArray[Any]:
    """One column of rows of equal size, not copied: (R,), or (R, width)."""
    kind = np.dtype(dtype)
    shape: tuple[int, ...] = (count,) if width is None else (count, width)
    strides: tuple[int, ...] = (pitch,) if width is None else (pitch, kind.itemsize)
    return np.ndarray(shape, kind, body, start, strides)


def _uniform(
    body: bytes, at: int, count: int, pitch: int, segments: list[_Segment], lengths: list[int]
) -> Table | None:
    """The table if every row has the lists of the first; None otherwise."""
    values, lists = {}, {}
    left = iter(lengths)
    for segment in segments:
        for name, dtype, offset in segment.singles:
            values[name] = _column(body, at + offset, count, pitch, dtype)
        at += segment.size
        if segment.rows is None:
            continue
        length = next(left)
        counts = _column(body, at, count, pitch, segment.rows.count_dtype or "")
        if (counts != length).any():
            return None
        at += counts.itemsize
        if segment.wanted:
            numbers = _column(body, at, count, pitch, segment.rows.dtype, length)
            lists[segment.rows.name] = (counts, numbers.reshape(-1))
        at += length * np.dtype(segment.rows.dtype).itemsize
    return Table(values, lists)


def _mixed(body: bytes, start: int, element: Element, segments: list[_Segment], label: str) -> tuple[Table, int]:
    """Rows whose lists differ in length: one walk over the lengths, then the wanted numbers are gathered."""
    try:
        if len(segments) == 2 and segments[0].rows is not None and np.dtype(segments[0].rows.count_dtype) == np.uint8:
            lengths, end = _walk_short_lists(body, start, element, segments)
        else:
            lengths, end = _walk(body, start, element, segments, label)
    except (IndexError, struct.error, OverflowError):
        raise _truncated(element, label) from None
    if end > len(body):
        raise _truncated(element, label)
    values: dict[str, NDArray[Any]] = {}
    lists: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    sizes = np.full(element.count, sum(s.size + (s.rows.least_bytes if s.rows else 0) for s in segments))
    for segment, own in zip(segments, lengths):
        sizes += _list_bytes(segment, own)
    begin = np.cumsum(sizes)
    begin += start
    begin -= sizes
    del sizes
    for segment, counts in zip(segments, [*lengths, None]):
        for name, dtype, offset in segment.singles:
            ones = np.ones(element.count, dtype=np.uint8)
            values[name] = _gathered(body, begin + offset, ones, dtype)
        if segment.rows is None or counts is None:
            continue
        begin += segment.size + segment.rows.least_bytes
        if segment.wanted:
            lists[segment.rows.name] = (counts, _gathered(body, begin, counts, segment.rows.dtype))
        begin += _list_bytes(segment, counts)
    return Table(values, lists), end


def _list_bytes(segment: _Segment, counts: NDArray[np.integer]) -> IntArray:
    assert segment.rows is not None
    return counts.astype(np.int64) * np.dtype(segment.rows.dtype).itemsize


def _walk_short_lists(
    body: bytes, start: int, element: Element, segments: list[_Segment]
) -> tuple[list[NDArray[np.integer]], int]:
    """The usual case, one list in a row and its length in a byte: all lengths, and the offset after the last row."""
    rows = segments[0].rows
    assert rows is not None
    item, pitch = np.dtype(rows.dtype).itemsize, segments[0].size + 1 + segments[1].size
    found = bytearray()
    keep = found.append
    at = start + segments[0].size
    for _ in range(element.count):
        length = body[at]
        keep(length)
        at += pitch + length * item
    return [np.frombuffer(found, dtype=np.uint8)], at - segments[0].size


def _walk(
    body: bytes, start: int, element: Element, segments: list[_Segment], label: str
) -> tuple[list[NDArray[np.integer]], int]:
    """The length of every list in every row, and the offset after the last row."""
    steps = []
    for segment in segments[:-1]:
        assert segment.rows is not None
        kind = np.dtype(segment.rows.count_dtype)
        unpack = struct.Struct(kind.byteorder.replace("|", "=") + kind.char).unpack_from
        steps.append((segment.size, unpack, kind.itemsize, np.dtype(segment.rows.dtype).itemsize, array("q")))
    tail = segments[-1].size
    at = start
    for _ in range(element.count):
        for size, unpack, width, item, found in steps:
            length = _whole(unpack(body, at + size)[0], element, label)
            found.append(length)
            at += size + width + length * item
        at += tail
    return [np.frombuffer(step[4], dtype=np.int64) for step in steps], at


def _gathered(body: bytes, offsets: IntArray, counts: NDArray[np.integer], dtype: str) -> NDArray[Any]:
    """(N,) the numbers of lists that begin at the offsets (R,), some rows at a time."""
    filled = counts > 0
    if not filled.all():
        offsets, counts = offsets[filled], counts[filled]
    kind = np.dtype(dtype)
    if not len(counts):
        return np.zeros(0, dtype=kind)
    raw = np.frombuffer(body, dtype=np.uint8)
    after = np.cumsum(counts, dtype=np.int64)
    out = np.empty(int(after[-1]), dtype=kind)
    first = done = 0
    while first < len(counts):
        last = max(first + 1, int(np.searchsorted(after, done + _GATHERED, side="right")))
        own, total = counts[first:last].astype(np.int64), int(after[last - 1]) - done
        if last == first + 1:
            out[done : done + total] = np.frombuffer(body, kind, total, int(offsets[first]))
        else:
            place = np.arange(total) - np.repeat(np.cumsum(own) - own, own)
            byte = np.repeat(offsets[first:last], own) + place * kind.itemsize
            out[done : done + total] = raw[byte[:, None] + np.arange(kind.itemsize)].reshape(-1).view(kind)
        first, done = last, done + total
    return out
