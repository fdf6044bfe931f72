"""VTK's own formats: legacy .vtk and .vtp (XML PolyData), in text and binary.

Shape legend: N points, C corners.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.io.placing import PlacedMeshes
from imhead.io.raw_geometry import RawGeometry, checked_geometry, whole_numbers
from imhead.io.text_numbers import bad_word, leading_numbers, unix_text
from imhead.io.triangles import fan_triangles, strip_triangles
from imhead.io.xml_stream import read_xml
from imhead.types import FloatArray, IntArray

_LEGACY_TYPES = {
    b"char": "i1", b"signed_char": "i1", b"unsigned_char": "u1", b"short": "i2", b"unsigned_short": "u2", b"int": "i4",
    b"unsigned_int": "u4", b"long": "i8", b"unsigned_long": "u8", b"float": "f4", b"double": "f8",
    b"vtktypeint64": "i8", b"vtkidtype": "i8",
}  # fmt: skip
_XML_TYPES = {
    "Int8": "i1", "UInt8": "u1", "Int16": "i2", "UInt16": "u2", "Int32": "i4", "UInt32": "u4", "Int64": "i8",
    "UInt64": "u8", "Float32": "f4", "Float64": "f8",
}  # fmt: skip
_SECTION = re.compile(
    rb"^[ \t]*(POINTS|POLYGONS|TRIANGLE_STRIPS|CELLS)[ \t]+(\d{1,15})[ \t]+(\w+)[ \t]*\r?$", re.M | re.I
)
_WORD = re.compile(rb"^[ \t]*(?!nan\b|inf\b)[a-z]{3,}[a-z_]*[ \t\r\n]", re.M | re.I)
_ARRAY = re.compile(rb"\s*(OFFSETS|CONNECTIVITY)[ \t]+(\w+)[ \t]*\r?\n", re.I)
_CELL_TYPES = re.compile(rb"^[ \t]*CELL_TYPES[ \t]+(\d{1,15})[ \t]*\r?\n", re.M | re.I)
_POLYGON_TYPES, _STRIP_TYPE = (5, 7, 9), 6
_LARGEST_EXPANSION = 30
_FREE_BYTES = 1 << 20


def read_vtk(data: bytes, label: str) -> RawGeometry:
    """Points and faces of a legacy .vtk: PolyData, or an unstructured grid of triangles and polygons.

    Raises:
        InputError: not a legacy VTK file, truncated, no points, or an index out of range; one line.
    """
    head = re.match(rb"\s*# vtk DataFile[^\n]*\n[^\n]*\n\s*(ASCII|BINARY)\s*\n", data[:4096], re.I)
    if head is None:
        raise InputError(
            f"{label}: is not a legacy VTK file (no '# vtk DataFile', or no ASCII or BINARY); is it another format?"
        )
    numbers = _Numbers(data, head.group(1).upper() == b"ASCII", label)
    points: FloatArray | None = None
    cells: list[tuple[bytes, IntArray, IntArray]] = []
    at = head.end()
    while (section := _SECTION.search(data, at)) is not None:
        name, count, third = section.group(1).upper(), int(section.group(2)), section.group(3).lower()
        at = section.end() + 1
        if name == b"POINTS":
            values, at = numbers.read(at, 3 * count, third)
            points = _as_doubles(values).reshape(-1, 3)
        else:
            counts, corners, at = _legacy_cells(numbers, data, at, count, third, label)
            cells.append((name, counts, corners))
    if points is None:
        raise InputError(f"{label}: its VTK data holds no POINTS; export the surface as PolyData")
    kinds = None
    if any(name == b"CELLS" for name, _, _ in cells) and (found := _CELL_TYPES.search(data, head.end())):
        kinds = whole_numbers(numbers.read(found.end(), int(found.group(1)), b"int")[0], "a cell type of", label)
    faces: list[IntArray] = []
    left_out = 0
    for name, counts, corners in cells:
        polygons, strips = counts, corners
        if name == b"CELLS" and kinds is not None and len(kinds) == len(counts):
            wanted = np.isin(kinds, _POLYGON_TYPES)
            left_out += int((~wanted & (kinds > 2)).sum())
            strips, polygons = corners[np.repeat(wanted, counts)], counts[wanted]
        if name == b"TRIANGLE_STRIPS":
            faces.append(strip_triangles(counts, corners, len(points), label))
        else:
            faces.append(fan_triangles(polygons, strips, len(points), label)[0])
    warnings = (f"{left_out} cells that are no polygons were left out.",) if left_out else ()
    joined = np.concatenate(faces) if faces else None
    return checked_geometry(points, label, faces=joined, warnings=warnings)


def _as_doubles(values: NDArray[np.generic]) -> FloatArray:
    with np.errstate(invalid="ignore"):  # a signalling NaN warns when it is widened; it is looked for later
        return values.astype(np.float64)


class _Numbers:
    """The number blocks of a legacy file."""

    def __init__(self, data: bytes, is_ascii: bool, label: str) -> None:
        self._data, self._ascii, self._label = data, is_ascii, label

    def read(self, at: int, count: int, kind: bytes) -> tuple[NDArray[np.generic], int]:
        """So many numbers from an offset, and the offset after them."""
        short = InputError(f"{self._label}: ends before the {count} numbers of a block; it is truncated, copy it again")
        if kind not in _LEGACY_TYPES:
            shown = ascii(kind.decode("latin-1")[:40])
            raise InputError(f"{self._label}: its VTK numbers are of the unknown type {shown}; export it again")
        if count > len(self._data) - at:
            raise short
        if not self._ascii:
            dtype = np.dtype(">" + _LEGACY_TYPES[kind])
            if at + count * dtype.itemsize > len(self._data):
                raise short
            return np.frombuffer(self._data, dtype, count, at), at + count * dtype.itemsize
        # a block of text ends where the next word begins
        end = _WORD.search(self._data, at)
        stop = len(self._data) if end is None else end.start()
        values, odd = leading_numbers(unix_text(self._data[at:stop]))
        if len(values) < count:
            raise bad_word(self._label, odd) if odd is not None else short
        return values[:count], stop


def _legacy_cells(
    numbers: _Numbers, data: bytes, at: int, count: int, third: bytes, label: str
) -> tuple[IntArray, IntArray, int]:
    """Corner counts and corners of a block of cells, of the old layout or the one of version 5."""
    size = int(third) if third.isdigit() and len(third) < 16 else -1
    if size < 0:
        raise InputError(f"{label}: a block of cells has no size; export it again")
    first = _ARRAY.match(data, at)
    if first is None:
        values, at = numbers.read(at, size, b"int")
        flat = whole_numbers(values, "a face index of", label)
        counts = _leading_counts(flat, count, label)
        keep = np.ones(len(flat), dtype=bool)
        keep[np.cumsum(counts + 1) - counts - 1] = False
        return counts, flat[keep][: int(counts.sum())], at
    values, at = numbers.read(first.end(), count, first.group(2).lower())
    offsets = whole_numbers(values, "an offset of", label)
    second = _ARRAY.search(data, at, at + 200)
    if second is None:
        raise InputError(f"{label}: its cells have no CONNECTIVITY; export it again")
    values, at = numbers.read(second.end(), size, second.group(2).lower())
    return *_of_offsets(offsets[1:], whole_numbers(values, "a face index of", label), label), at


def _leading_counts(flat: IntArray, count: int, label: str) -> IntArray:
    """(count,) the lengths that stand before the corners of each cell."""
    if len(flat) == 4 * count and (flat[::4] == 3).all():
        return flat[::4]
    if count > len(flat):
        raise InputError(f"{label}: its cells are shorter than promised; the file is damaged, export it again")
    counts, at, values = np.zeros(count, dtype=np.int64), 0, memoryview(flat.tobytes()).cast("q")
    for k in range(count):
        if at >= len(flat) or values[at] < 0:
            raise InputError(f"{label}: its cells are shorter than promised; the file is damaged, export it again")
        counts[k] = values[at]
        at += 1 + values[at]
    if at > len(flat):
        raise InputError(f"{label}: its cells are shorter than promised; the file is damaged, export it again")
    return counts


def _of_offsets(ends: IntArray, corners: IntArray, label: str) -> tuple[IntArray, IntArray]:
    """Corner counts and corners of cells that end at these places."""
    counts = np.diff(ends, prepend=0)
    if len(ends) and ((counts < 0).any() or ends[-1] > len(corners)):
        raise InputError(f"{label}: its cells are shorter than promised; the file is damaged, export it again")
    return counts, corners[: int(ends[-1]) if len(ends) else 0]


def read_vtp(data: bytes, label: str) -> RawGeometry:
    """Points, polygons and strips of a .vtp: text, base64 or appended, plain or compressed by zlib.

    Raises:
        InputError: not a .vtp, truncated, compressed in another way, or an index out of range; one line.
    """
    if b"<VTKFile" not in data[:4096]:
        raise InputError(f"{label}: is not a VTK XML file (it has no VTKFile); is it another format, renamed?")
    # raw bytes would end the XML: they are cut out first, and found again by their offsets
    cut = re.search(rb"<AppendedData[^>]*>\s*_", data)
    appended = data[cut.end() :] if cut else b""
    raw = cut is not None and b"raw" in cut.group()
    xml = data[: cut.start()] + b"</VTKFile>" if cut else data
    reader = _Vtp(label, len(data), appended, raw)
    read_xml(xml, label, reader.begin, reader.end, frozenset({"DataArray"}))
    placed = PlacedMeshes(max(len(data), reader.unpacked), label)
    for piece in reader.pieces:
        reader.place(piece, placed)
    return placed.joined("points")


class _Vtp:
    """What the elements of a .vtp say, and its arrays."""

    def __init__(self, label: str, size: int, appended: bytes, raw: bool) -> None:
        self._label, self._size, self._appended, self._raw = label, size, appended, raw
        self._order, self._header, self._compressor = "<", "<u4", ""
        self._section, self._array = "", dict[str, str]()
        self.pieces: list[dict[tuple[str, str], NDArray[np.generic]]] = []
        self.unpacked = 0

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if name == "VTKFile":
            if attributes.get("type") != "PolyData":
                raise InputError(f"{self._label}: holds no PolyData; extract the surface, and save that")
            self._order = ">" if attributes.get("byte_order") == "BigEndian" else "<"
            self._header = self._order + _XML_TYPES.get(attributes.get("header_type", "UInt32"), "u4")
            self._compressor = attributes.get("compressor", "")
        elif name == "Piece":
            self.pieces.append({})
        elif name in ("Points", "Polys", "Strips", "Verts", "Lines", "PointData", "CellData"):
            self._section = name
        elif name == "DataArray":
            self._array = attributes

    def end(self, name: str, text: bytes) -> None:
        if name != "DataArray" or self._section not in ("Points", "Polys", "Strips") or not self.pieces:
            return
        kind = _XML_TYPES.get(self._array.get("type", ""))
        if kind is None:
            raise InputError(f"{self._label}: an array is of an unknown type; export it again")
        key = (self._section, "" if self._section == "Points" else self._array.get("Name", ""))
        how = self._array.get("format", "ascii")
        try:
            if how == "ascii":
                values, odd = leading_numbers(unix_text(text))
                if odd is not None:
                    raise bad_word(self._label, odd)
                self.pieces[-1][key] = values
                return
            block = memoryview(text.strip())
            if how == "appended":
                block = memoryview(self._appended)[int(self._array.get("offset", "0")) :]
            if how != "appended" or not self._raw:
                block = memoryview(_from_base64(block, self._header, bool(self._compressor)))
            plain = self._block(block)
            width = np.dtype(kind).itemsize
            self.pieces[-1][key] = np.frombuffer(plain, self._order + kind, len(plain) // width)
        except InputError:
            raise
        except (ValueError, LookupError, zlib.error, binascii.Error):
            raise InputError(f"{self._label}: a binary array is damaged or truncated; copy it again") from None

    def _block(self, block: memoryview) -> bytes | memoryview:
        """The plain bytes of an array that begins with its header."""
        word = np.dtype(self._header)
        if not self._compressor:
            size = int(np.frombuffer(block, word, 1)[0])
            self._expand(size)
            plain = block[word.itemsize : word.itemsize + size]
            if len(plain) < size:
                raise ValueError
            return plain
        if "ZLib" not in self._compressor:
            raise InputError(f"{self._label}: is compressed in a way that is not read; save it with zlib or without")
        count, size, last = (int(v) for v in np.frombuffer(block, word, 3))
        sizes = np.frombuffer(block, word, count, 3 * word.itemsize).astype(np.int64)
        self._expand(count * size)
        at = (3 + count) * word.itemsize
        parts = []
        for length in sizes.tolist():
            if length < 0:
                raise ValueError
            parts.append(zlib.decompressobj().decompress(block[at : at + length], max(size, 1)))
            at += length
        whole = b"".join(parts)
        if count and len(whole) != (count - 1) * size + (last or size):
            raise ValueError
        return whole

    def _expand(self, size: int) -> None:
        """Count the bytes of an array; arrays may share bytes, and compressed ones grow."""
        self.unpacked += size
        if self.unpacked > _LARGEST_EXPANSION * self._size + _FREE_BYTES:
            raise InputError(f"{self._label}: describes far more data than its bytes can hold; save it uncompressed")

    def place(self, piece: dict[tuple[str, str], NDArray[np.generic]], placed: PlacedMeshes) -> None:
        """Add the surface of a piece."""
        points = _as_doubles(piece.get(("Points", ""), np.zeros(0)))
        points = points[: len(points) // 3 * 3].reshape(-1, 3)
        faces = []
        for section in ("Polys", "Strips"):
            ends, corners = piece.get((section, "offsets")), piece.get((section, "connectivity"))
            if ends is None or corners is None or not len(ends):
                continue
            stops, indices = (whole_numbers(a, "a face index of", self._label) for a in (ends, corners))
            counts, flat = _of_offsets(stops, indices, self._label)
            if section == "Polys":
                faces.append(fan_triangles(counts, flat, len(points), self._label)[0])
            else:
                faces.append(strip_triangles(counts, flat, len(points), self._label))
        placed.add(points, np.concatenate(faces) if faces else None)


def _from_base64(text: memoryview, header: str, compressed: bool) -> bytes:
    """Header and data of one array: one run of base64, or two if the data is compressed."""
    size = np.dtype(header).itemsize
    if not compressed:
        length = int(np.frombuffer(base64.b64decode(text[:12]), header, 1)[0])
        return base64.b64decode(text[: -(-(size + length) // 3) * 4])
    count = int(np.frombuffer(base64.b64decode(text[:12]), header, 1)[0])
    letters = -(-(3 + count) * size // 3) * 4
    head = base64.b64decode(text[:letters])
    sizes = np.frombuffer(head, header, count, 3 * size)
    data = base64.b64decode(text[letters : letters + -(-int(sizes.sum()) // 3) * 4])
    return head[: (3 + count) * size] + data
