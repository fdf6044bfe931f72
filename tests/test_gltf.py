"""The GLB: metres, UVs with doubled seams, and morph targets by name."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from imhead.gltf import glb_bytes
from imhead.types import FloatArray, Mesh, MorphTargets, UvMap

# a square of two triangles; the UVs tear it along the diagonal
SQUARE = Mesh(
    np.array([[0, 0, 0], [100, 0, 0], [100, 100, 0], [0, 100, 0]], dtype=float), np.array([[0, 1, 2], [0, 2, 3]])
)
TORN = UvMap(np.array([[0, 0], [0.4, 0], [0.4, 0.4], [0.5, 0.5], [1, 1], [0.5, 1]]), np.array([[0, 1, 2], [3, 4, 5]]))
SHAPES = MorphTargets(("jawOpen", "tongueOut"), np.stack([np.eye(4, 3) * 10.0, np.zeros((4, 3))]), np.array([0.5, 0.0]))


def parsed(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def values(tree: dict[str, Any], binary: bytes, accessor: int) -> FloatArray:
    entry = tree["accessors"][accessor]
    view = tree["bufferViews"][entry["bufferView"]]
    kind = {5126: "<f4", 5125: "<u4"}[entry["componentType"]]
    flat = np.frombuffer(binary, kind, offset=view["byteOffset"], count=view["byteLength"] // 4)
    return flat.reshape(entry["count"], -1)


def test_morph_targets_are_named_and_in_metres() -> None:
    tree, binary = parsed(glb_bytes(SQUARE, 1e-3, {}, morphs=SHAPES))
    body = tree["meshes"][0]
    assert body["extras"]["targetNames"] == ["jawOpen", "tongueOut"]
    assert body["weights"] == [0.5, 0.0]
    first = values(tree, binary, body["primitives"][0]["targets"][0]["POSITION"])
    np.testing.assert_allclose(first, 1e-3 * SHAPES.offsets[0], rtol=1e-6)


def test_a_seam_doubles_vertices_and_their_shapes_but_keeps_one_normal() -> None:
    tree, binary = parsed(glb_bytes(SQUARE, 1e-3, {}, uv=TORN, morphs=SHAPES))
    primitive = tree["meshes"][0]["primitives"][0]
    places = values(tree, binary, primitive["attributes"]["POSITION"])
    assert len(places) == 6
    np.testing.assert_allclose(values(tree, binary, primitive["attributes"]["NORMAL"]), np.tile([0, 0, 1], (6, 1)))
    corners = values(tree, binary, primitive["indices"]).reshape(-1, 3)
    np.testing.assert_allclose(places[corners], 1e-3 * SQUARE.vertices[SQUARE.faces])
    moved = values(tree, binary, primitive["targets"][0]["POSITION"])
    np.testing.assert_allclose(moved[corners], 1e-3 * SHAPES.offsets[0][SQUARE.faces], rtol=1e-6)


def test_uvs_are_counted_downwards_as_gltf_has_it() -> None:
    tree, binary = parsed(glb_bytes(SQUARE, 1e-3, {}, uv=TORN))
    primitive = tree["meshes"][0]["primitives"][0]
    corners = values(tree, binary, primitive["indices"]).reshape(-1, 3)
    found = values(tree, binary, primitive["attributes"]["TEXCOORD_0"])[corners]
    np.testing.assert_allclose(found, TORN.uv[TORN.faces] * [1, -1] + [0, 1], atol=1e-6)


def test_every_position_says_its_bounds_and_notes_go_to_the_asset() -> None:
    tree, _ = parsed(glb_bytes(SQUARE, 1e-3, {"licence": "free"}, morphs=SHAPES))
    primitive = tree["meshes"][0]["primitives"][0]
    for accessor in (primitive["attributes"]["POSITION"], *[t["POSITION"] for t in primitive["targets"]]):
        assert {"min", "max"} <= set(tree["accessors"][accessor])
    assert tree["asset"]["extras"] == {"licence": "free"}


def test_the_wrong_number_of_weights_is_refused() -> None:
    with pytest.raises(ValueError, match=r"MorphTargets\.weights"):
        MorphTargets(("jawOpen",), np.zeros((1, 4, 3)), np.zeros(2))
