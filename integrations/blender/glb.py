# SPDX-License-Identifier: GPL-3.0-or-later
"""What an avatar's GLB says of its shapes: places of vertices and joints, in Blender's axes.

Shape legend: V vertices of a mesh in the file, K shapes.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

_MOST_VALUES = 1 << 25  # of an accessor: a fine avatar has 14 000 vertices
_TYPES = {5121: "<u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass(frozen=True, eq=False)
class Shapes:
    """One mesh."""

    rest: np.ndarray
    """(V, 3) metres."""
    moves: dict[str, np.ndarray]
    """Name of a shape → (V, 3)."""


def read_avatar(data: bytes) -> tuple[dict[str, Shapes], dict[str, np.ndarray]]:
    """Meshes by name, and the places (3,) of joints by name.

    Raises:
        ValueError: not a GLB of an avatar.
    """
    try:
        tree, body = _chunks(data)
        meshes = {mesh["name"]: _shapes(tree, body, mesh) for mesh in tree["meshes"]}
        return meshes, _joints(tree)
    except (KeyError, IndexError, TypeError, struct.error) as error:
        raise ValueError(f"the file is no avatar of imhead ({error})") from None


def _chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    if data[:4] != b"glTF":
        raise ValueError("the file is no GLB; make it with imhead avatar")
    length, kind = struct.unpack_from("<I4s", data, 12)
    if kind != b"JSON":
        raise ValueError("the file is no GLB; make it with imhead avatar")
    return json.loads(data[20 : 20 + length]), data[20 + length + 8 :]


def _shapes(tree: dict[str, Any], body: bytes, mesh: dict[str, Any]) -> Shapes:
    (primitive,) = mesh["primitives"]
    rest = turned(_accessor(tree, body, primitive["attributes"]["POSITION"]))
    names = mesh.get("extras", {}).get("targetNames", [])
    targets = primitive.get("targets", [])
    return Shapes(rest, {n: turned(_accessor(tree, body, t["POSITION"])) for n, t in zip(names, targets)})


def _accessor(tree: dict[str, Any], body: bytes, row: int) -> np.ndarray:
    accessor = tree["accessors"][row]
    count, width = accessor["count"], _WIDTHS[accessor["type"]]
    if not 0 <= count * width <= _MOST_VALUES:
        raise ValueError("the file is not imhead's own; make it with imhead avatar")
    values = np.zeros(count * width, dtype="<f4")
    if "bufferView" in accessor:
        values = _view(tree, body, accessor, accessor["componentType"], count * width).astype("<f4")
    values = values.reshape(count, width)
    if "sparse" in accessor:
        sparse = accessor["sparse"]
        rows = _view(tree, body, sparse["indices"], sparse["indices"]["componentType"], sparse["count"])
        changed = _view(tree, body, sparse["values"], accessor["componentType"], sparse["count"] * width)
        values = values.copy()
        values[rows] = changed.reshape(-1, width)
    return values


def _view(tree: dict[str, Any], body: bytes, place: dict[str, Any], kind: int, count: int) -> np.ndarray:
    view = tree["bufferViews"][place["bufferView"]]
    if "byteStride" in view:
        raise ValueError("the file is not imhead's own; make it with imhead avatar")
    return np.frombuffer(body, _TYPES[kind], count, view.get("byteOffset", 0) + place.get("byteOffset", 0))


def _joints(tree: dict[str, Any]) -> dict[str, np.ndarray]:
    nodes = tree["nodes"]
    parent = {child: row for row, node in enumerate(nodes) for child in node.get("children", ())}
    found = {}
    for row in tree["skins"][0]["joints"]:
        place, at = np.zeros(3), row
        for _ in nodes:  # a file whose nodes hang on themselves has no end
            place = place + nodes[at].get("translation", (0.0, 0.0, 0.0))
            if at not in parent:
                break
            at = parent[at]
        found[nodes[row]["name"]] = turned(place[None])[0]
    return found


def turned(points: np.ndarray) -> np.ndarray:
    """Points (N, 3) from glTF's axes, y up, to Blender's, z up."""
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)
