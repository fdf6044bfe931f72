"""A mesh as a GLB file: metres, normals, and optionally colours, UVs and named morph targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from imhead.errors import InputError
from imhead.io.glb_container import (
    ARRAY_BUFFER,
    ELEMENT_BUFFER,
    GlbBuffer,
    glb_file,
    linear_colors,
    same_sided,
    split_at_seams,
)
from imhead.surfaces.normals import vertex_normals
from imhead.types import Animation, FloatArray, Mesh, MorphTargets, UvMap

_FULL = {"i2": 32767, "i1": 127, "u2": 65535}
_LEAST_TURN = 0.01  # change of a unit normal; less is written as 0


@dataclass(frozen=True)
class _Packing:
    """Encoding of lengths and directions: floats, or integers (KHR_mesh_quantization)."""

    quantized: bool
    center: FloatArray
    """(3,) metres; subtracted here, added back by the node."""
    half: float
    """Metres; divided by here, multiplied by the node."""

    def positions(self, points: FloatArray) -> NDArray[Any]:
        """Places (n, 3), metres."""
        return self.offsets(points - self.center)

    def offsets(self, moved: FloatArray) -> NDArray[Any]:
        """Movements (n, 3), metres."""
        return self._integers(moved / self.half, "i2") if self.quantized else (moved / self.half).astype("<f4")

    def directions(self, normals: FloatArray) -> NDArray[Any]:
        """Unit vectors (n, 3), or their changes."""
        return self._integers(normals, "i1") if self.quantized else normals.astype("<f4")

    def uvs(self, uv: FloatArray) -> NDArray[Any]:
        """UVs (n, 2)."""
        return self._integers(uv, "u2") if self.quantized else uv.astype("<f4")

    @staticmethod
    def _integers(values: FloatArray, kind: str) -> NDArray[Any]:
        return np.round(values * _FULL[kind]).astype(f"<{kind}")


def _packing(points: FloatArray, moves: FloatArray | None, quantized: bool) -> _Packing:
    """The packing of places (n, 3) and of movements (K, n, 3), metres."""
    if not quantized:
        return _Packing(False, np.zeros(3), 1.0)
    low, high = points.min(axis=0), points.max(axis=0)
    farthest = 0.0 if moves is None else float(np.abs(moves).max())
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
        mesh: V vertices.
        scale: metres in one unit of the mesh.
        notes: short texts, written to `asset.extras`.
        colors: (V, 3) sRGB of the vertices, 0-255.
        uv: of its faces.
        morphs: shapes of it.
        turns: (K, V, 3) change of the unit normals by each shape; None computes it from the moved vertices.
        quantized: 16-bit positions and UVs and 8-bit normals, by the extension KHR_mesh_quantization: about half
            the size, positions accurate to 1/130 000 of the mesh's size.
        animation: of the morphs' weights, and of a node `pose` that holds the mesh.
        sigma_mm: (V,) how sure each vertex is; the custom attribute `_SIGMA_MM`.
        normal_map: a PNG in tangent space, for a mesh with UVs.

    Raises:
        InputError: an animation of other morphs.
    """
    _check_animation(animation, morphs)
    buffer, (normals, _) = GlbBuffer(), vertex_normals(mesh.vertices, mesh.faces)
    vertex, faces, flat = split_at_seams(len(mesh.vertices), mesh.faces, uv)
    points = mesh.vertices[vertex] * scale
    moves = None if morphs is None else morphs.offsets[:, vertex] * scale
    pack = _packing(points, moves, quantized)
    indices = buffer.add(faces.astype("<u4").reshape(-1), ELEMENT_BUFFER)
    attributes = {
        "POSITION": buffer.add(pack.positions(points), ARRAY_BUFFER, normalized=quantized, bounds=True),
        "NORMAL": buffer.add(pack.directions(normals[vertex]), ARRAY_BUFFER, normalized=quantized),
    }
    if colors is not None:
        attributes["COLOR_0"] = buffer.add(linear_colors(colors[vertex]), ARRAY_BUFFER, normalized=True)
    if flat is not None:
        attributes["TEXCOORD_0"] = buffer.add(pack.uvs(flat), ARRAY_BUFFER, normalized=quantized)
    if sigma_mm is not None:
        attributes["_SIGMA_MM"] = buffer.add(sigma_mm[vertex].astype("<f4"), ARRAY_BUFFER)
    primitive: dict[str, Any] = {"attributes": attributes, "indices": indices, "material": 0, "mode": 4}
    body: dict[str, Any] = {"name": "head", "primitives": [primitive]}
    if morphs is not None and moves is not None:
        turns = _turns(mesh, morphs, normals) if turns is None else turns
        primitive["targets"] = _targets(buffer, pack, moves, turns[:, vertex])
        body |= {"weights": morphs.weights.tolist(), "extras": {"targetNames": list(morphs.names)}}
    tree = {"asset": {"version": "2.0", "generator": "imhead", "extras": dict(notes)}, "scene": 0, "meshes": [body]}
    tree |= _look(buffer, normal_map if uv is not None else None)
    return glb_file(tree | _nodes(buffer, pack, animation, scale), buffer)


