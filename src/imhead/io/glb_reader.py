"""GLB, read by trimesh after its JSON has been checked against the size of the file."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import trimesh

from imhead.errors import InputError
from imhead.io.raw_geometry import RawGeometry, checked_points, fan_triangles
from imhead.surfaces.transforms import transform_points
from imhead.types import FloatArray, IntArray

_ITEM_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_ITEM_WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_FLOAT = 5126
_POINTS, _TRIANGLES, _STRIP = 0, 4, 5
_SHARING = 16
"""Times that views and accessors may reuse the bytes of a file before it is refused as hostile."""
_MAX_POINTS = 50_000_000
"""Points of all meshes of a scene, each counted as often as nodes place it."""
# raised by trimesh and the standard library on malformed files; anything else is a failure of this package
_MALFORMED = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, RuntimeError, ImportError,
)  # fmt: skip


def read_glb(data: bytes, label: str) -> RawGeometry:
    """Points and faces of all meshes of a GLB, each transformed by its node; points alone if none has faces.

    Raises:
        InputError: not a GLB, truncated, compressed, referring to other files, larger than its bytes, NaN, or an
            index out of range; one line.
    """
    warnings = _check_json(_json_chunk(data, label), len(data), label)
    try:
        with np.errstate(invalid="ignore"):  # a signalling NaN warns when it is widened; it is refused below
            scene = trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False, skip_materials=True)
        parts = [_placed(scene, node, label) for node in scene.graph.nodes_geometry]
    except InputError:
        raise
    except _MALFORMED as error:
        raise InputError(f"{label}: cannot be read as GLB ({_brief(error)}); export it again") from None
    meshes = [part for part in parts if part[1] is not None]
    clouds = sum(len(points) for points, faces in parts if faces is None)
    if meshes and clouds:
        warnings += (f"{clouds} loose points beside the mesh were left out.",)
    used = meshes or parts
    if not used:
        raise InputError(f"{label}: holds no mesh and no points in its scene; export the scan again")
    points = checked_points(np.concatenate([p for p, _ in used]), label)
    if not meshes:
        return RawGeometry(points, None, None, warnings)
    triangles, first = [], 0
    for part_points, faces in meshes:
        assert faces is not None
        counts = np.full(len(faces), 3, dtype=np.int64)
        # checked per mesh: an index past its end must not fall into the next mesh
        checked, _ = fan_triangles(counts, faces.reshape(-1), len(part_points), label)
        triangles.append(checked + first)
        first += len(part_points)
    return RawGeometry(points, None, np.concatenate(triangles), warnings)


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split())[:80]
    return text or type(error).__name__


def _placed(scene: trimesh.Scene, node: str, label: str) -> tuple[FloatArray, IntArray | None]:
    """Points of one node's geometry in the scene's frame, and its faces, flipped if the transform mirrors them."""
    transform, name = scene.graph[node]
    geometry = scene.geometry[name]
    if not np.isfinite(transform).all():
        raise InputError(f"{label}: a node of its scene is placed by NaN or infinite numbers; export it again")
    points = transform_points(transform, checked_points(geometry.vertices, label))
    if not isinstance(geometry, trimesh.Trimesh):
        return points, None
    faces = np.asarray(geometry.faces, dtype=np.int64)
    return points, faces[:, ::-1] if np.linalg.det(transform[:3, :3]) < 0 else faces


def _json_chunk(data: bytes, label: str) -> dict[str, Any]:
    if data[:4] != b"glTF" or len(data) < 20:
        raise InputError(f"{label}: is not a GLB file (it does not begin with 'glTF'); is it another format, renamed?")
    version, total, length = (int.from_bytes(data[k : k + 4], "little") for k in (4, 8, 12))
    if version != 2:
        raise InputError(f"{label}: is glTF version {version}, only version 2 is read; export it again")
    if data[16:20] != b"JSON":
        raise InputError(f"{label}: its GLB does not begin with a description, it is damaged; export it again")
    if total > len(data) or 20 + length > len(data):
        raise InputError(f"{label}: holds {len(data)} of the {total} bytes it promises; it is truncated, copy it again")
    try:
        tree = json.loads(data[20 : 20 + length])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{label}: its GLB description is damaged ({_brief(error)}); export it again") from None
    if not isinstance(tree, dict):
        raise InputError(f"{label}: its GLB description is damaged (no object); export it again")
    return tree


def _check_json(tree: dict[str, Any], size: int, label: str) -> tuple[str, ...]:
    """Refuse a GLB that reads other files, needs memory out of proportion to its size, or would lose geometry silently.

    Returns:
        Warnings about what the reader leaves out.
    """
    for name in tree.get("extensionsRequired", ()):
        if "compression" in str(name) or name == "KHR_mesh_quantization":
            raise InputError(f"{label}: is compressed ({ascii(name)[:60]}); export it without compression")
    try:
        if any(not str(b.get("uri", "data:")).startswith("data:") for b in tree.get("buffers", ())):
            raise InputError(f"{label}: refers to another file for its data; export it as one self-contained GLB")
        views = tree.get("bufferViews", [])
        held = sum(_natural(v["byteLength"]) for v in views)
        accessors = tree.get("accessors", [])
        if any(_natural(a["bufferView"]) >= len(views) for a in accessors if "bufferView" in a):
            raise ValueError("an accessor names no bufferView")
        sizes = [_natural(a["count"]) * _ITEM_BYTES[a["componentType"]] * _ITEM_WIDTH[a["type"]] for a in accessors]
        if held > _SHARING * size or sum(sizes) > _SHARING * size:
            raise InputError(f"{label}: describes more data than its {size} bytes can hold; export it again")
        skipped = _check_primitives(tree, accessors, label)
        _check_nodes(tree, accessors, label)
    except InputError:
        raise
    except _MALFORMED as error:
        raise InputError(f"{label}: its GLB description is damaged ({_brief(error)}); export it again") from None
    return (f"{skipped} lines or fans in the file were left out.",) if skipped else ()


def _natural(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("a size is not a natural number")
    return value


def _check_primitives(tree: dict[str, Any], accessors: list[dict[str, Any]], label: str) -> int:
    """Check the primitives; returns the number of those that are neither triangles nor points."""
    skipped = 0
    for mesh in tree.get("meshes", []):
        for primitive in mesh["primitives"]:
            if primitive.get("mode", _TRIANGLES) not in (_POINTS, _TRIANGLES, _STRIP):
                skipped += 1
                continue
            position = accessors[_natural(primitive["attributes"]["POSITION"])]
            if "bufferView" not in position or "sparse" in position or position["componentType"] != _FLOAT:
                raise InputError(f"{label}: its points are not stored as plain floats; export it without compression")
            if "indices" in primitive and "bufferView" not in accessors[_natural(primitive["indices"])]:
                raise InputError(f"{label}: its faces are not stored as plain numbers; export it without compression")
    return skipped


def _check_nodes(tree: dict[str, Any], accessors: list[dict[str, Any]], label: str) -> None:
    """Check that each node has at most one parent, and that all meshes placed by nodes fit into memory."""
    nodes = tree.get("nodes", [])
    children = [_natural(c) for node in nodes for c in node.get("children", ())]
    if len(children) != len(set(children)):
        raise InputError(f"{label}: a node of its scene has two parents; export it again")
    points = [
        sum(accessors[p["attributes"]["POSITION"]]["count"] for p in mesh["primitives"])
        for mesh in tree.get("meshes", [])
    ]
    placed = sum(points[_natural(node["mesh"])] for node in nodes if "mesh" in node)
    if placed > _MAX_POINTS:
        raise InputError(f"{label}: places {placed} points by repeating its meshes; export it as one plain mesh")
