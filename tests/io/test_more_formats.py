"""Formats of viewers, printers, scanners and robots: each gives the mesh it was written from, or a refusal."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.io.files import Gltf, assert_is_ball, ball, ball_ply, refusal, saved, text_rows
from tests.io.writers import (
    dae,
    file_3mf,
    model_3mf,
    pcd,
    points_text,
    vtk_ascii,
    vtk_binary,
    vtk_five,
    vtk_grid,
    vtp,
    wrl,
    zipped,
)

from imhead.errors import InputError
from imhead.io.scan_file import SCAN_EXTENSIONS, read_scan

MESHES: dict[str, tuple[str, Callable[[], bytes], float]] = {
    "3mf": ("a.3mf", file_3mf, 0.0),
    "vtk as text": ("a.vtk", vtk_ascii, 0.0),
    "vtk in binary": ("a.vtk", vtk_binary, 0.0),
    "vtk of version 5": ("a.vtk", vtk_five, 0.0),
    "vtp as text": ("a.vtp", lambda: vtp("ascii"), 0.0),
    "vtp as text, with blank arrays of strips": ("a.vtp", lambda: vtp("ascii", blank=True), 0.0),
    "vtp in base64": ("a.vtp", lambda: vtp("binary"), 0.0),
    "vtp compressed": ("a.vtp", lambda: vtp("zlib"), 0.0),
    "vtp appended": ("a.vtp", lambda: vtp("raw"), 0.0),
    "vtp appended and compressed": ("a.vtp", lambda: vtp("rawzlib"), 0.0),
    "vrml 1": ("a.wrl", lambda: wrl(1), 0.0),
    "vrml 2, moved": ("a.wrl", lambda: wrl(2), 500.0),
    "collada, turned to and fro and moved": ("a.dae", dae, 500.0),
    "collada of polygons without a scene": ("a.dae", lambda: dae("polylist", scene=False), 0.0),
    "zip of a ply": (
        "a.zip",
        lambda: zipped({"scan/head.PLY": ball_ply(), "__MACOSX/._x.ply": b"", "a.txt": b""}),
        0.0,
    ),
}


@pytest.mark.parametrize("kind", MESHES)
def test_a_mesh_of_every_format_is_the_mesh_it_was_written_from(tmp_path: Path, kind: str) -> None:
    name, data, center = MESHES[kind]
    assert_is_ball(read_scan(saved(tmp_path, name, data())), center=center)


@pytest.mark.parametrize("kind", MESHES)
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.97])
def test_a_cut_file_of_every_format_is_refused_in_one_line(tmp_path: Path, kind: str, kept: float) -> None:
    name, data, _ = MESHES[kind]
    whole = data()
    if name == "a.vtk" and kept > 0.9:
        kept = 0.6  # what stands at its end is no part of the surface
    refusal(saved(tmp_path, name, whole[: int(kept * len(whole))]))


@pytest.mark.parametrize("extension", sorted({name.rpartition(".")[2] for name, _, _ in MESHES.values()} | {"gltf"}))
def test_a_letter_under_the_name_of_a_format_is_refused(tmp_path: Path, extension: str) -> None:
    assert f".{extension}" in SCAN_EXTENSIONS
    refusal(saved(tmp_path, f"a.{extension}", b"Dear colleague,\nplease find the scan attached.\n" * 20))


def test_cells_of_a_grid_that_are_no_polygons_are_left_out_and_counted(tmp_path: Path) -> None:
    scan = read_scan(saved(tmp_path, "a.vtk", vtk_grid()))
    assert_is_ball(scan, warnings=["2 cells that are no polygons were left out."])


# ---- 3MF -----------------------------------------------------------------------------------------------------------


def test_the_build_of_a_3mf_places_its_objects_through_components(tmp_path: Path) -> None:
    moved = '<component objectid="1" transform="1 0 0 0 1 0 0 0 1 200 0 0"/>'
    parts = {"before": f'<object id="2"><components>{moved}</components></object>'}
    build = '<item objectid="2" transform="1 0 0 0 1 0 0 0 1 300 0 0"/>'
    assert_is_ball(read_scan(saved(tmp_path, "a.3mf", file_3mf(build=build, **parts))), center=500.0)


def test_a_3mf_may_keep_its_meshes_in_other_parts(tmp_path: Path) -> None:
    outer = model_3mf(mesh='<components><component p:path="/3D/Objects/a.model" objectid="1"/></components>')
    data = zipped({"3D/3dmodel.model": outer, "3D/Objects/a.model": model_3mf(build="")})
    assert_is_ball(read_scan(saved(tmp_path, "a.3mf", data)))


def test_a_3mf_that_places_itself_or_what_is_not_there_is_refused(tmp_path: Path) -> None:
    own = '<object id="2"><components><component objectid="2"/></components></object>'
    assert "not in it" in refusal(saved(tmp_path, "a.3mf", file_3mf(before=own, build='<item objectid="2"/>')))
    assert "not in it" in refusal(saved(tmp_path, "b.3mf", file_3mf(build='<item objectid="7"/>')))
    assert "again and again" in refusal(saved(tmp_path, "c.3mf", file_3mf(build='<item objectid="1"/>' * 5000)))


# ---- clouds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.xyz", points_text()),
        ("a.xyz", points_text("\t", "\t255\t200\t180")),
        ("a.xyz", points_text(",", first="x,y,z\n")),
        ("a.xyz", points_text("; ", first="// a scan\n#\n")),
        ("a.xyz", points_text(first="X Y Z\n").replace(b"\n", b"\r\n")),
        ("a.pts", points_text(first="642\n", columns=" -1202 80 81 82")),
        ("a.pts", points_text()),
        ("a.asc", points_text(" ", " 0.5")),
    ],
)
def test_points_as_text_are_read_however_their_columns_stand_apart(tmp_path: Path, name: str, data: bytes) -> None:
    scan = read_scan(saved(tmp_path, name, data))
    np.testing.assert_allclose(scan.points, ball().vertices + 0.125)
    assert scan.faces is None and scan.normals is None and scan.warnings == ()


def test_three_more_columns_of_length_one_are_normals(tmp_path: Path) -> None:
    mesh = ball()
    data = text_rows(np.hstack([mesh.vertices, mesh.vertex_normals])).encode()
    scan = read_scan(saved(tmp_path, "a.xyz", data))
    assert scan.normals is not None
    np.testing.assert_allclose(scan.normals, mesh.vertex_normals, atol=1e-9)


def test_a_cloud_as_text_that_cannot_be_right_is_refused_with_its_cause(tmp_path: Path) -> None:
    assert "decimal comma" in refusal(saved(tmp_path, "a.xyz", points_text(comma=True)))
    assert "decimal comma" in refusal(saved(tmp_path, "b.xyz", points_text("; ", comma=True)))
    assert "promises 900" in refusal(saved(tmp_path, "c.pts", points_text(first="900\n")))
    landmarks = b"version: 1\nn_points: 68\n{\n" + b"10.0 20.0\n" * 68 + b"}\n"
    assert "landmarks" in refusal(saved(tmp_path, "d.pts", landmarks))
    assert "line 300" in refusal(saved(tmp_path, "e.xyz", b"1 2 3\n" * 299 + b"1 2 three\n" + b"1 2 3\n" * 9))


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
def test_a_pcd_is_read_without_its_pixels_that_saw_nothing(tmp_path: Path, encoding: str) -> None:
    data = pcd(encoding)
    scan = read_scan(saved(tmp_path, "a.pcd", data))
    np.testing.assert_allclose(scan.points, ball().vertices)
    assert scan.warnings == ("358 of 1000 points have no finite coordinates and were left out.",)
    refusal(saved(tmp_path, "b.pcd", data[: len(data) // 2]))


def test_a_pcd_that_promises_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    for claim in (b"999999999999", b"-1"):
        refusal(saved(tmp_path, "a.pcd", pcd("binary").replace(b"POINTS 1000", b"POINTS " + claim)))
    bomb = pcd("binary_compressed").partition(b"compressed\n")[0].replace(b"1000", b"99999999") + b"compressed\n"
    body = struct.pack("<II", 1000, 2**32 - 1) + b"\0\0" + b"\xe0\xff\0" * 333
    assert "far more" in refusal(saved(tmp_path, "b.pcd", bomb + body))


# ---- archives ------------------------------------------------------------------------------------------------------


def test_a_zip_with_no_scan_two_scans_or_a_secret_is_refused(tmp_path: Path) -> None:
    assert "no scan" in refusal(saved(tmp_path, "a.zip", zipped({"readme.txt": b"hello"})))
    assert "2 scans" in refusal(saved(tmp_path, "b.zip", zipped({"a.ply": ball_ply(), "b.ply": ball_ply()})))
    data = bytearray(zipped({"a.ply": ball_ply()}))
    for header, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + place] |= 1
    assert "encrypted" in refusal(saved(tmp_path, "c.zip", bytes(data)))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = zipped({"a.ply": ball_ply() + bytes(1 << 28)})
    assert "far more than such an archive should hold" in refusal(saved(tmp_path, "a.zip", bomb))
    lying = bytearray(bomb)
    for header, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = lying.index(header) + place
        lying[at : at + 4] = struct.pack("<I", len(ball_ply()))
    refusal(saved(tmp_path, "b.zip", bytes(lying)))


def test_a_gltf_in_a_zip_finds_the_files_beside_it_and_no_others(tmp_path: Path) -> None:
    model = Gltf().with_ball()
    model.tree["buffers"] = [{"byteLength": len(model.blob), "uri": "data/scan%201.bin"}]
    entries = {"head/a.gltf": model.text(), "head/data/scan 1.bin": model.blob}
    assert_is_ball(read_scan(saved(tmp_path, "a.zip", zipped(entries))))
    assert "not in it" in refusal(saved(tmp_path, "b.zip", zipped({"head/a.gltf": model.text()})))
    of_windows = {name.replace("/", "\\"): data for name, data in entries.items()}
    assert_is_ball(read_scan(saved(tmp_path, "c.zip", zipped(of_windows))))


# ---- glTF with files beside it -----------------------------------------------------------------------------------


def test_a_gltf_is_read_with_its_data_beside_it_or_inside(tmp_path: Path) -> None:
    model = Gltf().with_ball()
    model.tree["buffers"] = [{"byteLength": len(model.blob), "uri": "scan%201.bin"}]
    saved(tmp_path, "scan 1.bin", model.blob)
    assert_is_ball(read_scan(saved(tmp_path, "a.gltf", model.text())))
    model.tree["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(model.blob).decode()
    assert_is_ball(read_scan(saved(tmp_path, "b.gltf", b"\xef\xbb\xbf" + model.text())))


@pytest.mark.parametrize(
    "uri", ["../secret.bin", "/etc/passwd", "%2e%2e/secret.bin", "https://a.org/b.bin", "file:///a", "a\\b", "~/x"]
)
def test_a_gltf_reads_no_file_outside_its_folder(tmp_path: Path, uri: str) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    model = Gltf().with_ball()
    saved(tmp_path, "secret.bin", model.blob)
    model.tree["buffers"] = [{"byteLength": len(model.blob), "uri": uri}]
    assert "another file" in refusal(saved(folder, "a.gltf", model.text()))


def test_a_link_out_of_the_folder_of_a_gltf_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    model = Gltf().with_ball()
    (folder / "link.bin").symlink_to(saved(tmp_path, "secret.bin", model.blob))
    model.tree["buffers"] = [{"byteLength": len(model.blob), "uri": "link.bin"}]
    assert "outside its folder" in refusal(saved(folder, "a.gltf", model.text()))


def test_the_files_beside_a_gltf_count_towards_the_limit(tmp_path: Path) -> None:
    model = Gltf().with_ball()
    model.tree["buffers"] = [{"byteLength": len(model.blob), "uri": "a.bin"}]
    saved(tmp_path, "a.bin", model.blob)
    with pytest.raises(InputError, match="files beside it"):
        read_scan(saved(tmp_path, "a.gltf", model.text()), max_bytes=len(model.text()) + 100)


# ---- XML from strangers -------------------------------------------------------------------------------------------


def test_xml_with_entities_or_without_an_end_of_its_depth_is_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    assert "entities" in refusal(saved(tmp_path, "a.dae", dae(before=bomb)))
    deep = b"<COLLADA>" + b"<node>" * 100_000
    assert "too deep" in refusal(saved(tmp_path, "b.dae", deep))
    deep_vrml = b"#VRML V2.0 utf8\n" + b"Group { children [ " * 100_000
    assert "too deep" in refusal(saved(tmp_path, "c.wrl", deep_vrml))


@pytest.mark.parametrize("version", [1, 2])
def test_a_comma_between_the_numbers_of_a_vrml_parts_them_and_one_inside_is_named(tmp_path: Path, version: int) -> None:
    data, start = wrl(version), f"V{version}.0".encode()
    packed = data.replace(b",\n", b",").replace(b", ", b",")
    assert_is_ball(read_scan(saved(tmp_path, "a.wrl", packed)), center=500.0 * (version - 1))
    decimal = data.replace(b".", b",").replace(start.replace(b".", b","), start)
    assert "decimal comma" in refusal(saved(tmp_path, "b.wrl", decimal))


@pytest.mark.parametrize("encoding", ["gb2312", "Shift_JIS", "windows-1252", "UTF8", "UTF-unit", "no-such"])
def test_xml_is_read_whatever_encoding_it_declares(tmp_path: Path, encoding: str) -> None:
    declared = f'<?xml version="1.0" encoding="{encoding}"?>'.encode()
    data = dae().replace(b'<?xml version="1.0"?>', declared + "<!-- 头 -->".encode("gb2312"))
    assert_is_ball(read_scan(saved(tmp_path, "a.dae", data)), center=500.0)


def test_a_damaged_transform_is_refused_in_one_line(tmp_path: Path) -> None:
    broken = dae().replace(b"0 -1 0 500", b"0 -1 0,5 500")
    assert "decimal comma" in refusal(saved(tmp_path, "a.dae", broken))
    data = json.dumps({"nothing": 1}).encode()
    refusal(saved(tmp_path, "b.gltf", data))
