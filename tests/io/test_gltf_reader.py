"""glTF as programs write it: skins, quantized and compressed data, padding, and scenes that repeat themselves."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

import DracoPy
import numpy as np
import pytest
import trimesh
from tests.io.files import Gltf, assert_is_ball, ball, refusal, saved

from imhead.io import draco
from imhead.io.mesh_file import write_mesh
from imhead.io.meshopt import decode_meshopt
from imhead.io.scan_file import read_scan
from imhead.types import Mesh, MorphTargets

# ---- nodes and skins -------------------------------------------------------------------------------------------


def skinned(
    nodes: list[dict], joints: list[int], weights: np.ndarray | None, inverse: np.ndarray | None = None
) -> Gltf:
    """The ball, bound to joints; node 0 is the root, node 1 holds the mesh."""
    model = Gltf().with_ball()
    model.tree |= {"nodes": nodes, "skins": [{"joints": joints}]}
    if weights is not None:
        which = np.zeros((642, 4), dtype="u1")
        which[:, : len(joints)] = np.arange(len(joints))
        model.primitive["attributes"] |= {
            "JOINTS_0": model.accessor(which),
            "WEIGHTS_0": model.accessor(weights.astype("<f4")),
        }
    if inverse is not None:
        columns = inverse.transpose(0, 2, 1).reshape(-1, 16).astype("<f4")
        model.tree["skins"][0]["inverseBindMatrices"] = model.accessor(columns)
    return model


def one_weight() -> np.ndarray:
    return np.tile([1.0, 0, 0, 0], (642, 1))


@pytest.mark.parametrize("scale", [0.01, 100.0, 1.0])
@pytest.mark.parametrize("bound", [False, True])
def test_the_node_of_a_skinned_mesh_does_not_move_it(tmp_path: Path, scale: float, bound: bool) -> None:
    nodes = [
        {"children": [1, 2], "scale": [scale] * 3, "translation": [9, 9, 9]},
        {"mesh": 0, "skin": 0, "translation": [5, 5, 5], "scale": [3, 3, 3]},
        {"scale": [1 / scale] * 3, "translation": [-9 / scale] * 3},
    ]
    model = skinned(nodes, [2], one_weight() if bound else None)
    assert_is_ball(read_scan(saved(tmp_path, "a.glb", model.glb())), atol=1e-3)


def test_joints_move_the_points_by_their_weights_from_where_they_were_bound(tmp_path: Path) -> None:
    nodes = [
        {"children": [1, 2, 3]},
        {"mesh": 0, "skin": 0},
        {"translation": [10, 0, 0]},
        {"translation": [0, 20, 0], "rotation": [0, 0, 0.7071068, 0.7071068]},
    ]
    inverse = np.tile(np.eye(4), (2, 1, 1))
    inverse[0, 0, 3] = -10.0
    share = np.zeros((642, 4))
    share[:, 0] = np.linspace(0.2, 0.8, 642)
    share[:, 1] = 1.0 - share[:, 0]
    scan = read_scan(saved(tmp_path, "a.glb", skinned(nodes, [2, 3], share, inverse).glb()))
    x, y, z = ball().vertices.T
    still, turned = ball().vertices, np.stack([-y, x + 20.0, z], axis=1)
    np.testing.assert_allclose(scan.points, share[:, :1] * still + share[:, 1:2] * turned, atol=1e-4)


def test_weights_that_do_not_add_up_and_points_without_any_are_put_right(tmp_path: Path) -> None:
    share = one_weight() * 0.3
    share[::7] = 0.0
    model = skinned([{"children": [1, 2]}, {"mesh": 0, "skin": 0}, {}], [2], share)
    assert_is_ball(read_scan(saved(tmp_path, "a.glb", model.glb())))


def test_joints_that_mirror_turn_the_faces_over(tmp_path: Path) -> None:
    model = skinned([{"children": [1, 2]}, {"mesh": 0, "skin": 0}, {"scale": [-1, 1, 1]}], [2], one_weight())
    assert_is_ball(read_scan(saved(tmp_path, "a.glb", model.glb())))


@pytest.mark.parametrize("which", [7, 255])
def test_a_point_bound_to_a_joint_that_is_not_there_is_refused(tmp_path: Path, which: int) -> None:
    model = skinned([{"children": [1, 2]}, {"mesh": 0, "skin": 0}, {}], [2], one_weight())
    joints = np.full((642, 4), which, dtype="u1")
    model.primitive["attributes"]["JOINTS_0"] = model.accessor(joints)
    assert "joint" in refusal(saved(tmp_path, "a.glb", model.glb()))


def test_a_morph_target_moves_the_points_as_far_as_its_weight_says(tmp_path: Path) -> None:
    mesh = Mesh(ball().vertices, ball().faces)
    offsets = np.zeros((2, 642, 3))
    offsets[0, 10, 1], offsets[1, 20, 2] = 30.0, 50.0
    shapes = MorphTargets(("jawOpen", "mouthClose"), offsets, np.array([0.5, 0.0]))
    write_mesh(mesh, tmp_path / "a.glb", morphs=shapes)
    scan = read_scan(tmp_path / "a.glb")
    np.testing.assert_allclose(1e3 * scan.points, mesh.vertices + 0.5 * offsets[0], atol=1e-3)


# ---- quantized and compressed ----------------------------------------------------------------------------------


def test_a_quantized_mesh_of_our_own_is_read_back(tmp_path: Path) -> None:
    write_mesh(Mesh(ball().vertices, ball().faces), tmp_path / "a.glb", quantized=True)
    scan = read_scan(tmp_path / "a.glb")
    np.testing.assert_allclose(1e3 * scan.points, ball().vertices, atol=220 / 65_000)
    assert scan.warnings == ()


@pytest.mark.parametrize(("kind", "full"), [("u1", 255), ("i1", 127), ("<u2", 65535), ("<i2", 32767)])
@pytest.mark.parametrize("normalized", [False, True])
def test_points_may_be_whole_numbers_of_any_size(tmp_path: Path, kind: str, full: int, normalized: bool) -> None:
    low, high = ball().vertices.min(0), ball().vertices.max(0)
    steps = np.round((ball().vertices - low) / (high - low).max() * full).astype(kind)
    size = (high - low).max() * (1.0 if normalized else 1.0 / full)
    model = Gltf().with_ball()
    model.tree["nodes"] = [{"mesh": 0, "scale": [size] * 3, "translation": low.tolist()}]
    model.primitive["attributes"]["POSITION"] = model.accessor(steps, normalized=normalized)
    model.tree["extensionsRequired"] = ["KHR_mesh_quantization"]
    scan = read_scan(saved(tmp_path, "a.glb", model.glb()))
    assert scan.points.min(0) == pytest.approx(low, abs=1e-3)
    assert scan.points.max(0) == pytest.approx(high, abs=0.6 * 220 / full)


# icosphere(1) in steps of 1/100 as <i2 in rows of 8 bytes, and its faces; packed by meshoptimizer 1.3.0
MESHOPT = {
    ("ATTRIBUTES", 42, 8, 0): (
        "oB0/wMzP1NPUaaqsqj18e3w9PXx7fD2iAD0APgA9APMzMABklj49PmMVJgAEhmGYAAAQAAAAHQz/wPysQNTT1GnIcCa7AKGhALsA"
        "oWTHJnwmxyZ8///wAD1kxyZ8JscmfD0VBCYAEIEgEhIEhIAAFQDM/8yqrEDU09RpZA8DzMxk1GOKY+Bk8zMwAKE9Y+BkoRUABCYA"
        "AQAAgBAgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAMv/VQAAAAAA"
    ),
    ("ATTRIBUTES", 42, 8, 1): (
        "oRGhAB7V1NPUaapTqj18/1V7fD09fHt8PaI9Pj2rAmRpPj0+YxEABAECAAEA9HFTQNTT1GnIjyat/0ShoUShZMcmfCbHJnz/Az1k"
        "xyZ8JscmfD0FBCABASEAAQEAUF+qU0DU09RpZIxVZCtjimPgZKsCoT1j4GShBUAAAQgAAQAAAAAAAAAAAAAAAAAAy/9VAAAAAAAB"
        "AQ=="
    ),
    ("TRIANGLES", 240, 4, 0): (
        "4f7//ySPT/4Uf27/Jn9P/yV/T/8l////JP///yP///4T////JP///yT+//4Tj27/KH9N/yV/Tv8lf0//Jf///hL///8j/v//I///"
        "/hL//v8l/0op/yozOh8vFQ4KIQgfARs0Bh8FLTYIHwcz7xM2/xUXNB8FJf8HRiu/LAEfKRv/DjwF/wY9MEH/LzQB/wI5IB8YOf8C"
        "Hgr/CSkuHwYl/yob/xwnKkEhHwEVJB8CGyYfASEqBh8FJ/8JNBdPGAIx/zkYMJ8vMh8BNf8QIK8fHh8CMf8DJAKvAQUx/xsuB/IH"
        "Hwg1AHaHVmd4qYZliWiYAWkAAA=="
    ),
    ("INDICES", 240, 2, 0): (
        "0QCVAVNVZ3VfYRQLDV8/QQ8RKzETFT89BRMvMSUjK1UDBTsVKQNTVTEvN3ULDWctPQsSAREPW6QBDhAFWSEPngFALCouaAoMViA4"
        "CloNV1lzcVNVAgUDUxuUAQoMA2ERD5oBHRsRb2kDBXNBMS9DiAEyMG48FBJSXAwKPjgIDF5oNjhOVDo8ZmQEOi4wBggqKAIELjQC"
        "AiYoHBoqRAQCMhwYBEJEFBI2UAIERjAYAlZYEA5CYAoMWkAcCmJoLjBSWDI0ZmQEMj4wYF4mhQEDBW8NZQMINEA+Qg8FA18lPQVr"
        "SQUDT0URDz9NCxFHXQ8RX0ERD1t4HhAAAAAA"
    ),
}


def plain_icosphere() -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.icosphere(subdivisions=1)
    rows = np.zeros((42, 4), dtype="<i2")
    rows[:, :3] = np.round(mesh.vertices * 100)
    return rows, mesh.faces


def same_triangles(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether triangles are equal in order and winding, whichever corner comes first."""
    turns = [(one == np.roll(other, k, axis=1)).all(axis=1) for k in range(3)]
    return bool(np.any(turns, axis=0).all())


