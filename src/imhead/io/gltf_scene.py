"""The scene of a glTF file: nodes, skins and morph targets, in time linear in what the file holds.

Shape legend: N points, F faces, J joints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.io.draco import decode_draco
from imhead.io.gltf_colors import SceneColors
from imhead.io.gltf_data import Damaged, GltfData, item, natural, objects, width_of
from imhead.io.triangles import fan_triangles, strip_triangles
from imhead.surfaces.transforms import transform_points
from imhead.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Part:
    """Points of a scene, and the faces on them."""

    points: FloatArray
    """(N, 3) in the frame of the scene."""
    faces: IntArray | None
    """(F, 3); None for points alone."""
    colors: NDArray[np.uint8] | None
    """(N, 3) sRGB, or None."""
    uv: FloatArray | None
    """(F, 3, 2) of the corners; None where no face has a picture."""
    picture: IntArray | None
    """(F,) row of the picture, -1 for none."""


@dataclass(eq=False)
class _Group:
    """Primitives on the same points."""

    points: FloatArray
    mirrored: bool
    colors: NDArray[np.uint8] | None
    faces: list[IntArray] = field(default_factory=list)
    looks: list[tuple[FloatArray, int] | None] = field(default_factory=list)

    def part(self) -> Part:
        """All faces in one."""
        if not self.faces:
            return Part(self.points, None, self.colors, None, None)
        faces = np.concatenate(self.faces) if len(self.faces) > 1 else self.faces[0]
        if not any(self.looks):
            return Part(self.points, faces, self.colors, None, None)
        blank = [np.zeros((len(own), 3, 2), dtype=np.float32) for own in self.faces]
        uv = np.concatenate([none if look is None else look[0] for none, look in zip(blank, self.looks)])
        rows = [np.full(len(own), -1 if look is None else look[1]) for own, look in zip(self.faces, self.looks)]
        return Part(self.points, faces, self.colors, uv, np.concatenate(rows))


_POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6
_DRACO = "KHR_draco_mesh_compression"
_KNOWN = frozenset(
    {_DRACO, "EXT_meshopt_compression", "KHR_meshopt_compression", "KHR_mesh_quantization", "KHR_lights_punctual"}
)
_OF_LOOKS = ("KHR_materials_", "KHR_texture_", "EXT_texture_", "MSFT_texture_", "VRM", "KHR_xmp")
_SKINNED_AT_ONCE = 1 << 14


def scene_parts(data: GltfData) -> tuple[list[Part], SceneColors, tuple[str, ...]]:
    """The meshes and points of the scene, each transformed by its node or skin, their pictures, and what was left out.

    Raises:
        Damaged: the description contradicts itself.
        InputError: the data does not fit the description.
    """
    tree = data.tree
    nodes = objects(tree, "nodes")
    worlds, roots = _world_matrices(nodes)
    warnings = _unknown_extensions(tree)
    colors = SceneColors(data)
    placed = _Placed(data, colors)
    lines = 0
    for node in _visible(tree, nodes, roots):
        mesh_index = nodes[node].get("mesh")
        if mesh_index is None:
            continue
        mesh = item(tree, "meshes", mesh_index)
        weights = nodes[node].get("weights", mesh.get("weights")) or []
        skin = nodes[node].get("skin")
        for primitive in objects(mesh, "primitives"):
            if primitive.get("mode", _TRIANGLES) not in (_POINTS, _TRIANGLES, _STRIP, _FAN):
                lines += 1
                continue
            placed.add(primitive, weights, worlds, node, skin)
    if not nodes and objects(tree, "meshes"):
        plain = [(primitive, mesh) for mesh in objects(tree, "meshes") for primitive in objects(mesh, "primitives")]
        identity = {0: np.eye(4)}
        for primitive, mesh in plain:
            placed.add(primitive, mesh.get("weights") or [], identity, 0, None)
        warnings += ("No node of the file places a mesh, so every mesh was read as it is.",)
    if lines:
        warnings += (f"{lines} lines in the file were left out.",)
    return placed.parts(), colors, (*warnings, *colors.warnings())


def _unknown_extensions(tree: Mapping[str, Any]) -> tuple[str, ...]:
    """A warning about extensions that the file calls necessary and that are not known here."""
    required = tree.get("extensionsRequired")
    names = [n for n in required if isinstance(n, str)] if isinstance(required, list) else []
    unknown = sorted({n for n in names if n not in _KNOWN and not n.startswith(_OF_LOOKS)})
    if not unknown:
        return ()
    shown = ", ".join(ascii(name[:40])[1:-1] for name in unknown[:3])
    return (f"The file needs {len(unknown)} glTF extensions that were not applied: {shown}.",)


def _world_matrices(nodes: Sequence[Mapping[str, Any]]) -> tuple[dict[int, FloatArray], list[int]]:
    """The matrix of every node in the frame of the scene, and the nodes without a parent."""
    children = [[natural(c) for c in node.get("children") or ()] for node in nodes]
    parents = [-1] * len(nodes)
    for k, own in enumerate(children):
        for child in own:
            if child >= len(nodes):
                raise Damaged(f"node {k} has a child that is not there")
            if parents[child] >= 0:
                raise Damaged(f"node {child} of its scene has two parents")
            parents[child] = k
    roots = [k for k, parent in enumerate(parents) if parent < 0]
    worlds: dict[int, FloatArray] = {}
    pending = list(roots)
    while pending:
        k = pending.pop()
        local = _local_matrix(nodes[k])
        worlds[k] = local if parents[k] < 0 else worlds[parents[k]] @ local
        pending += children[k]
    return worlds, roots


def _local_matrix(node: Mapping[str, Any]) -> FloatArray:
    if node.get("matrix") is not None:
        matrix = _vector(node["matrix"], 16).reshape(4, 4).T
        return matrix
    local = np.eye(4)
    if node.get("rotation") is not None:
        x, y, z, w = _vector(node["rotation"], 4)
        length = x * x + y * y + z * z + w * w
        s = 2.0 / length if length else 0.0
        local[:3, :3] = [
            [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
            [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
            [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
        ]
    if node.get("scale") is not None:
        local[:3, :3] *= _vector(node["scale"], 3)
    if node.get("translation") is not None:
        local[:3, 3] = _vector(node["translation"], 3)
    return local


def _vector(values: Any, size: int) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    if array.shape != (size,):
        raise Damaged(f"a node is placed by {array.size} numbers, not {size}")
    return array


def _visible(tree: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], roots: list[int]) -> list[int]:
    """The nodes of the scene, each once, parents first; of all scenes' roots if the file names no scene."""
    scenes = objects(tree, "scenes")
    if scenes:
        named = tree.get("scene")
        first = scenes[0] if named is None else item(tree, "scenes", named)
        roots = [natural(k) for k in first.get("nodes") or ()]
    order: list[int] = []
    seen: set[int] = set()
    pending = list(reversed(roots))
    while pending:
        k = pending.pop()
        if k >= len(nodes):
            raise Damaged(f"the scene names node {k}, which is not there")
        if k in seen:
            continue
        seen.add(k)
        order.append(k)
        pending += [natural(c) for c in reversed(nodes[k].get("children") or ())]
    return order


