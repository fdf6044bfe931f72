"""A scene as a GLB file: meshes with textures, a skeleton, named shapes and an animation. Metres, +Y up, +Z forward."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imhead.conventions import GLTF_UNIT_MM, srgb_to_linear
from imhead.io.glb_writer import _ARRAY_BUFFER, _ELEMENT_BUFFER, _Buffer, _linear_colors
from imhead.surfaces.normals import vertex_normals
from imhead.types import FloatArray, IntArray, MorphTargets, UvMap

_LEAST_TURN = 0.02  # change of a unit normal; less is written as 0
_STILL_MM = 0.005


@dataclass(frozen=True, eq=False)
class Image:
    """An encoded picture."""

    name: str
    data: bytes
    kind: Literal["image/jpeg", "image/png"]


@dataclass(frozen=True, eq=False)
class Material:
    """What a surface looks like."""

    name: str
    color: tuple[float, float, float, float]
    """sRGB and opacity, 0 to 1; multiplied with the image."""
    roughness: float
    image: int | None = None
    """Row of the scene's images."""
    two_sided: bool = False
    see_through: bool = False
    """Blended with what lies behind it, by its opacity."""


@dataclass(frozen=True, eq=False)
class Part:
    """One mesh of a scene, V vertices."""

    name: str
    vertices: FloatArray
    """(V, 3) mm."""
    faces: IntArray
    """(F, 3) counter-clockwise seen from outside."""
    material: int
    """Row of the scene's materials."""
    uv: UvMap | None = None
    colors: NDArray[np.uint8] | None = None
    """(V, 3) sRGB, multiplied with the material."""
    shapes: MorphTargets | None = None
    joints: IntArray | None = None
    """(V, 4) rows of the scene's joints; None where there is no skeleton."""
    weights: FloatArray | None = None
    """(V, 4) how much each joint carries the vertex; each row adds up to 1."""
    fade: FloatArray | None = None
    """(V,) opacity of each vertex, 0 to 1; None for opaque."""


@dataclass(frozen=True, eq=False)
class Joint:
    """A bone. It is not turned at rest."""

    name: str
    place: FloatArray
    """(3,) mm."""
    parent: int | None
    """Row of the scene's joints, above its own."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Weights of shapes and turns of joints over time."""

    name: str
    times: FloatArray
    """(T,) seconds, rising."""
    weights: Mapping[str, FloatArray] = field(default_factory=dict)
    """Name of a shape → (T,)."""
    turns: Mapping[str, FloatArray] = field(default_factory=dict)
    """Name of a joint → unit quaternions (T, 4), x, y, z, w."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that a file holds."""

    parts: tuple[Part, ...]
    materials: tuple[Material, ...]
    images: tuple[Image, ...] = ()
    joints: tuple[Joint, ...] = ()
    animation: Clip | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    """Short texts, written to `asset.extras`."""