@pytest.mark.parametrize(("mode", "count", "size", "version"), MESHOPT)
def test_streams_of_the_original_encoder_are_unpacked_to_the_bit(
    mode: str, count: int, size: int, version: int
) -> None:
    stream = base64.b64decode(MESHOPT[mode, count, size, version])
    plain = decode_meshopt(memoryview(stream), count, size, mode, "NONE")
    rows, faces = plain_icosphere()
    if mode == "ATTRIBUTES":
        assert plain == rows.tobytes()
    else:
        assert same_triangles(np.frombuffer(plain, f"<u{size}").reshape(-1, 3), faces)


@pytest.mark.parametrize(("mode", "count", "size", "version"), MESHOPT)
def test_a_damaged_stream_is_a_value_error_or_other_numbers_but_never_worse(
    mode: str, count: int, size: int, version: int
) -> None:
    stream = base64.b64decode(MESHOPT[mode, count, size, version])
    rng = np.random.default_rng(0)
    for trial in range(300):
        data = bytearray(stream[: rng.integers(0, len(stream))] if trial % 3 == 0 else stream)
        for _ in range(trial % 3):
            data[rng.integers(len(data))] = rng.integers(256)
        try:
            plain = decode_meshopt(memoryview(bytes(data)), count, size, mode, "NONE")
        except ValueError:
            continue
        assert len(plain) == count * size