class _Placed:
    """Primitives in the frame of the scene. Those that share their points, as parts of one mesh do, share them here."""

    def __init__(self, data: GltfData, colors: SceneColors) -> None:
        self._data, self._colors = data, colors
        self._found: dict[Any, _Group] = {}

    def parts(self) -> list[Part]:
        """Points with all faces on them."""
        return [group.part() for group in self._found.values()]

    def add(
        self,
        primitive: Mapping[str, Any],
        weights: Sequence[Any],
        worlds: Mapping[int, FloatArray],
        node: int,
        skin: Any,
    ) -> None:
        """Place one primitive by its node or skin; its faces turn over if it is mirrored there."""
        data = self._data
        source: _Plain = _Plain(data, primitive) if _draco_view(primitive) is None else _Draco(data, primitive)
        mode = primitive.get("mode", _TRIANGLES)
        key: Any = (node, mode == _POINTS, source.key())
        if key not in self._found:
            points, mirrored = _moved(data, source, primitive, weights, worlds, node, skin)
            data.place(len(points))
            self._found[key] = _Group(points, mirrored, self._colors.of_points(source, len(points)))
        group = self._found[key]
        if mode != _POINTS:
            faces = _faces(source, mode, len(group.points), data.label)
            data.place(len(faces))
            faces = faces[:, ::-1] if group.mirrored else faces
            group.faces.append(faces)
            group.looks.append(self._colors.of_faces(source, primitive.get("material"), faces))


