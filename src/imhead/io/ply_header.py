"""The header of a PLY: what its rows hold, and where they begin."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from imhead.errors import InputError

_HEADER_LIMIT = 1 << 20
_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4",
    "float64": "f8", "int64": "i8", "uint64": "u8", "long": "i8", "ulong": "u8",
}  # fmt: skip
_BYTE_ORDER = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_PLURALS = {"vertices": "vertex", "faces": "face", "tristrip": "tristrips"}
_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*ply[ \t]*(\r\n|\r|\n)", re.I)
_TALK = ("comment", "obj_info", "info", "#")


@dataclass(frozen=True)
class Property:
    """One column of an element."""

    name: str
    """Name in the header, lower case, e.g. `x`."""
    dtype: str
    """numpy type of a value, byte order included."""
    count_dtype: str | None
    """numpy type of the length that precedes each list; None for a single value."""
    whole: bool
    """Whether the header declares whole numbers."""

    @property
    def least_bytes(self) -> int:
        """Bytes of a single value, or of the length of an empty list."""
        return np.dtype(self.count_dtype or self.dtype).itemsize


@dataclass(frozen=True)
class Element:
    """One table of the file."""

    name: str
    """Name in the header, lower case and singular, e.g. `vertex`."""
    count: int
    """Rows that the header promises."""
    properties: tuple[Property, ...]
    """Columns, in file order."""

    def as_doubles(self) -> Element:
        """The element with every number stored as a double, as text is after parsing."""
        columns = (replace(p, dtype="=f8", count_dtype="=f8" if p.count_dtype else None) for p in self.properties)
        return replace(self, properties=tuple(columns))


@dataclass(frozen=True)
class Header:
    """A parsed header."""

    is_ascii: bool
    """Whether the numbers are text."""
    elements: tuple[Element, ...]
    """Tables, in file order."""
    size: int
    """Offset of the first byte after the header."""
    warnings: tuple[str, ...]
    """What was left out."""


def parse_header(data: bytes, label: str) -> Header:
    """The header of a PLY, its lines ended by LF, CR LF or CR alone.

    Raises:
        InputError: the file does not begin as a PLY, or its header has no end or a line that makes no sense.
    """
    begin = _START.match(data, 0, 4096)
    if begin is None:
        raise InputError(f"{label}: is not a PLY file (it does not begin with 'ply'); is it another format, renamed?")
    # the first line tells how lines end: after CR alone, the first byte of the data may well be an LF
    end_of_line = b"\r" if begin.group(1) == b"\r" else b"\n"
    encoding = order = ""
    counts: list[tuple[str, int]] = []
    columns: list[list[Property]] = []
    odd = 0
    at = begin.end()
    while True:
        end = data.find(end_of_line, at, _HEADER_LIMIT)
        if end < 0:
            raise InputError(f"{label}: its PLY header has no end, the file is truncated; export it again")
        line = data[at:end].decode("latin-1")
        at = end + 1
        words = line.lower().split()
        if not words or words[0].startswith(_TALK):
            continue
        if words[0] == "end_header":
            break
        try:
            if words[0] == "format":
                encoding = words[1]
                order = _BYTE_ORDER[encoding]
            elif words[0] == "element":
                counts.append((_PLURALS.get(words[1], words[1]), int(words[2])))
                columns.append([])
            elif words[0] == "property":
                columns[-1].append(_property(words, order))
            elif counts:  # among columns, a line lost could be a column lost
                raise ValueError
            else:
                odd += 1
        except (ValueError, LookupError):
            shown = ascii(line[:60])
            raise InputError(
                f"{label}: its PLY header has a line that makes no sense: {shown}; export it again"
            ) from None
    if not encoding:
        raise InputError(f"{label}: its PLY header names no format; export it again")
    elements = tuple(Element(name, count, tuple(own)) for (name, count), own in zip(counts, columns))
    warnings = (f"{odd} lines of the PLY header are of an unknown kind and were left out.",) if odd else ()
    return Header(encoding == "ascii", elements, at, warnings)


def _property(words: list[str], order: str) -> Property:
    if not order:
        raise ValueError
    listed = words[1] == "list"
    name = " ".join(words[4 if listed else 2 :])  # some programs write names of two words
    if not name:
        raise ValueError
    if listed:
        kind = _TYPES[words[3]]
        return Property(name, order + kind, order + _TYPES[words[2]], kind[0] != "f")
    return Property(name, order + _TYPES[words[1]], None, _TYPES[words[1]][0] != "f")