def meshopt_ball(subdivided: bool = False) -> Gltf:
    """A mesh whose views are packed, with an empty buffer to fall back on."""
    rows, faces = plain_icosphere()
    model = Gltf()
    model.primitive["attributes"]["POSITION"] = model.accessor(rows[:, :3])
    model.primitive["indices"] = model.accessor(faces.reshape(-1).astype("<u4"))
    model.blob, model.tree["buffers"] = b"", [{"byteLength": 0}, {"byteLength": 2000}]
    for k, (mode, count, size) in enumerate([("ATTRIBUTES", 42, 8), ("TRIANGLES", 240, 4)]):
        stream = base64.b64decode(MESHOPT[mode, count, size, 0])
        packed = {"buffer": 0, "byteOffset": len(model.blob), "byteLength": len(stream), "byteStride": size}
        model.tree["bufferViews"][k] |= {
            "buffer": 1,
            "extensions": {"EXT_meshopt_compression": packed | {"mode": mode, "count": count}},
        }
        model.blob += stream + bytes(-len(stream) % 4)
    model.tree["buffers"][0]["byteLength"] = len(model.blob)
    model.tree["extensionsRequired"] = ["EXT_meshopt_compression", "KHR_mesh_quantization"]
    return model


def test_a_mesh_packed_by_meshopt_is_read(tmp_path: Path) -> None:
    model = meshopt_ball()
    # five copies, so that there are points enough for a scan
    model.tree["nodes"] = [{"mesh": 0, "translation": [0, 0, 300 * k]} for k in range(5)]
    model.tree["scenes"] = [{"nodes": list(range(5))}]
    scan = read_scan(saved(tmp_path, "a.glb", model.glb()))
    rows, faces = plain_icosphere()
    assert scan.faces is not None and same_triangles(scan.faces[:80], faces)
    np.testing.assert_array_equal(scan.points[:42], rows[:, :3])