def _moved(
    data: GltfData,
    source: _Plain,
    primitive: Mapping[str, Any],
    weights: Sequence[Any],
    worlds: Mapping[int, FloatArray],
    node: int,
    skin: Any,
) -> tuple[FloatArray, bool]:
    """The points of a primitive in the frame of the scene, and whether they are mirrored there."""
    points = _morphed(data, primitive, source.floats("POSITION", 3), weights)
    # by the specification, the node of a skinned mesh does not move it: its joints do
    if skin is not None:
        if source.has("JOINTS_0") and source.has("WEIGHTS_0"):
            return _skinned(data, source, points, worlds, item(data.tree, "skins", skin))
        return points, False
    if node not in worlds:
        raise Damaged("a node is its own ancestor")
    world = worlds[node]
    if not np.isfinite(world).all():
        raise InputError(f"{data.label}: a node of its scene is placed by NaN or infinite numbers; export it again")
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is looked for later
        return transform_points(world, points), bool(np.linalg.det(world[:3, :3]) < 0)


def _draco_view(primitive: Mapping[str, Any]) -> Mapping[str, Any] | None:
    extensions = primitive.get("extensions") or {}
    packed: Mapping[str, Any] | None = extensions.get(_DRACO)
    return packed


class _Plain:
    """The attributes of a primitive in plain accessors."""

    def __init__(self, data: GltfData, primitive: Mapping[str, Any]) -> None:
        self._data, self._primitive = data, primitive

    def key(self) -> Any:
        """What the points depend on."""
        targets = self._primitive.get("targets") or ()
        used = [(n, v) for n, v in self._primitive["attributes"].items() if n.startswith(("POS", "JOINTS", "WEIGHTS"))]
        return tuple(sorted(used)), tuple(target.get("POSITION") for target in targets)

    def has(self, name: str) -> bool:
        return name in self._primitive["attributes"]

    def floats(self, name: str, width: int) -> FloatArray:
        return self._data.floats(self._primitive["attributes"][name], width)

    def width(self, name: str) -> int:
        return width_of(self._data.tree, self._primitive["attributes"][name])

    def joints(self, name: str) -> IntArray:
        return self._data.accessor(self._primitive["attributes"][name]).astype(np.int64)

    def corners(self, count: int) -> IntArray:
        index = self._primitive.get("indices")
        return np.arange(count) if index is None else self._data.indices(index)


