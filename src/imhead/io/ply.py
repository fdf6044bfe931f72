"""PLY: read from its raw bytes, every count, number and index checked before it is used; written binary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.io.raw_geometry import RawGeometry, checked_points, fan_triangles, whole_numbers
from imhead.types import Mesh

_HEADER_LIMIT = 1 << 20
_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4",
    "float64": "f8",
}  # fmt: skip
_BYTE_ORDER = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_INDEX_NAMES = ("vertex_indices", "vertex_index")


@dataclass(frozen=True)
class _Property:
    """One column of an element."""

    name: str
    """Name in the header, e.g. `x`."""
    dtype: str
    """numpy type of a value, byte order included."""
    count_dtype: str | None
    """numpy type of the length that precedes each list; None for a single value."""


@dataclass(frozen=True)
class _Element:
    """One table of the file."""

    name: str
    """Name in the header, e.g. `vertex`."""
    count: int
    """Rows that the header promises."""
    properties: tuple[_Property, ...]
    """Columns, in file order."""


@dataclass(frozen=True, eq=False)
class _Table:
    """An element's rows: single values by name, and lists as lengths and concatenated values."""

    values: dict[str, NDArray[np.generic]]
    lists: dict[str, tuple[NDArray[np.generic], NDArray[np.generic]]]


def read_ply(data: bytes, label: str) -> RawGeometry:
    """Points, normals and faces of a PLY: ascii or binary, either byte order, polygons of any size.

    Raises:
        InputError: not a PLY, truncated, counts larger than the file, NaN, or an index out of range; one line.
    """
    encoding, elements, start = _parse_header(data, label)
    _check_counts(elements, len(data) - start, encoding == "ascii", label)
    if encoding == "ascii":
        body, start = _ascii_as_doubles(data[start:], label), 0
        elements = [_all_doubles(element) for element in elements]
    else:
        body = data
    tables: dict[str, _Table] = {}
    for element in elements:
        table, start = _read_element(body, start, element, label)
        tables.setdefault(element.name, table)
    return _geometry(tables, label)


