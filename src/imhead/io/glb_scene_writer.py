"""A scene as a GLB file: meshes with textures, a skeleton, named shapes and an animation. Metres, +Y up, +Z forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imhead.conventions import GLTF_UNIT_MM, srgb_to_linear
from imhead.io.glb_container import (
    ARRAY_BUFFER,
    ELEMENT_BUFFER,
    GlbBuffer,
    glb_file,
    linear_colors,
    split_at_seams,
)
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
        scene: what the file holds.
        weight_error: an animated weight differs from the given one by at most this much at any given time.
        turn_error: the same for each number of a quaternion.
    """
    buffer = GlbBuffer()
    tree: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "imhead", "extras": dict(scene.notes)},
        "scene": 0,
        "meshes": [_mesh(buffer, part) for part in scene.parts],
        "materials": [_material(material) for material in scene.materials],
    }
    if scene.images:
        tree["images"] = [
            {"name": image.name, "mimeType": image.kind, "bufferView": buffer.add_file(image.data)}
            for image in scene.images
        ]
        tree["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
        tree["textures"] = [{"source": k, "sampler": 0} for k in range(len(scene.images))]
    tree |= _nodes(buffer, scene)
    if scene.animation is not None:
        tree["animations"] = [_animation(buffer, scene, scene.animation, weight_error, turn_error)]
    return glb_file(tree, buffer)


def _nodes(buffer: GlbBuffer, scene: Scene) -> dict[str, Any]:
    """The nodes of parts and joints, which of them stand at the top, and the skeleton."""
    nodes: list[dict[str, Any]] = [{"name": part.name, "mesh": k} for k, part in enumerate(scene.parts)]
    first, roots = len(nodes), list(range(len(nodes)))
    if not scene.joints:
        return {"nodes": nodes, "scenes": [{"nodes": roots}]}
    for node, part in zip(nodes, scene.parts):
        node |= {"skin": 0} if part.joints is not None else {}
    nodes += [_joint(scene.joints, k) for k in range(len(scene.joints))]
    for k, joint in enumerate(scene.joints):
        if joint.parent is None:
            roots.append(first + k)
        else:
            nodes[first + joint.parent].setdefault("children", []).append(first + k)
    inverse = np.tile(np.eye(4, dtype="<f4"), (len(scene.joints), 1, 1))
    inverse[:, 3, :3] = [-np.asarray(joint.place) / GLTF_UNIT_MM for joint in scene.joints]  # glTF stores columns
    matrices = buffer.add(inverse.reshape(-1, 16), None)
    rows = list(range(first, first + len(scene.joints)))
    skin = {"joints": rows, "skeleton": first, "inverseBindMatrices": matrices}
    return {"nodes": nodes, "scenes": [{"nodes": roots}], "skins": [skin]}


def _mesh(buffer: GlbBuffer, part: Part) -> dict[str, Any]:
    normals, _ = vertex_normals(part.vertices, part.faces)
    vertex, faces, flat = split_at_seams(len(part.vertices), part.faces, part.uv)
    points = (part.vertices[vertex] / GLTF_UNIT_MM).astype("<f4")
    indices = faces.astype("<u2" if len(vertex) < 1 << 16 else "<u4").reshape(-1)
    attributes = {
        "POSITION": buffer.add(points, ARRAY_BUFFER, bounds=True),
        "NORMAL": buffer.add(normals[vertex].astype("<f4"), ARRAY_BUFFER),
    }
    if flat is not None:
        attributes["TEXCOORD_0"] = buffer.add(flat.astype("<f4"), ARRAY_BUFFER)
    if part.colors is not None:
        attributes["COLOR_0"] = buffer.add(linear_colors(part.colors[vertex]), ARRAY_BUFFER, normalized=True)
    if part.joints is not None and part.weights is not None:
        attributes["JOINTS_0"] = buffer.add(part.joints[vertex].astype("u1"), ARRAY_BUFFER)
        attributes["WEIGHTS_0"] = buffer.add(part.weights[vertex].astype("<f4"), ARRAY_BUFFER)
    primitive = {
        "attributes": attributes, "indices": buffer.add(indices, ELEMENT_BUFFER), "material": part.material, "mode": 4,
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


def _animation(
    buffer: GlbBuffer, scene: Scene, animation: Clip, weight_error: float, turn_error: float
) -> dict[str, Any]:
    still = np.zeros(len(animation.times))
    curves: list[tuple[int, str, FloatArray, float]] = []
    for node, part in enumerate(scene.parts):
        if part.shapes is not None:
            table = np.stack([animation.weights.get(name, still) for name in part.shapes.names], axis=1)
            curves.append((node, "weights", table, weight_error))
    for row, joint in enumerate(scene.joints, len(scene.parts)):
        if joint.name in animation.turns:
            curves.append((row, "rotation", animation.turns[joint.name], turn_error))
    samplers = [_sampler(buffer, animation.times, path, values, error) for _, path, values, error in curves]
    channels = [{"sampler": k, "target": {"node": node, "path": path}} for k, (node, path, _, _) in enumerate(curves)]
    return {"name": animation.name, "samplers": samplers, "channels": channels}


def _sampler(buffer: GlbBuffer, times: FloatArray, path: str, values: FloatArray, error: float) -> dict[str, Any]:
    """The keys of a curve (T, C) that are enough."""
    keys = keys_within(times, values, error)
    table = values[keys].astype("<f4")
    return {
        "input": buffer.add(times[keys].astype("<f4"), None, bounds=True),
        "output": buffer.add(table.reshape(-1) if path == "weights" else table, None),
        "interpolation": "LINEAR",
    }


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
