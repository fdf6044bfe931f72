"""STL: read from its raw bytes, binary or ascii; written binary."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

import numpy as np

from imhead.errors import InputError
from imhead.io.raw_geometry import RawGeometry, checked_geometry
from imhead.io.text_numbers import bad_row, numbers, unix_text
from imhead.surfaces.properties import face_normals
from imhead.types import FloatArray, Mesh

_RECORD = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER_BYTES = 84  # 80 of text, 4 of the number of facets
_SENTINELS = (0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Counts of programs that write the facets first and never come back to the header."""
# a name may hold any words, so the lines that carry one are left out before facets are counted
_NAME = re.compile(rb"^[ \t]*(?:end[ \t]*)?solid\b[^\n]*", re.M)
_FACET = re.compile(rb"\bfacet\s+normal\b")
_CORNER = re.compile(rb"\bvertex[ \t]+(\S+[ \t]+\S+[ \t]+\S+)")


def read_stl(data: bytes, label: str) -> RawGeometry:
    """Corners of an STL, binary or ascii, three points per face; facet normals and attributes are ignored.

    The size of the file counts for more than what its header says: bytes after the last facet are left out, and a
    count that does not agree with whole facets is corrected, each with a warning.

    Raises:
        InputError: not an STL, truncated, no facets, or NaN; one line.
    """
    if len(data) >= _HEADER_BYTES:
        promised = int.from_bytes(data[80:84], "little")
        # many binary files begin with 'solid' too, so the size decides
        if len(data) == _HEADER_BYTES + promised * _RECORD.itemsize or not _is_text(data):
            return _read_binary_stl(data, promised, label)
    if re.match(rb"(?:\xef\xbb\xbf)?\s*solid\b", data[:1024], re.I):
        return _read_ascii_stl(unix_text(data), label)
    raise InputError(f"{label}: is not an STL file, or it is cut within its header; is it another format, renamed?")


def _is_text(data: bytes) -> bool:
    """Whether a file is text; the first kilobyte of facets in binary always holds a control character."""
    start = np.frombuffer(data[:1024], dtype=np.uint8)
    return not ((start < 9) | ((start > 13) & (start < 32)) | (start == 127)).any()


def _read_binary_stl(data: bytes, promised: int, label: str) -> RawGeometry:
    held, rest = divmod(len(data) - _HEADER_BYTES, _RECORD.itemsize)
    warnings: tuple[str, ...] = ()
    count = promised
    if held == 0:
        raise InputError(f"{label}: holds no facets; export the scan again")
    if promised != held and (rest == 0 or promised in _SENTINELS) and _plausible(data, promised, held):
        count = held
        warnings += (f"The header promises {promised} facets, but the file holds {held}; all of them were read.",)
    if count > held:
        raise InputError(
            f"{label}: its header promises {promised} facets, but the file holds {held}; it is truncated, copy it again"
        )
    spare = len(data) - _HEADER_BYTES - count * _RECORD.itemsize
    if spare:
        warnings += (f"{spare} bytes after the last facet were left out.",)
    corners = np.frombuffer(data, _RECORD, count, _HEADER_BYTES)["corners"]
    return _soup(corners.reshape(-1, 3), label, warnings)


def _plausible(data: bytes, promised: int, held: int) -> bool:
    """Whether the facets beyond the promised ones are of the same surface, not what another program appended."""
    corners = np.frombuffer(data, _RECORD, held, _HEADER_BYTES)["corners"].reshape(held, 9)
    if not 0 < promised < held:
        return True
    first, rest = corners[:promised], corners[promised:]
    low, high = first.min(), first.max()
    slack = high - low
    return bool(((rest >= low - slack) & (rest <= high + slack)).all())


def _soup(corners: FloatArray, label: str, warnings: tuple[str, ...]) -> RawGeometry:
    faces = np.arange(len(corners)).reshape(-1, 3)
    return checked_geometry(corners, label, faces=faces, warnings=warnings)


def _read_ascii_stl(text: bytes, label: str) -> RawGeometry:
    lowered = text.lower()
    body = _NAME.sub(b"", lowered)
    if b"facet" not in body:  # the whole file on one line
        body = lowered
    facets, closed = len(_FACET.findall(body)), body.count(b"endfacet")
    if facets != closed or not re.search(rb"end[ \t]*solid", lowered):
        raise InputError(f"{label}: its last facet or solid is not closed, the STL is truncated; copy it again")
    if facets == 0:
        raise InputError(f"{label}: holds no facets; export the scan again")
    rows = _CORNER.findall(body)
    if len(rows) != 3 * facets:
        raise InputError(f"{label}: {facets} STL facets have {len(rows)} corners, not {3 * facets}; export it again")
    try:
        values = numbers(b"\n".join(rows))
        if len(values) != 3 * len(rows):
            raise ValueError
    except ValueError:
        raise _first_bad_corner(lowered, label) from None
    return _soup(values.reshape(-1, 3), label, ())


def _first_bad_corner(text: bytes, label: str) -> InputError:
    for row in _CORNER.finditer(text):
        try:
            if len(numbers(row.group(1))) == 3:
                continue
        except ValueError:
            pass
        return bad_row(label, text.count(b"\n", 0, row.start()) + 1, row.group())
    return InputError(f"{label}: an STL corner is not three numbers; export it again")


def stl_bytes(mesh: Mesh, notes: Mapping[str, str]) -> bytes:
    """A mesh as a binary STL; the notes go into its header, cut at 80 bytes."""
    corners = mesh.vertices[mesh.faces]
    records = np.zeros(len(corners), dtype=_RECORD)
    records["normal"] = face_normals(mesh)
    records["corners"] = corners
    # not 'solid' in front: readers take that for an ascii STL
    text = "; ".join(f"{key}: {value}" for key, value in notes.items()).encode("ascii", errors="backslashreplace")
    return (b"imhead " + text)[:80].ljust(80) + struct.pack("<I", len(records)) + records.tobytes()