def _parse_header(data: bytes, label: str) -> tuple[str, list[_Element], int]:
    """Encoding, elements and the offset of the first byte after the header.

    Raises:
        InputError: the header is not a PLY header, has no end, or has a line that cannot be parsed.
    """
    if data[:4] not in (b"ply\n", b"ply\r"):
        raise InputError(f"{label}: is not a PLY file (it does not begin with 'ply'); is it another format, renamed?")
    end = data.find(b"end_header", 0, _HEADER_LIMIT)
    newline = data.find(b"\n", end, end + 16) if end >= 0 else -1
    if newline < 0:
        raise InputError(f"{label}: its PLY header has no end, the file is truncated; export it again")
    encoding = order = ""
    elements: list[_Element] = []
    for line in data[:end].decode("ascii", errors="replace").splitlines()[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        try:
            if words[0] == "format":
                encoding = words[1]
                order = _BYTE_ORDER[encoding]
            elif words[0] == "element":
                elements.append(_Element(words[1], int(words[2]), ()))
            elif words[0] == "property":
                elements[-1] = replace(elements[-1], properties=(*elements[-1].properties, _property(words, order)))
            else:
                raise ValueError
        except (ValueError, LookupError):
            shown = ascii(line[:60])
            raise InputError(
                f"{label}: its PLY header has a line that makes no sense: {shown}; export it again"
            ) from None
    if not encoding:
        raise InputError(f"{label}: its PLY header names no format; export it again")
    return encoding, elements, newline + 1


def _property(words: list[str], order: str) -> _Property:
    if not order:
        raise ValueError
    if words[1] == "list":
        _, _, count_type, value_type, name = words
        if _TYPES[count_type].startswith("f"):
            raise ValueError
        return _Property(name, order + _TYPES[value_type], order + _TYPES[count_type])
    _, value_type, name = words
    return _Property(name, order + _TYPES[value_type], None)


def _all_doubles(element: _Element) -> _Element:
    columns = (replace(p, dtype="=f8", count_dtype="=f8" if p.count_dtype else None) for p in element.properties)
    return replace(element, properties=tuple(columns))


def _check_counts(elements: list[_Element], available: int, is_ascii: bool, label: str) -> None:
    """Refuse counts that the file cannot hold, before memory is allocated for them."""
    available += is_ascii  # the last number of a text file needs no separator after it
    for element in elements:
        if is_ascii:
            least = 2 * len(element.properties)
        else:
            least = sum(np.dtype(p.count_dtype or p.dtype).itemsize for p in element.properties)
        if element.count < 0 or (element.count and not least) or element.count * least > available:
            raise InputError(
                f"{label}: the header promises {element.count} rows of '{ascii(element.name)[1:-1][:40]}', more "
                "than a file of this size holds; it is truncated or damaged, export it again"
            )
        available -= element.count * least


def _ascii_as_doubles(text: bytes, label: str) -> bytes:
    """The numbers of an ascii body as doubles, so that text and binary share one reader."""
    try:
        # text mode of fromstring is the only parser of numpy that makes no Python object per number
        return np.fromstring(text.decode("ascii"), dtype=np.float64, sep=" ").tobytes()
    except ValueError:
        raise InputError(f"{label}: its PLY data holds text where numbers belong; export the scan again") from None


def _truncated(element: _Element, label: str) -> InputError:
    name = ascii(element.name)[1:-1][:40]
    return InputError(
        f"{label}: ends before the {element.count} rows of '{name}' that its header promises; truncated, copy it again"
    )


def _read_element(body: bytes, start: int, element: _Element, label: str) -> tuple[_Table, int]:
    """Rows of one element and the offset after them."""
    lengths: list[int] = []
    if element.count and any(p.count_dtype for p in element.properties):
        lengths, _ = _row_lengths(body, start, element, label)
    row = _row_dtype(element, lengths)
    if start + element.count * row.itemsize <= len(body):
        rows = np.frombuffer(body, dtype=row, count=element.count, offset=start)
        if all((rows[f"n{i}"] == n).all() for i, n in _numbered_lists(element, lengths)):
            return _uniform_table(rows, element), start + element.count * row.itemsize
    elif not lengths:
        raise _truncated(element, label)
    return _mixed_table(body, start, element, label)


def _numbered_lists(element: _Element, lengths: list[int]) -> list[tuple[int, int]]:
    places = [i for i, p in enumerate(element.properties) if p.count_dtype]
    return list(zip(places, lengths))


def _row_dtype(element: _Element, lengths: list[int]) -> np.dtype[np.void]:
    """The packed row if its lists have these lengths."""
    left = iter(lengths)
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
    for i, prop in enumerate(element.properties):
        if prop.count_dtype:
            fields += [(f"n{i}", prop.count_dtype), (f"v{i}", prop.dtype, (next(left, 0),))]
        else:
            fields.append((f"v{i}", prop.dtype))
    return np.dtype(fields)


def _uniform_table(rows: NDArray[np.void], element: _Element) -> _Table:
    values, lists = {}, {}
    for i, prop in enumerate(element.properties):
        if prop.count_dtype:
            lists[prop.name] = (rows[f"n{i}"], rows[f"v{i}"].reshape(-1))
        else:
            values[prop.name] = rows[f"v{i}"]
    return _Table(values, lists)


def _row_lengths(body: bytes, at: int, element: _Element, label: str) -> tuple[list[int], int]:
    """Lengths of the lists of the row at an offset, and the offset of the next row."""
    lengths: list[int] = []
    for prop in element.properties:
        size = np.dtype(prop.dtype).itemsize
        if prop.count_dtype is None:
            at += size
            continue
        count_type = np.dtype(prop.count_dtype)
        if at + count_type.itemsize > len(body):
            raise _truncated(element, label)
        length = int(whole_numbers(np.frombuffer(body, count_type, 1, at), "a list length of", label)[0])
        at += count_type.itemsize
        if length < 0 or at + length * size > len(body):
            raise _truncated(element, label)
        lengths.append(length)
        at += length * size
    if at > len(body):
        raise _truncated(element, label)
    return lengths, at


def _mixed_table(body: bytes, start: int, element: _Element, label: str) -> tuple[_Table, int]:
    """Rows whose lists differ in length, read one by one."""
    pieces: dict[str, list[NDArray[np.generic]]] = {p.name: [] for p in element.properties}
    counts: dict[str, list[int]] = {p.name: [] for p in element.properties if p.count_dtype}
    at = start
    for _ in range(element.count):
        lengths, after = _row_lengths(body, at, element, label)
        left = iter(lengths)
        for prop in element.properties:
            length = 1
            if prop.count_dtype:
                length = next(left)
                counts[prop.name].append(length)
                at += np.dtype(prop.count_dtype).itemsize
            pieces[prop.name].append(np.frombuffer(body, prop.dtype, length, at))
            at += length * np.dtype(prop.dtype).itemsize
        at = after
    joined = {name: np.concatenate(parts) for name, parts in pieces.items()}
    lists = {name: (np.array(counts[name]), joined.pop(name)) for name in counts}
    return _Table(joined, lists), at


def _geometry(tables: dict[str, _Table], label: str) -> RawGeometry:
    vertex = tables.get("vertex", _Table({}, {})).values
    if not {"x", "y", "z"} <= vertex.keys():
        raise InputError(f"{label}: its PLY header has no vertex element with x, y and z; export it again")
    points = checked_points(np.stack([vertex[k] for k in "xyz"], axis=1), label)
    normals = None
    if {"nx", "ny", "nz"} <= vertex.keys():
        with np.errstate(invalid="ignore"):  # NaN is allowed here: the caller then does without normals
            normals = np.stack([vertex[k] for k in ("nx", "ny", "nz")], axis=1).astype(np.float64)
    lists = tables.get("face", _Table({}, {})).lists
    found = next((lists[name] for name in _INDEX_NAMES if name in lists), None)
    if found is None:
        for name in ("face", "tristrips"):
            table = tables.get(name)
            if table is not None and any(
                len(v) for v in (*table.values.values(), *(n for n, _ in table.lists.values()))
            ):
                raise InputError(f"{label}: its PLY faces have no list 'vertex_indices'; export it as plain triangles")
        return RawGeometry(points, normals, None)
    counts, corners = (whole_numbers(a, "a face index of", label) for a in found)
    if len(counts) == 0:
        return RawGeometry(points, normals, None)
    faces, warnings = fan_triangles(counts, corners, len(points), label)
    return RawGeometry(points, normals, faces, warnings)


def ply_bytes(mesh: Mesh, notes: Mapping[str, str], colors: NDArray[np.uint8] | None, *, doubles: bool) -> bytes:
    """A mesh as a binary PLY, its notes as comments.

    Args:
        colors: (V, 3) sRGB.
        doubles: write the coordinates in double precision, not single.
    """
    columns = [(axis, "<f8" if doubles else "<f4") for axis in "xyz"]
    header = ["ply", "format binary_little_endian 1.0"]
    header += [f"comment {key}: {text}" for key, text in notes.items()]
    header += [f"element vertex {len(mesh.vertices)}"]
    header += [f"property {'double' if doubles else 'float'} {axis}" for axis in "xyz"]
    if colors is not None:
        columns += [(name, "u1") for name in ("red", "green", "blue")]
        header += [f"property uchar {name}" for name in ("red", "green", "blue")]
    header += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices", "end_header"]
    vertices = np.empty(len(mesh.vertices), dtype=columns)
    for k, axis in enumerate("xyz"):
        vertices[axis] = mesh.vertices[:, k]
    if colors is not None:
        for k, name in enumerate(("red", "green", "blue")):
            vertices[name] = colors[:, k]
    faces = np.empty(len(mesh.faces), dtype=[("n", "u1"), ("corners", "<i4", (3,))])
    faces["n"], faces["corners"] = 3, mesh.faces
    # PLY headers are ascii; other letters are written as escapes
    text = "\n".join(header).encode("ascii", errors="backslashreplace")
    return text + b"\n" + vertices.tobytes() + faces.tobytes()