@pytest.mark.parametrize("change", [{"count": 10**9}, {"byteLength": 20}, {"mode": "NEW"}, {"filter": "OCTAHEDRAL"}])
def test_a_packed_view_that_lies_is_refused(tmp_path: Path, change: dict) -> None:
    model = meshopt_ball()
    model.tree["bufferViews"][0]["extensions"]["EXT_meshopt_compression"] |= change
    refusal(saved(tmp_path, "a.glb", model.glb()))


def draco_ball(**changes: object) -> Gltf:
    mesh = ball()
    model = Gltf()
    stream = DracoPy.encode(mesh.vertices, mesh.faces, quantization_bits=16)
    points = {"componentType": 5126, "count": 642, "type": "VEC3"}
    corners = {"componentType": 5123, "count": mesh.faces.size, "type": "SCALAR"}
    model.tree["accessors"] = [points | changes, corners]
    packed = {"bufferView": model.view(stream), "attributes": {"POSITION": 0}}
    model.primitive["attributes"]["POSITION"], model.primitive["indices"] = 0, 1
    model.primitive["extensions"] = {"KHR_draco_mesh_compression": packed}
    model.tree["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    return model


def test_a_mesh_packed_by_draco_is_read(tmp_path: Path) -> None:
    assert_is_ball(read_scan(saved(tmp_path, "a.glb", draco_ball().glb())), atol=220 / 60_000)


def test_the_colours_of_a_mesh_packed_by_draco_are_those_of_its_points(tmp_path: Path) -> None:
    mesh, model = ball(), draco_ball()
    colors = np.random.default_rng(0).integers(0, 256, (len(mesh.vertices), 3)).astype(np.uint8)
    stream = DracoPy.encode(mesh.vertices, mesh.faces, quantization_bits=16, colors=colors)
    packed = {"bufferView": model.view(stream), "attributes": {"POSITION": 1, "COLOR_0": 0}}
    model.primitive["extensions"] = {"KHR_draco_mesh_compression": packed}
    model.tree["accessors"].append({"componentType": 5121, "count": 642, "type": "VEC3", "normalized": True})
    model.primitive["attributes"]["COLOR_0"] = 2
    scan = read_scan(saved(tmp_path, "a.glb", model.glb()))
    assert scan.colors is not None and scan.colors.std() > 30 and len(np.unique(scan.colors)) > 100


def test_without_the_package_for_draco_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "DracoPy", None)
    assert "pip install 'imhead[draco]'" in refusal(saved(tmp_path, "a.glb", draco_ball().glb()))


