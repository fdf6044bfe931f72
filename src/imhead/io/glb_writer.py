"""A mesh as a GLB file: metres, normals, and optionally colours, UVs and named morph targets."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from imhead.conventions import srgb_to_linear
from imhead.errors import InputError
from imhead.surfaces.normals import vertex_normals
from imhead.types import Animation, FloatArray, Mesh, MorphTargets, UvMap

_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963
_TYPES = {"f4": 5126, "u4": 5125, "u2": 5123, "i2": 5122, "i1": 5120}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
_FULL = {"i2": 32767, "i1": 127, "u2": 65535}
_LEAST_TURN = 0.01  # change of a unit normal; less is written as 0
_SPARSE_SHARE = 0.6  # above this share of non-zero rows, a sparse accessor with its indices is no shorter


class _Buffer:
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
        spare = -width % 4 if target == _ARRAY_BUFFER else 0
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
            return self.add(array, _ARRAY_BUFFER, normalized=normalized, bounds=bounds)
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


@dataclass(frozen=True)
class _Packing:
    """Encoding of lengths and directions: floats, or integers (KHR_mesh_quantization)."""

    quantized: bool
    center: FloatArray
    """(3,) metres; subtracted here, added back by the node."""
    half: float
    """Metres; divided by here, multiplied by the node."""

    def positions(self, points: FloatArray) -> NDArray[Any]:
        return self.offsets(points - self.center)

    def offsets(self, moved: FloatArray) -> NDArray[Any]:
        return self._integers(moved / self.half, "i2") if self.quantized else (moved / self.half).astype("<f4")

    def directions(self, normals: FloatArray) -> NDArray[Any]:
        return self._integers(normals, "i1") if self.quantized else normals.astype("<f4")

    def uvs(self, uv: FloatArray) -> NDArray[Any]:
        return self._integers(uv, "u2") if self.quantized else uv.astype("<f4")

    @staticmethod
    def _integers(values: FloatArray, kind: str) -> NDArray[Any]:
        return np.round(values * _FULL[kind]).astype(f"<{kind}")


def _packing(points: FloatArray, offsets: FloatArray | None, quantized: bool) -> _Packing:
    if not quantized:
        return _Packing(False, np.zeros(3), 1.0)
    low, high = points.min(axis=0), points.max(axis=0)
    farthest = 0.0 if offsets is None else float(np.abs(offsets).max())
    return _Packing(True, 0.5 * (low + high), max(float((high - low).max()) / 2.0, farthest))


def glb_bytes(
    mesh: Mesh,
    scale: float,
    notes: Mapping[str, str],
    *,
    colors: NDArray[Any] | None = None,
    uv: UvMap | None = None,
    morphs: MorphTargets | None = None,
    turns: FloatArray | None = None,
    quantized: bool = False,
    animation: Animation | None = None,
    sigma_mm: FloatArray | None = None,
    normal_map: bytes | None = None,
) -> bytes:
    """A GLB with one mesh. Vertices on UV seams are duplicated, with the same normal on both sides.

    Args:
        scale: metres in one unit of the mesh.
        notes: short texts, written to `asset.extras`.
        colors: (V, 3) sRGB of the vertices, 0-255.
        turns: (K, V, 3) change of the unit normals by each shape; None computes it from the moved vertices.
        quantized: 16-bit positions and UVs and 8-bit normals, by the extension KHR_mesh_quantization: about half
            the size, positions accurate to 1/130 000 of the mesh's size.
        animation: of the morphs' weights, and of a node `pose` that holds the mesh.
        sigma_mm: (V,) how sure each vertex is; the custom attribute `_SIGMA_MM`.
        normal_map: a PNG in tangent space, for a mesh with UVs.

    Raises:
        InputError: an animation of other morphs.
    """
    shapes = 0 if morphs is None else len(morphs.names)
    if animation is not None and animation.weights.shape[1] != shapes:
        raise InputError(f"the animation has {animation.weights.shape[1]} weights, the mesh {shapes} morph targets")
    vertex, faces = np.arange(len(mesh.vertices)), mesh.faces
    normals, _ = vertex_normals(mesh.vertices, mesh.faces)
    buffer = _Buffer()
    if uv is not None:
        pairs = np.stack([mesh.faces.reshape(-1), uv.faces.reshape(-1)], axis=1)
        kept, corner = np.unique(pairs, axis=0, return_inverse=True)
        vertex, faces = kept[:, 0], corner.reshape(-1, 3)
    points = mesh.vertices[vertex] * scale
    offsets = None if morphs is None else morphs.offsets[:, vertex] * scale
    pack = _packing(points, offsets, quantized)
    indices = buffer.add(faces.astype("<u4").reshape(-1), _ELEMENT_BUFFER)
    attributes = {
        "POSITION": buffer.add(pack.positions(points), _ARRAY_BUFFER, normalized=quantized, bounds=True),
        "NORMAL": buffer.add(pack.directions(normals[vertex]), _ARRAY_BUFFER, normalized=quantized),
    }
    if colors is not None:
        attributes["COLOR_0"] = buffer.add(_linear_colors(colors[vertex]), _ARRAY_BUFFER, normalized=True)
    if uv is not None:  # glTF counts v downwards
        flat = pack.uvs(uv.uv[kept[:, 1]] * [1.0, -1.0] + [0.0, 1.0])
        attributes["TEXCOORD_0"] = buffer.add(flat, _ARRAY_BUFFER, normalized=quantized)
    if sigma_mm is not None:
        attributes["_SIGMA_MM"] = buffer.add(sigma_mm[vertex].astype("<f4"), _ARRAY_BUFFER)
    primitive: dict[str, Any] = {"attributes": attributes, "indices": indices, "material": 0, "mode": 4}
    body: dict[str, Any] = {"name": "head", "primitives": [primitive]}
    if morphs is not None and offsets is not None:
        turns = (_turns(mesh, morphs, normals) if turns is None else turns)[:, vertex]
        primitive["targets"] = [
            {
                "POSITION": buffer.add_sparse(pack.offsets(moved), normalized=quantized),
                "NORMAL": buffer.add_sparse(pack.directions(turn), normalized=quantized, bounds=False),
            }
            for moved, turn in zip(offsets, turns)
        ]
        body |= {"weights": morphs.weights.tolist(), "extras": {"targetNames": list(morphs.names)}}
    node: dict[str, Any] = {"mesh": 0, "name": "head"}
    skin: dict[str, Any] = {"name": "skin", "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.7}}
    pictures: dict[str, Any] = {}
    if normal_map is not None and uv is not None:
        skin["normalTexture"] = {"index": 0}
        picture = {"bufferView": buffer.add_file(normal_map), "mimeType": "image/png"}
        pictures = {"images": [picture], "samplers": [{}], "textures": [{"source": 0, "sampler": 0}]}
    tree = {
        "asset": {"version": "2.0", "generator": "imhead", "extras": dict(notes)},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [node],
        "meshes": [body],
        "materials": [skin],
        **pictures,
        "buffers": [{"byteLength": buffer.size}],
        "bufferViews": buffer.views,
        "accessors": buffer.accessors,
    }
    if animation is not None:
        # the mesh's own node may hold the scale of a quantized mesh, so the pose has a node of its own above it
        tree["nodes"] = [node, {"name": "pose", "children": [0]}]
        tree["scenes"] = [{"nodes": [1]}]
        tree["animations"] = [_animation_tree(buffer, animation, scale)]
        tree["buffers"] = [{"byteLength": buffer.size}]
    if quantized:
        node |= {"scale": [pack.half] * 3, "translation": pack.center.tolist()}
        tree |= {name: ["KHR_mesh_quantization"] for name in ("extensionsUsed", "extensionsRequired")}
    text = json.dumps(tree, separators=(",", ":"), allow_nan=False).encode()
    text = text.ljust(-(-len(text) // 4) * 4)
    total = 12 + 8 + len(text) + 8 + buffer.size
    return b"".join(
        [struct.pack("<4sII", b"glTF", 2, total), struct.pack("<I4s", len(text), b"JSON"), text]
        + [struct.pack("<I4s", buffer.size, b"BIN\0"), *buffer.chunks]
    )


def _animation_tree(buffer: _Buffer, animation: Animation, scale: float) -> dict[str, Any]:
    """The animation, linear in time: morph weights of node 0, rotation and translation of node 1."""
    turns = Rotation.from_matrix(animation.rotations).as_quat()
    # q and -q are the same rotation; neighbours of one sign keep a player from going the long way round
    flips = np.where((turns[1:] * turns[:-1]).sum(axis=1) < 0.0, -1.0, 1.0)
    turns[1:] *= np.cumprod(flips)[:, None]
    seconds = buffer.add(animation.seconds.astype("<f4"), None, bounds=True)
    values = {
        (0, "weights"): animation.weights.reshape(-1),
        (1, "rotation"): turns,
        (1, "translation"): animation.shifts * scale,
    }
    samplers = [
        {"input": seconds, "output": buffer.add(value.astype("<f4"), None), "interpolation": "LINEAR"}
        for value in values.values()
    ]
    channels = [{"sampler": k, "target": {"node": node, "path": path}} for k, (node, path) in enumerate(values)]
    return {"name": "take", "samplers": samplers, "channels": channels}


def _turns(mesh: Mesh, morphs: MorphTargets, normals: FloatArray) -> FloatArray:
    """(K, V, 3) change of the normals by each shape, clipped to [-1, 1]; changes too small to be seen are 0."""
    turns = np.stack([vertex_normals(mesh.vertices + row, mesh.faces)[0] - normals for row in morphs.offsets])
    visible = np.linalg.norm(turns, axis=2, keepdims=True) > _LEAST_TURN
    # a component beyond ±1 means a turn by more than a right angle: the shape folds there, and no shading is right
    return np.clip(turns * visible, -1.0, 1.0)


def _linear_colors(colors: NDArray[Any]) -> NDArray[np.uint16]:
    """(V, 4) 16-bit linear RGBA, opaque: COLOR_0 of glTF is linear, and 8 bits of that would show bands."""
    linear = srgb_to_linear(colors / 255.0)
    return np.column_stack([np.round(linear * 65535), np.full(len(colors), 65535)]).astype("<u2")
