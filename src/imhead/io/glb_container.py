"""What every GLB that is written has: a buffer with views and accessors, vertices on seams, the file around them."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.conventions import srgb_to_linear
from imhead.types import FloatArray, IntArray, UvMap

ARRAY_BUFFER, ELEMENT_BUFFER = 34962, 34963
"""Targets of a view: what vertices have, and the corners of faces."""
_TYPES = {"f4": 5126, "u4": 5125, "u2": 5123, "u1": 5121, "i2": 5122, "i1": 5120}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_SPARSE_SHARE = 0.6  # above this share of non-zero rows, a sparse accessor with its indices is no shorter


class GlbBuffer:
    """The binary part of a GLB, with its views and accessors."""

    def __init__(self) -> None:
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.chunks: list[bytes] = []
        self.size = 0

    def add(self, array: NDArray[Any], target: int | None, *, normalized: bool = False, bounds: bool = False) -> int:
        """Append an array (N,) or (N, C) of one of `_TYPES`; returns the number of its accessor. An animation's has no
        target."""
        rows = array.reshape(len(array), -1)
        # in glTF every row of an attribute begins at a multiple of four bytes
        width = rows.shape[1] * rows.itemsize
        spare = -width % 4 if target == ARRAY_BUFFER else 0
        view: dict[str, Any] = {} if target is None else {"target": target}
        if spare:
            rows = np.pad(rows, ((0, 0), (0, spare // rows.itemsize)))
            view["byteStride"] = width + spare
        accessor = self._accessor(array, normalized, bounds) | {"bufferView": self._view(rows, view)}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def add_sparse(self, array: NDArray[Any], *, normalized: bool, bounds: bool = True) -> int:
        """Append rows (N, 3), only the non-zero ones if that is shorter; returns the number of the accessor."""
        rows = np.flatnonzero(array.any(axis=1))
        if len(rows) > _SPARSE_SHARE * len(array):
            return self.add(array, ARRAY_BUFFER, normalized=normalized, bounds=bounds)
        accessor = self._accessor(array, normalized, bounds)
        if len(rows):  # an accessor without data is all zero
            kind = "u2" if len(array) <= 1 << 16 else "u4"
            accessor["sparse"] = {
                "count": len(rows),
                "indices": {"bufferView": self._view(rows.astype(f"<{kind}"), {}), "componentType": _TYPES[kind]},
                "values": {"bufferView": self._view(array[rows], {})},
            }
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def _accessor(self, array: NDArray[Any], normalized: bool, bounds: bool) -> dict[str, Any]:
        kind = _KINDS[1 if array.ndim == 1 else array.shape[1]]
        accessor: dict[str, Any] = {"componentType": _TYPES[array.dtype.str[1:]], "count": len(array), "type": kind}
        if normalized:
            accessor["normalized"] = True
        if bounds:
            ends = np.stack([array.min(axis=0), array.max(axis=0)]).reshape(2, -1)
            accessor |= {"min": ends[0].tolist(), "max": ends[1].tolist()}
        return accessor

    def add_file(self, data: bytes) -> int:
        """Append a file; returns the number of its view."""
        return self._view(np.frombuffer(data, dtype=np.uint8), {})

    def _view(self, array: NDArray[Any], view: dict[str, Any]) -> int:
        block = np.ascontiguousarray(array).tobytes()
        self.views.append({"buffer": 0, "byteOffset": self.size, "byteLength": len(block), **view})
        self.chunks.append(block + bytes(-len(block) % 4))
        self.size += len(self.chunks[-1])
        return len(self.views) - 1


def glb_file(tree: dict[str, Any], buffer: GlbBuffer) -> bytes:
    """The file of a tree, whose buffer, views and accessors are put in.

    Args:
        tree: the JSON of the GLB without them; finite numbers only.
        buffer: complete.
    """
    parts = {"buffers": [{"byteLength": buffer.size}], "bufferViews": buffer.views, "accessors": buffer.accessors}
    text = json.dumps(tree | parts, separators=(",", ":"), allow_nan=False).encode()
    text = text.ljust(-(-len(text) // 4) * 4)
    total = 12 + 8 + len(text) + 8 + buffer.size
    return b"".join(
        [struct.pack("<4sII", b"glTF", 2, total), struct.pack("<I4s", len(text), b"JSON"), text]
        + [struct.pack("<I4s", buffer.size, b"BIN\0"), *buffer.chunks]
    )


def split_at_seams(count: int, faces: IntArray, uv: UvMap | None) -> tuple[IntArray, IntArray, FloatArray | None]:
    """The vertices (n,) of a mesh that a GLB holds, its faces (F, 3) in these, and their UVs (n, 2), v downwards.

    A vertex on a seam of the UVs stands there twice. Without UVs all `count` vertices stand there once.
    """
    if uv is None:
        return np.arange(count), faces, None
    pairs = np.stack([faces.reshape(-1), uv.faces.reshape(-1)], axis=1)
    kept, corner = np.unique(pairs, axis=0, return_inverse=True)
    flat: FloatArray = uv.uv[kept[:, 1]] * [1.0, -1.0] + [0.0, 1.0]
    return kept[:, 0], corner.reshape(-1, 3), flat


def same_sided(quaternions: FloatArray) -> FloatArray:
    """Quaternions (T, 4), each or its negative, which is the same rotation: whichever is nearer to the one before, so
    that no player goes the long way round."""
    found = np.array(quaternions)
    flips = np.where((found[1:] * found[:-1]).sum(axis=1) < 0.0, -1.0, 1.0)
    found[1:] *= np.cumprod(flips)[:, None]
    return found


def linear_colors(colors: NDArray[Any]) -> NDArray[np.uint16]:
    """(V, 4) 16-bit linear RGBA, opaque: COLOR_0 of glTF is linear, and 8 bits of that would show bands."""
    linear = srgb_to_linear(colors / 255.0)
    return np.column_stack([np.round(linear * 65535), np.full(len(colors), 65535)]).astype("<u2")
