"""The numbers of a glTF file: buffers, views and accessors, each checked against the bytes that are there."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.io.meshopt import decode_meshopt
from imhead.io.siblings import Beside
from imhead.types import FloatArray, IntArray

_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_FULL = {"i1": 127.0, "u1": 255.0, "<i2": 32767.0, "<u2": 65535.0}
_MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
_FREE_NUMBERS = 1 << 20
_FREE_PLACED = 1_200_000
_LARGEST_EXPANSION = 30
_FREE_BYTES = 1 << 20


class Damaged(Exception):
    """The description contradicts itself or its data; the message says how."""


def natural(value: Any) -> int:
    """A size or an index.

    Raises:
        Damaged: anything but a whole number from 0.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Damaged("a size or an index is not a natural number")
    return value


def item(tree: Mapping[str, Any], name: str, index: Any) -> Mapping[str, Any]:
    """The object with an index in a list of the description.

    Raises:
        Damaged: there is none.
    """
    entries = tree.get(name, [])
    k = natural(index)
    if not isinstance(entries, list) or k >= len(entries) or not isinstance(entries[k], dict):
        raise Damaged(f"no entry {k} in {name}")
    entry: Mapping[str, Any] = entries[k]
    return entry


def objects(tree: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    """A list of objects in the description; empty if it is not there.

    Raises:
        Damaged: not a list of objects.
    """
    entries = tree.get(name)
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise Damaged(f"{name} is no list of objects")
    return entries


def width_of(tree: Mapping[str, Any], accessor: Any) -> int:
    """Columns of an accessor.

    Raises:
        Damaged: there is none.
        LookupError: of an unknown type.
    """
    return _WIDTHS[item(tree, "accessors", accessor)["type"]]


@dataclass
class GltfData:
    """The data of one file, with a budget: what accessors share or repeat must stay in proportion to the bytes."""

    tree: Mapping[str, Any]
    """The description."""
    chunk: bytes | None
    """The binary part of a GLB."""
    label: str
    """The file, for messages."""
    beside: Beside
    """Files beside it."""
    size: int
    """Bytes of the file; files beside it and unpacked views are added as they are read."""
    _spent: int = 0
    _placed: int = 0
    _unpacked: int = 0
    _buffers: dict[int, bytes] = field(default_factory=dict)
    _views: dict[int, memoryview] = field(default_factory=dict)

    def spend(self, count: int) -> None:
        """Count numbers that are about to be unpacked or placed.

        Raises:
            InputError: far more than the file holds.
        """
        self._spent += count
        if self._spent > 2 * (self.size + self._unpacked) + _FREE_NUMBERS:
            raise InputError(
                f"{self.label}: describes more data than its {self.size} bytes can hold, by repeating or sharing it; "
                "export it as one plain mesh"
            )

    def place(self, count: int) -> None:
        """Count points and faces that the scene places.

        Raises:
            InputError: far more than the file holds.
        """
        self._placed += count
        if 6 * self._placed > self.size + self._unpacked + _FREE_PLACED:
            raise InputError(
                f"{self.label}: places more data than its {self.size} bytes can hold, by repeating or sharing it; "
                "export it as one plain mesh"
            )

    def expand(self, packed: int, plain: int) -> None:
        """Count bytes that are about to be decompressed.

        Raises:
            InputError: far more than the file can hold.
        """
        self.spend(packed // 4)  # many views may unpack the same bytes
        self._unpacked += plain
        if self._unpacked > _LARGEST_EXPANSION * self.size + _FREE_BYTES or plain > 256 * packed + 4096:
            raise InputError(
                f"{self.label}: describes more data than its {self.size} bytes can hold; export it without compression"
            )

    def buffer(self, index: Any) -> bytes:
        """The bytes of a buffer: the binary part, base64 in the description, or a file beside it."""
        k = natural(index)
        if k not in self._buffers:
            uri = item(self.tree, "buffers", k).get("uri")
            if uri is None:
                if k or self.chunk is None:
                    raise Damaged(f"buffer {k} has no data")
                self._buffers[k] = self.chunk
            elif not isinstance(uri, str):
                raise Damaged(f"the address of buffer {k} is no text")
            elif uri.startswith("data:"):
                self._buffers[k] = _base64(uri)
            else:
                self._buffers[k] = self.beside(uri)
                self.size += len(self._buffers[k])
        return self._buffers[k]

    def view(self, index: Any) -> tuple[memoryview, int | None]:
        """The bytes of a view and the distance of its rows; None where rows are packed.

        Compressed views are decompressed.
        """
        k = natural(index)
        view = item(self.tree, "bufferViews", k)
        stride = view.get("byteStride")
        extensions = view.get("extensions") or {}
        packed = next((extensions[name] for name in _MESHOPT if name in extensions), None)
        if k not in self._views:
            if packed is None:
                self._views[k] = self._span(view)
            else:
                count, row = natural(packed["count"]), natural(packed["byteStride"])
                span = self._span(packed)
                self.expand(len(span), count * row)
                try:
                    plain = decode_meshopt(span, count, row, str(packed["mode"]), str(packed.get("filter", "NONE")))
                except ValueError as error:
                    raise Damaged(f"a compressed view cannot be unpacked: {error}") from None
                self._views[k] = memoryview(plain)
        if packed is not None and stride is None and packed["mode"] == "ATTRIBUTES":
            stride = packed["byteStride"]
        return self._views[k], None if stride is None else natural(stride)

    def _span(self, view: Mapping[str, Any]) -> memoryview:
        whole = self.buffer(view.get("buffer", 0))
        start, length = natural(view.get("byteOffset", 0)), natural(view["byteLength"])
        # not copied: many views may share the bytes. Where it is cut, the accessors say whether what is there is enough
        return memoryview(whole)[start : start + length]

    def accessor(self, index: Any) -> NDArray[Any]:
        """(N, width) the numbers of an accessor, in their own type.

        Raises:
            Damaged: the accessor contradicts itself or its view.
            InputError: the view ends before its numbers, or it repeats what the file holds many times.
        """
        accessor = item(self.tree, "accessors", index)
        count = natural(accessor["count"])
        dtype, width = np.dtype(_TYPES[accessor["componentType"]]), _WIDTHS[accessor["type"]]
        self.spend(count * width)
        if accessor.get("bufferView") is None:
            values = np.zeros((count, width), dtype=dtype)
        else:
            values = self._rows(accessor["bufferView"], accessor.get("byteOffset", 0), count, width, dtype)
        sparse = accessor.get("sparse")
        if sparse:
            values = self._with_sparse(values, sparse, dtype)
        return values

    def _rows(self, view: Any, offset: Any, count: int, width: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        data, stride = self.view(view)
        start, row = natural(offset), width * dtype.itemsize
        pitch = stride or row
        if pitch < row:
            raise Damaged("the rows of an accessor overlap")
        if count and start + pitch * (count - 1) + row > len(data):
            raise InputError(
                f"{self.label}: ends before the {count} rows that an accessor promises; it is truncated, copy it again"
            )
        if not count:
            return np.zeros((0, width), dtype=dtype)
        return np.ndarray((count, width), dtype, data, start, (pitch, dtype.itemsize))

    def _with_sparse(self, values: NDArray[Any], sparse: Mapping[str, Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        count, width = natural(sparse["count"]), values.shape[1]
        self.spend(count * width)
        where, what = sparse["indices"], sparse["values"]
        kind = np.dtype(_TYPES[where["componentType"]])
        rows = self._rows(where["bufferView"], where.get("byteOffset", 0), count, 1, kind)[:, 0].astype(np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= len(values)):
            raise Damaged("a sparse accessor names a row that is not there")
        changed = np.array(values)
        changed[rows] = self._rows(what["bufferView"], what.get("byteOffset", 0), count, width, dtype)
        return changed

    def floats(self, index: Any, width: int) -> FloatArray:
        """(N, width) an accessor as float64; normalized integers run from -1 or 0 to 1.

        Raises:
            Damaged: the accessor has another width, or contradicts itself.
        """
        values = self.accessor(index)
        if values.shape[1] != width:
            raise Damaged(f"an accessor has {values.shape[1]} columns where {width} belong")
        return self.as_floats(values, index)

    def as_floats(self, values: NDArray[Any], accessor: Any) -> FloatArray:
        """Numbers of an accessor, plain or unpacked, as float64; normalized integers run from -1 or 0 to 1."""
        with np.errstate(invalid="ignore"):  # a signalling NaN warns when it is widened; it is looked for later
            numbers: FloatArray = values.astype(np.float64)
        full = _FULL.get(values.dtype.str.lstrip("|"))
        if full and item(self.tree, "accessors", accessor).get("normalized"):
            numbers = np.maximum(numbers / full, -1.0)
        return numbers

    def indices(self, index: Any) -> IntArray:
        """(N,) an accessor of whole numbers.

        Raises:
            Damaged: the accessor holds no whole numbers, or contradicts itself.
        """
        values = self.accessor(index)
        if values.dtype.kind == "f":
            raise Damaged("indices are stored as floats")
        return values.reshape(-1).astype(np.int64)


def _base64(uri: str) -> bytes:
    head, comma, text = uri.partition(",")
    if not comma or not head.endswith(";base64"):
        raise Damaged("a buffer's data is not base64")
    try:
        return base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError):
        raise Damaged("a buffer's base64 cannot be read") from None