def scene_bytes(scene: Scene, *, weight_error: float = 0.002, turn_error: float = 0.001) -> bytes:
    """A GLB of the scene.

    Args:
        weight_error: an animated weight differs from the given one by at most this much at any given time.
        turn_error: the same for each number of a quaternion.
    """
    buffer = _Buffer()
    tree: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "imhead", "extras": dict(scene.notes)},
        "scene": 0,
        "meshes": [_mesh(buffer, part) for part in scene.parts],
        "materials": [_material(material) for material in scene.materials],
    }
    if scene.images:
        tree["images"] = [
            {"name": image.name, "mimeType": image.kind, "bufferView": _bytes(buffer, image.data)}
            for image in scene.images
        ]
        tree["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
        tree["textures"] = [{"source": k, "sampler": 0} for k in range(len(scene.images))]
    nodes: list[dict[str, Any]] = [{"name": part.name, "mesh": k} for k, part in enumerate(scene.parts)]
    roots = list(range(len(nodes)))
    if scene.joints:
        first = len(nodes)
        for node, part in zip(nodes, scene.parts):
            node |= {"skin": 0} if part.joints is not None else {}
        nodes += [_joint(scene.joints, k) for k in range(len(scene.joints))]
        for k, joint in enumerate(scene.joints):
            if joint.parent is None:
                roots.append(first + k)
            else:
                nodes[first + joint.parent].setdefault("children", []).append(first + k)
        inverse = np.tile(np.eye(4, dtype="<f4"), (len(scene.joints), 1, 1))
        inverse[:, :3, 3] = [-np.asarray(joint.place) / GLTF_UNIT_MM for joint in scene.joints]
        matrices = _matrices(buffer, inverse)
        rows = list(range(first, first + len(scene.joints)))
        tree["skins"] = [{"joints": rows, "skeleton": first, "inverseBindMatrices": matrices}]
    if scene.animation is not None:
        tree["animations"] = [_animation(buffer, scene, scene.animation, weight_error, turn_error)]
    tree |= {"nodes": nodes, "scenes": [{"nodes": roots}]}
    tree |= {"buffers": [{"byteLength": buffer.size}], "bufferViews": buffer.views, "accessors": buffer.accessors}
    text = json.dumps(tree, separators=(",", ":"), allow_nan=False).encode()
    text = text.ljust(-(-len(text) // 4) * 4)
    total = 12 + 8 + len(text) + 8 + buffer.size
    return b"".join(
        [struct.pack("<4sII", b"glTF", 2, total), struct.pack("<I4s", len(text), b"JSON"), text]
        + [struct.pack("<I4s", buffer.size, b"BIN\0"), *buffer.chunks]
    )


def _mesh(buffer: _Buffer, part: Part) -> dict[str, Any]:
    normals, _ = vertex_normals(part.vertices, part.faces)
    vertex, faces = np.arange(len(part.vertices)), part.faces
    flat = None
    if part.uv is not None:  # a vertex on a seam of the UVs is written twice, with one normal
        pairs = np.stack([part.faces.reshape(-1), part.uv.faces.reshape(-1)], axis=1)
        kept, corner = np.unique(pairs, axis=0, return_inverse=True)
        vertex, faces = kept[:, 0], corner.reshape(-1, 3)
        flat = part.uv.uv[kept[:, 1]] * [1.0, -1.0] + [0.0, 1.0]  # glTF counts v downwards
    points = (part.vertices[vertex] / GLTF_UNIT_MM).astype("<f4")
    indices = faces.astype("<u2" if len(vertex) < 1 << 16 else "<u4").reshape(-1)
    attributes = {
        "POSITION": buffer.add(points, _ARRAY_BUFFER, bounds=True),
        "NORMAL": buffer.add(normals[vertex].astype("<f4"), _ARRAY_BUFFER),
    }
    if flat is not None:
        attributes["TEXCOORD_0"] = buffer.add(flat.astype("<f4"), _ARRAY_BUFFER)
    if part.colors is not None:
        colors = _linear_colors(part.colors[vertex])
        if part.fade is not None:
            colors[:, 3] = np.round(65535.0 * part.fade[vertex])
        attributes["COLOR_0"] = buffer.add(colors, _ARRAY_BUFFER, normalized=True)
    if part.joints is not None and part.weights is not None:
        attributes["JOINTS_0"] = _unsigned(buffer, part.joints[vertex])
        attributes["WEIGHTS_0"] = buffer.add(part.weights[vertex].astype("<f4"), _ARRAY_BUFFER)
    primitive = {
        "attributes": attributes, "indices": buffer.add(indices, _ELEMENT_BUFFER), "material": part.material, "mode": 4,
    }  # fmt: skip
    body: dict[str, Any] = {"name": part.name, "primitives": [primitive]}
    if part.shapes is not None:
        targets = []
        for row in part.shapes.offsets:
            moved, turn = moves_of(part, row, normals)
            targets.append(
                {
                    "POSITION": buffer.add_sparse((moved[vertex] / GLTF_UNIT_MM).astype("<f4"), normalized=False),
                    "NORMAL": buffer.add_sparse(turn[vertex].astype("<f4"), normalized=False, bounds=False),
                }
            )
        primitive["targets"] = targets
        body |= {"weights": part.shapes.weights.tolist(), "extras": {"targetNames": list(part.shapes.names)}}
    return body


def moves_of(part: Part, offsets: FloatArray, normals: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Movements (V, 3) of a shape, mm, and changes of the normals (V, 3), without those that nobody sees.

    Args:
        part: the mesh.
        offsets: (V, 3) of the shape.
        normals: (V, 3) of the mesh.
    """
    moved = offsets * (np.linalg.norm(offsets, axis=1, keepdims=True) > _STILL_MM)
    turn = vertex_normals(part.vertices + moved, part.faces)[0] - normals
    turn = np.clip(turn * (np.linalg.norm(turn, axis=1, keepdims=True) > _LEAST_TURN), -1.0, 1.0)
    return moved, turn


def _material(material: Material) -> dict[str, Any]:
    linear = srgb_to_linear(np.array(material.color[:3])).tolist()
    surface: dict[str, Any] = {
        "baseColorFactor": [*linear, material.color[3]], "metallicFactor": 0.0, "roughnessFactor": material.roughness,
    }  # fmt: skip
    if material.image is not None:
        surface["baseColorTexture"] = {"index": material.image}
    found: dict[str, Any] = {"name": material.name, "pbrMetallicRoughness": surface}
    if material.two_sided:
        found["doubleSided"] = True
    if material.see_through:
        found["alphaMode"] = "BLEND"
    return found


def _joint(joints: Sequence[Joint], row: int) -> dict[str, Any]:
    joint = joints[row]
    origin = np.zeros(3) if joint.parent is None else np.asarray(joints[joint.parent].place)
    shift = (np.asarray(joint.place) - origin) / GLTF_UNIT_MM
    # as single floats, like the inverse matrices
    return {"name": joint.name, "translation": shift.astype(np.float32).astype(float).tolist()}


def _bytes(buffer: _Buffer, data: bytes) -> int:
    return buffer._view(np.frombuffer(data, dtype=np.uint8), {})


def _unsigned(buffer: _Buffer, rows: IntArray) -> int:
    buffer.accessors.append(
        {
            "bufferView": buffer._view(rows.astype("u1"), {"target": _ARRAY_BUFFER}),
            "componentType": 5121, "count": len(rows), "type": "VEC4",
        }
    )  # fmt: skip
    return len(buffer.accessors) - 1


def _matrices(buffer: _Buffer, matrices: FloatArray) -> int:
    """(J, 4, 4) → an accessor; glTF stores columns."""
    columns = np.ascontiguousarray(matrices.transpose(0, 2, 1)).reshape(-1, 16).astype("<f4")
    buffer.accessors.append(
        {"bufferView": buffer._view(columns, {}), "componentType": 5126, "count": len(matrices), "type": "MAT4"}
    )
    return len(buffer.accessors) - 1


def _animation(
    buffer: _Buffer, scene: Scene, animation: Clip, weight_error: float, turn_error: float
) -> dict[str, Any]:
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []

    def channel(node: int, path: str, keys: IntArray, values: FloatArray) -> None:
        times = buffer.add(animation.times[keys].astype("<f4"), None, bounds=True)
        table = values[keys].astype("<f4")
        output = buffer.add(table.reshape(-1) if path == "weights" else table, None)
        samplers.append({"input": times, "output": output, "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})

    still = np.zeros(len(animation.times))
    for node, part in enumerate(scene.parts):
        if part.shapes is not None:
            table = np.stack([animation.weights.get(name, still) for name in part.shapes.names], axis=1)
            channel(node, "weights", keys_within(animation.times, table, weight_error), table)
    for row, joint in enumerate(scene.joints):
        if joint.name in animation.turns:
            turns = animation.turns[joint.name]
            keys = keys_within(animation.times, turns, turn_error)
            channel(len(scene.parts) + row, "rotation", keys, turns)
    return {"name": animation.name, "samplers": samplers, "channels": channels}


def keys_within(times: FloatArray, values: FloatArray, error: float) -> IntArray:
    """The keys (n,) that are enough: between them, straight lines pass within `error` of all values (T, C)."""
    kept = {0, len(times) - 1}
    pending = [(0, len(times) - 1)]
    while pending:
        start, end = pending.pop()
        if end - start < 2:
            continue
        share = ((times[start + 1 : end] - times[start]) / (times[end] - times[start]))[:, None]
        straight = values[start] * (1.0 - share) + values[end] * share
        off = np.abs(values[start + 1 : end] - straight).max(axis=1)
        if off.max() > error:
            middle = start + 1 + int(off.argmax())
            kept.add(middle)
            pending += [(start, middle), (middle, end)]
    return np.array(sorted(kept))
