"""Writing meshes: what was written is read back, whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from imhead.conventions import ASSUMED_SCALE
from imhead.errors import InputError
from imhead.io.mesh_file import MESH_EXTENSIONS, head_notes, read_mesh, write_mesh
from imhead.types import Head, Mesh

BALL = trimesh.creation.icosphere(subdivisions=3, radius=1.0)
HEAD = Mesh(np.asarray(BALL.vertices) * [75.0, 110.0, 95.0], BALL.faces)
COLORS = np.random.default_rng(0).integers(0, 256, size=(len(HEAD.vertices), 3)).astype(np.uint8)


def glb_tree(path: Path) -> dict[str, dict[str, object]]:
    data = path.read_bytes()
    tree: dict[str, dict[str, object]] = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    return tree


@pytest.mark.parametrize("extension", ["ply", "obj", "PLY"])
def test_a_mesh_written_is_the_mesh_read_back_vertex_for_vertex(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"head.{extension}"
    write_mesh(HEAD, path)
    again = read_mesh(path)
    np.testing.assert_allclose(again.vertices, HEAD.vertices, atol=1e-5)
    np.testing.assert_array_equal(again.faces, HEAD.faces)


def test_an_stl_holds_the_same_surface(tmp_path: Path) -> None:
    path = tmp_path / "head.stl"
    write_mesh(HEAD, path, metadata={"long": "x" * 500})
    again = read_mesh(path)
    np.testing.assert_allclose(again.vertices[again.faces], HEAD.vertices[HEAD.faces], atol=1e-5)


def test_a_unit_without_a_name_is_told_by_its_length(tmp_path: Path) -> None:
    for name in ("head.ply", "head.glb"):
        write_mesh(Mesh(HEAD.vertices / 28.9, HEAD.faces), tmp_path / name, unit=28.9)
    assert b"unit: unknown unit, 28.9 mm each" in (tmp_path / "head.ply").read_bytes()[:300]
    in_metres = np.ptp(read_mesh(tmp_path / "head.glb").vertices, axis=0)
    np.testing.assert_allclose(in_metres, np.ptp(HEAD.vertices, axis=0) / 1000.0, rtol=1e-5)


@pytest.mark.parametrize("extension", [".ply", ".obj", ".stl"])
def test_the_mesh_of_a_head_of_assumed_scale_says_so_in_full(tmp_path: Path, extension: str) -> None:
    codes = Head("default", "0" * 16, np.zeros(4), np.zeros(4), np.zeros((39, 4)), ("x" * 300,), scale_assumed=True)
    path = tmp_path / f"head{extension}"
    write_mesh(HEAD, path, metadata=head_notes(codes))
    assert f"scale: {ASSUMED_SCALE}".encode() in path.read_bytes()[:300]
    assert "scale" not in head_notes(replace(codes, scale_assumed=False))


@pytest.mark.parametrize("unit", ["mm", "cm", "m"])
def test_a_glb_is_in_metres_whatever_the_unit_of_the_mesh(tmp_path: Path, unit: str) -> None:
    path = tmp_path / "head.glb"
    per_mm = {"mm": 1.0, "cm": 0.1, "m": 0.001}[unit]
    write_mesh(Mesh(HEAD.vertices * per_mm, HEAD.faces), path, unit=unit)
    again = read_mesh(path)
    np.testing.assert_allclose(again.vertices, HEAD.vertices / 1000.0, atol=1e-7)
    np.testing.assert_array_equal(again.faces, HEAD.faces)


@pytest.mark.parametrize("extension", ["ply", "obj", "stl"])
def test_other_formats_keep_the_numbers_of_the_mesh_and_note_its_unit(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"head.{extension}"
    write_mesh(Mesh(HEAD.vertices / 10.0, HEAD.faces), path, unit="cm")
    assert np.abs(read_mesh(path).vertices).max() == pytest.approx(11.0, rel=1e-5)
    assert b"unit: cm" in path.read_bytes()[:300]


@pytest.mark.parametrize("extension", ["ply", "obj", "stl", "glb"])
def test_another_reader_finds_the_same_closed_surface(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"head.{extension}"
    write_mesh(HEAD, path, metadata={"made by": "a test"})
    other = trimesh.load_mesh(path)
    factor = 1e-9 if extension == "glb" else 1.0
    assert other.is_watertight
    assert other.volume == pytest.approx(factor * trimesh.Trimesh(HEAD.vertices, HEAD.faces).volume, rel=1e-5)


def test_a_glb_carries_unit_normals_aligned_blocks_bounds_and_metadata(tmp_path: Path) -> None:
    path = tmp_path / "head.glb"
    write_mesh(HEAD, path, colors=COLORS, metadata={"model": "default", "note": "two\nlines äß"})
    tree = glb_tree(path)
    assert path.stat().st_size == int.from_bytes(path.read_bytes()[8:12], "little")
    assert tree["asset"]["extras"] == {"model": "default", "note": "two lines äß", "unit": "m"}
    views, accessors = tree["bufferViews"], tree["accessors"]
    assert all(view["byteOffset"] % 4 == 0 and view["byteLength"] % 4 == 0 for view in views)  # type: ignore[index]
    np.testing.assert_allclose(accessors[1]["max"], [0.075, 0.110, 0.095], atol=1e-6)  # type: ignore[index]
    data = path.read_bytes()
    start = len(data) - int(tree["buffers"][0]["byteLength"])  # type: ignore[index]
    view = views[2]  # type: ignore[index]
    normals = np.frombuffer(data, "<f4", len(HEAD.vertices) * 3, start + view["byteOffset"]).reshape(-1, 3)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-6)
    assert (np.einsum("ij,ij->i", normals, HEAD.vertices) > 0).all()


def test_a_vertex_without_faces_still_gets_a_normal_of_length_one(tmp_path: Path) -> None:
    loose = Mesh(np.vstack([HEAD.vertices, [[0.0, 0.0, 0.0]]]), np.vstack([HEAD.faces, [[0, 0, 1]]]))
    path = tmp_path / "head.glb"
    write_mesh(loose, path)
    (shape,) = trimesh.load_scene(path, process=False).geometry.values()
    normals = shape.vertex_normals
    assert len(normals) == len(loose.vertices)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-6)


def test_colours_arrive_as_they_were_in_a_ply_and_as_linear_light_in_a_glb(tmp_path: Path) -> None:
    write_mesh(HEAD, tmp_path / "a.ply", colors=COLORS)
    seen = trimesh.load_mesh(tmp_path / "a.ply", process=False).visual.vertex_colors
    np.testing.assert_array_equal(seen[:, :3], COLORS)
    write_mesh(HEAD, tmp_path / "a.obj", colors=COLORS)
    seen = trimesh.load_mesh(tmp_path / "a.obj", process=False).visual.vertex_colors
    np.testing.assert_allclose(seen[:, :3].astype(int), COLORS.astype(int), atol=1)
    grey = np.full_like(COLORS, 188)
    write_mesh(HEAD, tmp_path / "a.glb", colors=grey)
    data = (tmp_path / "a.glb").read_bytes()
    # sRGB 188 is half of the light
    assert np.frombuffer(data[-8:], "<u2")[:3] / 65535 == pytest.approx([0.5] * 3, abs=0.005)


def test_a_mesh_far_from_the_origin_keeps_its_shape_in_a_ply_and_an_obj(tmp_path: Path) -> None:
    far = Mesh(HEAD.vertices + [5e6, 0.0, 0.0], HEAD.faces)
    for name in ("a.ply", "a.obj"):
        write_mesh(far, tmp_path / name)
        np.testing.assert_allclose(read_mesh(tmp_path / name).vertices, far.vertices, atol=1e-6)


def test_an_unknown_extension_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    for name in ("head.fbx", "head", "head.gltf"):
        with pytest.raises(InputError) as caught:
            write_mesh(HEAD, tmp_path / name)
        message = str(caught.value)
        assert "\n" not in message and all(known in message for known in (".ply", ".obj", ".stl", ".glb"))
    assert list(tmp_path.iterdir()) == []


def test_wrong_colours_a_wrong_unit_and_a_mesh_without_faces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="uint8"):
        write_mesh(HEAD, tmp_path / "a.ply", colors=COLORS[:-1])
    with pytest.raises(InputError, match="uint8"):
        write_mesh(HEAD, tmp_path / "a.ply", colors=COLORS.astype(np.float64))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="STL cannot hold colours"):
        write_mesh(HEAD, tmp_path / "a.stl", colors=COLORS)
    with pytest.raises(InputError, match="unit 'inch'"):
        write_mesh(HEAD, tmp_path / "a.ply", unit="inch")
    with pytest.raises(InputError, match="no faces"):
        write_mesh(Mesh(HEAD.vertices, np.zeros((0, 3), dtype=np.int64)), tmp_path / "a.ply")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written") as caught:
        write_mesh(HEAD, tmp_path / "file" / "a.ply")
    assert "\n" not in str(caught.value)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "head.ply"
    path.write_bytes(b"the old file")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write_mesh(HEAD, path)
    assert path.read_bytes() == b"the old file" and [p.name for p in tmp_path.iterdir()] == ["head.ply"]


def test_a_file_with_points_only_is_not_a_mesh(tmp_path: Path) -> None:
    path = tmp_path / "cloud.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    with pytest.raises(InputError, match="no faces"):
        read_mesh(path)


def test_ply_obj_stl_and_glb_are_the_formats_that_can_be_written() -> None:
    assert MESH_EXTENSIONS == (".ply", ".obj", ".stl", ".glb")