class _Draco(_Plain):
    """The attributes of a primitive that Draco has packed."""

    def __init__(self, data: GltfData, primitive: Mapping[str, Any]) -> None:
        super().__init__(data, primitive)
        packed = _draco_view(primitive)
        assert packed is not None
        self._ids: Mapping[str, Any] = packed["attributes"]
        span, _ = data.view(packed["bufferView"])
        promised = natural(item(data.tree, "accessors", primitive["attributes"]["POSITION"])["count"])
        data.expand(len(span), 12 * promised)
        self._mesh = decode_draco(span, promised, data.label)
        data.expand(len(span), 12 * len(self._mesh.faces))

    def key(self) -> Any:
        return self

    def floats(self, name: str, width: int) -> FloatArray:
        if name not in self._ids:
            return super().floats(name, width)
        values = self._mesh.attributes[natural(self._ids[name])].reshape(-1, width)
        return self._data.as_floats(values, self._primitive["attributes"].get(name))

    def joints(self, name: str) -> IntArray:
        if name not in self._ids:
            return super().joints(name)
        return self._mesh.attributes[natural(self._ids[name])].astype(np.int64)

    def corners(self, count: int) -> IntArray:
        return self._mesh.faces.reshape(-1)


def _faces(source: _Plain, mode: int, count: int, label: str) -> IntArray:
    corners = source.corners(count)
    if isinstance(source, _Draco) or mode == _TRIANGLES:
        corners = corners[: len(corners) // 3 * 3]
        return fan_triangles(np.full(len(corners) // 3, 3), corners, count, label)[0]
    row = np.array([len(corners)])
    return (
        strip_triangles(row, corners, count, label) if mode == _STRIP else fan_triangles(row, corners, count, label)[0]
    )


def _morphed(data: GltfData, primitive: Mapping[str, Any], points: FloatArray, weights: Sequence[Any]) -> FloatArray:
    """The points moved by the morph targets, as the weights of the file say."""
    for target, weight in zip(primitive.get("targets") or (), weights):
        if weight and "POSITION" in target:
            offsets = data.floats(target["POSITION"], 3)
            if offsets.shape != points.shape:
                raise Damaged("a morph target has another number of points than its mesh")
            points = points + float(weight) * offsets
    return points


def _skinned(
    data: GltfData, source: _Plain, points: FloatArray, worlds: Mapping[int, FloatArray], skin: Mapping[str, Any]
) -> tuple[FloatArray, bool]:
    """The points moved by their joints, and whether the joints mirror them."""
    joints = [natural(k) for k in skin["joints"]]
    if any(k not in worlds for k in joints):
        raise Damaged("a skin names a joint that is not there")
    data.spend(16 * len(joints))
    matrices = np.array([worlds[k] for k in joints])
    if skin.get("inverseBindMatrices") is not None:
        inverse = data.floats(skin["inverseBindMatrices"], 16)
        if len(inverse) < len(joints):
            raise Damaged("a skin has fewer matrices than joints")
        matrices = matrices @ inverse[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1)
    if not np.isfinite(matrices).all():
        raise InputError(f"{data.label}: a joint of its skin is placed by NaN or infinite numbers; export it again")
    moved = np.zeros_like(points)
    total = np.zeros(len(points))
    turned = 0.0
    determinants = np.linalg.det(matrices[:, :3, :3])
    for k in range(8):
        if not (source.has(f"JOINTS_{k}") and source.has(f"WEIGHTS_{k}")):
            break
        which, share = source.joints(f"JOINTS_{k}"), source.floats(f"WEIGHTS_{k}", 4)
        if which.shape != share.shape or len(which) != len(points):
            raise Damaged("a skinned mesh has not one row of joints and weights for each point")
        if which[share != 0].size and not (0 <= which[share != 0].min() <= which[share != 0].max() < len(joints)):
            raise Damaged("a point is bound to a joint that is not there")
        which = np.where(share != 0, which, 0)
        for first in range(0, len(points), _SKINNED_AT_ONCE):
            rows = slice(first, first + _SKINNED_AT_ONCE)
            blend = np.einsum("nj,njab->nab", share[rows], matrices[which[rows]])
            moved[rows] += np.einsum("nab,nb->na", blend[:, :3, :3], points[rows]) + blend[:, :3, 3]
        total += share.sum(axis=1)
        turned += float((determinants[which] * share).sum())
    # a point without weights stays where it is
    free = total == 0
    moved[free], total[free] = points[free], 1.0
    return moved / total[:, None], turned < 0
