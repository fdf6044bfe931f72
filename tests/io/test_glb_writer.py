"""The GLB: metres, UVs with doubled seams, and morph targets by name."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from imhead.errors import InputError
from imhead.io.glb_writer import glb_bytes
from imhead.types import Animation, FloatArray, Mesh, MorphTargets, UvMap

# a square of two triangles; the UVs tear it along the diagonal
SQUARE = Mesh(
    np.array([[0, 0, 0], [100, 0, 0], [100, 100, 0], [0, 100, 0]], dtype=float), np.array([[0, 1, 2], [0, 2, 3]])
)
TORN = UvMap(np.array([[0, 0], [0.4, 0], [0.4, 0.4], [0.5, 0.5], [1, 1], [0.5, 1]]), np.array([[0, 1, 2], [3, 4, 5]]))
SHAPES = MorphTargets(("jawOpen", "tongueOut"), np.stack([np.eye(4, 3) * 10.0, np.zeros((4, 3))]), np.array([0.5, 0.0]))


def parsed(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def stored(tree: dict[str, Any], binary: bytes, view: int, component: int, count: int, width: int) -> FloatArray:
    entry = tree["bufferViews"][view]
    kind = {5126: "<f4", 5125: "<u4", 5123: "<u2", 5122: "<i2", 5120: "<i1"}[component]
    size = np.dtype(kind).itemsize
    row = entry.get("byteStride", width * size) // size
    flat = np.frombuffer(binary, kind, offset=entry["byteOffset"], count=entry["byteLength"] // size)
    return flat.reshape(count, row)[:, :width]


def values(tree: dict[str, Any], binary: bytes, accessor: int) -> FloatArray:
    """What a reader makes of an accessor: sparse rows put in, integers scaled to ±1."""
    entry = tree["accessors"][accessor]
    width, component = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[entry["type"]], entry["componentType"]
    found = np.zeros((entry["count"], width))
    if "bufferView" in entry:
        found[:] = stored(tree, binary, entry["bufferView"], component, entry["count"], width)
    if "sparse" in entry:
        sparse = entry["sparse"]
        place, row = sparse["indices"], sparse["values"]["bufferView"]
        index = stored(tree, binary, place["bufferView"], place["componentType"], sparse["count"], 1)[:, 0]
        found[index] = stored(tree, binary, row, component, sparse["count"], width)
    return found / {5122: 32767, 5120: 127, 5123: 65535}[component] if entry.get("normalized") else found


def test_morph_targets_are_named_and_in_metres() -> None:
    tree, binary = parsed(glb_bytes(SQUARE, 1e-3, {}, morphs=SHAPES))
    body = tree["meshes"][0]
    assert body["extras"]["targetNames"] == ["jawOpen", "tongueOut"]
    assert body["weights"] == [0.5, 0.0]
    first = values(tree, binary, body["primitives"][0]["targets"][0]["POSITION"])
    np.testing.assert_allclose(first, 1e-3 * SHAPES.offsets[0], rtol=1e-6)


def test_a_seam_duplicates_vertices_and_their_shapes_but_keeps_one_normal() -> None:
    tree, binary = parsed(glb_bytes(SQUARE, 1e-3, {}, uv=TORN, morphs=SHAPES))
    primitive = tree["meshes"][0]["primitives"][0]
    places = values(tree, binary, primitive["attributes"]["POSITION"])
    assert len(places) == 6
    np.testing.assert_allclose(values(tree, binary, primitive["attributes"]["NORMAL"]), np.tile([0, 0, 1], (6, 1)))
    corners = values(tree, binary, primitive["indices"]).astype(int).reshape(-1, 3)
    np.testing.assert_allclose(places[corners], 1e-3 * SQUARE.vertices[SQUARE.faces])
    moved = values(tree, binary, primitive["targets"][0]["POSITION"])
    np.testing.assert_allclose(moved[corners], 1e-3 * SHAPES.offsets[0][SQUARE.faces], rtol=1e-6)


def test_uvs_are_counted_downwards_as_gltf_has_it() -> None:
    tree, binary = parsed(glb_bytes(SQUARE, 1e-3, {}, uv=TORN))
    primitive = tree["meshes"][0]["primitives"][0]
    corners = values(tree, binary, primitive["indices"]).astype(int).reshape(-1, 3)
    found = values(tree, binary, primitive["attributes"]["TEXCOORD_0"])[corners]
    np.testing.assert_allclose(found, TORN.uv[TORN.faces] * [1, -1] + [0, 1], atol=1e-6)


def test_positions_have_bounds_and_notes_go_to_the_asset() -> None:
    tree, _ = parsed(glb_bytes(SQUARE, 1e-3, {"licence": "free"}, morphs=SHAPES))
    primitive = tree["meshes"][0]["primitives"][0]
    for accessor in (primitive["attributes"]["POSITION"], *[t["POSITION"] for t in primitive["targets"]]):
        assert {"min", "max"} <= set(tree["accessors"][accessor])
    assert tree["asset"]["extras"] == {"licence": "free"}


def test_a_morph_target_has_its_own_normals() -> None:
    # the far edge rises as far as it is away: the square stands at 45 degrees
    risen = np.zeros((1, 4, 3))
    risen[0, 2:, 2] = 100.0
    tree, binary = parsed(glb_bytes(SQUARE, 1.0, {}, morphs=MorphTargets(("jawOpen",), risen, np.zeros(1))))
    primitive = tree["meshes"][0]["primitives"][0]
    flat = values(tree, binary, primitive["attributes"]["NORMAL"])
    turned = flat + values(tree, binary, primitive["targets"][0]["NORMAL"])
    np.testing.assert_allclose(turned, np.tile([0.0, -np.sqrt(0.5), np.sqrt(0.5)], (4, 1)), atol=1e-6)


def test_a_shape_stores_only_the_vertices_that_it_moves() -> None:
    one = np.zeros((1, 4, 3))
    one[0, 2] = 1.0, 2.0, 3.0
    shapes = MorphTargets(("jawOpen", "tongueOut"), np.concatenate([one, 0.0 * one]), np.zeros(2))
    tree, binary = parsed(glb_bytes(SQUARE, 1.0, {}, morphs=shapes))
    moved, still = (t["POSITION"] for t in tree["meshes"][0]["primitives"][0]["targets"])
    assert tree["accessors"][moved]["sparse"]["count"] == 1
    np.testing.assert_array_equal(values(tree, binary, moved), one[0])
    # a glTF reader takes an accessor without data as zeros
    assert not {"sparse", "bufferView"} & set(tree["accessors"][still])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), size=st.floats(1e-3, 1e3))
def test_a_quantized_file_holds_the_same_mesh_within_its_steps(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    mesh = Mesh(size * rng.normal(size=(4, 3)), SQUARE.faces)
    shapes = MorphTargets(("jawOpen",), size * rng.normal(size=(1, 4, 3)), np.zeros(1))
    tree, binary = parsed(glb_bytes(mesh, 1.0, {}, uv=TORN, morphs=shapes, quantized=True))
    node, primitive = tree["nodes"][0], tree["meshes"][0]["primitives"][0]
    assert tree["extensionsRequired"] == ["KHR_mesh_quantization"]
    half = node["scale"][0]
    step = half / 32767
    corners = values(tree, binary, primitive["indices"]).astype(int).reshape(-1, 3)
    places = half * values(tree, binary, primitive["attributes"]["POSITION"]) + node["translation"]
    np.testing.assert_allclose(places[corners], mesh.vertices[mesh.faces], atol=0.51 * step)
    moved = half * values(tree, binary, primitive["targets"][0]["POSITION"])
    np.testing.assert_allclose(moved[corners], shapes.offsets[0][mesh.faces], atol=0.51 * step)
    uv = values(tree, binary, primitive["attributes"]["TEXCOORD_0"])[corners]
    np.testing.assert_allclose(uv, TORN.uv[TORN.faces] * [1, -1] + [0, 1], atol=1e-5)


def test_every_row_of_an_attribute_begins_at_a_multiple_of_four_bytes() -> None:
    tree, _ = parsed(glb_bytes(SQUARE, 1e-3, {}, uv=TORN, morphs=SHAPES, quantized=True))
    for view in tree["bufferViews"]:
        assert view["byteOffset"] % 4 == 0 and view.get("byteStride", 4) % 4 == 0


def test_the_wrong_number_of_weights_is_refused() -> None:
    with pytest.raises(ValueError, match=r"MorphTargets\.weights"):
        MorphTargets(("jawOpen",), np.zeros((1, 4, 3)), np.zeros(2))


def an_animation(count: int = 4) -> Animation:
    turns = Rotation.from_euler("y", np.linspace(0.0, 300.0, count)[:, None], degrees=True).as_matrix()
    weights = np.random.default_rng(0).random((count, 2))
    return Animation(np.arange(count) / 30.0, weights, turns, np.full((count, 3), 250.0))


@pytest.mark.parametrize("quantized", [False, True])
def test_an_animation_moves_the_shapes_and_a_node_above_the_mesh(quantized: bool) -> None:
    animation = an_animation()
    tree, binary = parsed(glb_bytes(SQUARE, 1e-3, {}, morphs=SHAPES, quantized=quantized, animation=animation))
    (top,) = tree["scenes"][0]["nodes"]
    (below,) = tree["nodes"][top]["children"]
    assert tree["nodes"][below]["mesh"] == 0
    (take,) = tree["animations"]
    found = {}
    for channel in take["channels"]:
        sampler = take["samplers"][channel["sampler"]]
        target = channel["target"]
        assert target["node"] == (below if target["path"] == "weights" else top)
        np.testing.assert_allclose(values(tree, binary, sampler["input"])[:, 0], animation.seconds, atol=1e-6)
        found[target["path"]] = values(tree, binary, sampler["output"])
        for accessor in (sampler["input"], sampler["output"]):
            assert "target" not in tree["bufferViews"][tree["accessors"][accessor]["bufferView"]]
    np.testing.assert_allclose(found["weights"].reshape(-1, 2), animation.weights, atol=1e-6)
    np.testing.assert_allclose(found["translation"], 1e-3 * animation.shifts, atol=1e-6)
    np.testing.assert_allclose(Rotation.from_quat(found["rotation"]).as_matrix(), animation.rotations, atol=1e-6)
    # a player that goes from one quaternion to the next never takes the long way round
    assert ((found["rotation"][1:] * found["rotation"][:-1]).sum(axis=1) >= 0.0).all()
    times = tree["accessors"][take["samplers"][0]["input"]]
    assert (times["min"], times["max"]) == ([0.0], [pytest.approx(0.1)])


def test_an_animation_of_other_shapes_is_refused() -> None:
    with pytest.raises(InputError, match="2 weights, the mesh 0"):
        glb_bytes(SQUARE, 1e-3, {}, animation=an_animation())