def test_damaged_draco_data_is_refused_in_one_line_before_memory_is_taken(tmp_path: Path) -> None:
    assert "more points than announced" in refusal(saved(tmp_path, "a.glb", draco_ball(count=600).glb()))
    model = draco_ball()
    model.blob = model.blob[: len(model.blob) // 2] + bytes(len(model.blob) // 2)
    assert "Draco" in refusal(saved(tmp_path, "b.glb", model.glb()))
    model = draco_ball()
    huge = bytearray(model.blob)
    huge[12:17] = b"\xff\xff\xff\xff\x0f"
    model.blob = bytes(huge)
    assert draco._MAGIC in model.blob
    assert "more than" in refusal(saved(tmp_path, "c.glb", model.glb()))


# ---- the container ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pad", [b" ", b"\0", b"\n"])
@pytest.mark.parametrize("count_padding", [True, False])
@pytest.mark.parametrize("name", ["head", "head_", "head__", "head___"])
def test_chunks_may_be_padded_in_any_way(tmp_path: Path, pad: bytes, count_padding: bool, name: str) -> None:
    model = Gltf().with_ball()
    model.tree["asset"]["generator"] = name
    assert_is_ball(read_scan(saved(tmp_path, "a.glb", model.glb(pad=pad, count_padding=count_padding))))


def test_unknown_chunks_bytes_at_the_end_and_a_false_length_are_no_reason_to_refuse(tmp_path: Path) -> None:
    model = Gltf().with_ball()
    assert_is_ball(read_scan(saved(tmp_path, "a.glb", model.glb(extra=model.chunk(b"NOTE", b"12345", b"\0")))))
    assert_is_ball(read_scan(saved(tmp_path, "b.glb", model.glb(tail=b"\r\n appended"))))
    data = model.glb()
    for total in (0, len(data) - 3, len(data) + 40):
        assert_is_ball(read_scan(saved(tmp_path, "c.glb", data[:8] + struct.pack("<I", total) + data[12:])))


def test_a_name_in_another_encoding_is_no_reason_to_refuse(tmp_path: Path) -> None:
    model = Gltf().with_ball()
    model.tree["asset"]["generator"] = "Koepf"
    assert_is_ball(read_scan(saved(tmp_path, "a.glb", model.glb().replace(b"Koepf", b"K\xf6pfe"))))


@pytest.mark.parametrize("value", [None, 7, "x", {}, 2**64, ["VENDOR_fur"]])
def test_extensions_that_are_no_list_are_ignored_and_unknown_ones_are_named(tmp_path: Path, value: object) -> None:
    model = Gltf().with_ball()
    model.tree["extensionsRequired"] = value
    warnings = []
    if isinstance(value, list):
        warnings = ["The file needs 1 glTF extensions that were not applied: VENDOR_fur."]
    assert_is_ball(read_scan(saved(tmp_path, "a.glb", model.glb())), warnings=warnings)


def test_strips_fans_and_triangles_without_indices_are_read(tmp_path: Path) -> None:
    mesh = ball()
    model = Gltf()
    model.primitive["attributes"]["POSITION"] = model.accessor(mesh.vertices[mesh.faces.reshape(-1)].astype("<f4"))
    assert_is_ball(read_scan(saved(tmp_path, "a.glb", model.glb())))
    model = Gltf().with_ball()
    points = model.primitive["attributes"]["POSITION"]
    kinds = [(mesh.faces[0], 5), (mesh.faces[1], 6), (mesh.faces[2:].reshape(-1), 4)]
    model.tree["meshes"][0]["primitives"] = [
        {"attributes": {"POSITION": points}, "indices": model.accessor(corners.astype("<u2")), "mode": mode}
        for corners, mode in kinds
    ]
    assert_is_ball(read_scan(saved(tmp_path, "b.glb", model.glb())))


def test_meshes_that_no_node_places_are_read_as_they_are(tmp_path: Path) -> None:
    model = Gltf().with_ball()
    del model.tree["nodes"], model.tree["scenes"], model.tree["scene"]
    said = "No node of the file places a mesh, so every mesh was read as it is."
    assert_is_ball(read_scan(saved(tmp_path, "a.glb", model.glb())), warnings=[said])


def test_nodes_in_a_ring_and_scenes_of_nodes_that_are_not_there_are_refused(tmp_path: Path) -> None:
    model = Gltf().with_ball()
    model.tree["nodes"] = [{"mesh": 0, "children": [1]}, {"children": [0]}]
    assert "ancestor" in refusal(saved(tmp_path, "a.glb", model.glb()))
    model.tree["nodes"] = [{"mesh": 0, "children": [5]}]
    assert "not there" in refusal(saved(tmp_path, "b.glb", model.glb()))
    model.tree |= {"nodes": [{"mesh": 0}], "scenes": [{"nodes": [3]}]}
    assert "not there" in refusal(saved(tmp_path, "c.glb", model.glb()))
