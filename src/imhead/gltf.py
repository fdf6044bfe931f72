"""A mesh as a GLB file: metres, normals, and where given colours, UVs and named morph targets."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.curation.surface import vertex_normals
from imhead.types import FloatArray, Mesh, MorphTargets, UvMap

_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963
_FLOAT, _UINT32, _UINT16 = 5126, 5125, 5123


class _Buffer:
    """The binary part of a GLB, and the views and accessors into it."""

    def __init__(self) -> None:
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.chunks: list[bytes] = []
        self.size = 0

    def add(self, array: NDArray[Any], component: int, kind: str, target: int, *, bounds: bool = False) -> int:
        """Append an array, every one a multiple of four bytes as glTF wants it; the number of its accessor."""
        block = array.tobytes()
        self.views.append({"buffer": 0, "byteOffset": self.size, "byteLength": len(block), "target": target})
        accessor: dict[str, Any] = {"bufferView": len(self.views) - 1, "componentType": component}
        accessor |= {"count": len(array), "type": kind}
        if component == _UINT16:
            accessor["normalized"] = True
        if bounds:
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        self.accessors.append(accessor)
        self.chunks.append(block)
        self.size += len(block)
        return len(self.accessors) - 1

    def vectors(self, values: FloatArray, kind: str = "VEC3", *, bounds: bool = False) -> int:
        """Append rows of 32-bit floats."""
        return self.add(values.astype("<f4"), _FLOAT, kind, _ARRAY_BUFFER, bounds=bounds)


def glb_bytes(
    mesh: Mesh,
    scale: float,
    notes: Mapping[str, str],
    *,
    colors: NDArray[np.uint8] | None = None,
    uv: UvMap | None = None,
    morphs: MorphTargets | None = None,
) -> bytes:
    """A GLB with one mesh. Along the seams of the UVs vertices are doubled, with the same normal on both sides.

    Args:
        scale: metres in one unit of the mesh.
        notes: short texts for `asset.extras`.
    """
    vertex, faces = np.arange(len(mesh.vertices)), mesh.faces
    normals, _ = vertex_normals(mesh.vertices, mesh.faces)
    buffer = _Buffer()
    if uv is not None:
        pairs = np.stack([mesh.faces.reshape(-1), uv.faces.reshape(-1)], axis=1)
        kept, corner = np.unique(pairs, axis=0, return_inverse=True)
        vertex, faces = kept[:, 0], corner.reshape(-1, 3)
    indices = buffer.add(faces.astype("<u4").reshape(-1), _UINT32, "SCALAR", _ELEMENT_BUFFER)
    attributes = {
        "POSITION": buffer.vectors(mesh.vertices[vertex] * scale, bounds=True),
        "NORMAL": buffer.vectors(normals[vertex]),
    }
    if colors is not None:
        attributes["COLOR_0"] = buffer.add(_linear_colors(colors[vertex]), _UINT16, "VEC4", _ARRAY_BUFFER)
    if uv is not None:  # glTF counts v downwards
        attributes["TEXCOORD_0"] = buffer.vectors(uv.uv[kept[:, 1]] * [1.0, -1.0] + [0.0, 1.0], "VEC2")
    primitive: dict[str, Any] = {"attributes": attributes, "indices": indices, "material": 0, "mode": 4}
    body: dict[str, Any] = {"name": "head", "primitives": [primitive]}
    if morphs is not None:
        primitive["targets"] = [
            {"POSITION": buffer.vectors(row[vertex] * scale, bounds=True)} for row in morphs.offsets
        ]
        body |= {"weights": morphs.weights.tolist(), "extras": {"targetNames": list(morphs.names)}}
    tree = {
        "asset": {"version": "2.0", "generator": "imhead", "extras": dict(notes)},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "head"}],
        "meshes": [body],
        "materials": [{"name": "skin", "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.7}}],
        "buffers": [{"byteLength": buffer.size}],
        "bufferViews": buffer.views,
        "accessors": buffer.accessors,
    }
    text = json.dumps(tree, separators=(",", ":"), allow_nan=False).encode()
    text = text.ljust(-(-len(text) // 4) * 4)
    total = 12 + 8 + len(text) + 8 + buffer.size
    return b"".join(
        [struct.pack("<4sII", b"glTF", 2, total), struct.pack("<I4s", len(text), b"JSON"), text]
        + [struct.pack("<I4s", buffer.size, b"BIN\0"), *buffer.chunks]
    )


def _linear_colors(colors: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(V, 4) 16-bit linear light with full opacity: COLOR_0 of glTF is linear, and 8 bits of it would band."""
    srgb = colors / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.column_stack([np.round(linear * 65535), np.full(len(colors), 65535)]).astype("<u2")