def _check_animation(animation: Animation | None, morphs: MorphTargets | None) -> None:
    shapes = 0 if morphs is None else len(morphs.names)
    if animation is not None and animation.weights.shape[1] != shapes:
        raise InputError(f"the animation has {animation.weights.shape[1]} weights, the mesh {shapes} morph targets")


def _targets(buffer: GlbBuffer, pack: _Packing, moves: FloatArray, turns: FloatArray) -> list[dict[str, int]]:
    """The morph targets of movements (K, n, 3), metres, and changes of the normals (K, n, 3)."""
    return [
        {
            "POSITION": buffer.add_sparse(pack.offsets(moved), normalized=pack.quantized),
            "NORMAL": buffer.add_sparse(pack.directions(turn), normalized=pack.quantized, bounds=False),
        }
        for moved, turn in zip(moves, turns)
    ]


def _look(buffer: GlbBuffer, normal_map: bytes | None) -> dict[str, Any]:
    """The material, and the picture that it shows."""
    skin: dict[str, Any] = {"name": "skin", "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.7}}
    if normal_map is None:
        return {"materials": [skin]}
    skin["normalTexture"] = {"index": 0}
    picture = {"bufferView": buffer.add_file(normal_map), "mimeType": "image/png"}
    return {
        "materials": [skin], "images": [picture], "samplers": [{}], "textures": [{"source": 0, "sampler": 0}],
    }  # fmt: skip


def _nodes(buffer: GlbBuffer, pack: _Packing, animation: Animation | None, scale: float) -> dict[str, Any]:
    """The scene: the mesh, in a node of its own, and what moves it."""
    node: dict[str, Any] = {"mesh": 0, "name": "head"}
    found: dict[str, Any] = {"scenes": [{"nodes": [0]}], "nodes": [node]}
    if animation is not None:
        # the mesh's own node may hold the scale of a quantized mesh, so the pose has a node of its own above it
        found = {
            "scenes": [{"nodes": [1]}], "nodes": [node, {"name": "pose", "children": [0]}],
            "animations": [_animation_tree(buffer, animation, scale)],
        }  # fmt: skip
    if pack.quantized:
        node |= {"scale": [pack.half] * 3, "translation": pack.center.tolist()}
        found |= {name: ["KHR_mesh_quantization"] for name in ("extensionsUsed", "extensionsRequired")}
    return found


def _animation_tree(buffer: GlbBuffer, animation: Animation, scale: float) -> dict[str, Any]:
    """The animation, linear in time: morph weights of node 0, rotation and translation of node 1."""
    turns = same_sided(Rotation.from_matrix(animation.rotations).as_quat())
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
