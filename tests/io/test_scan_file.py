"""Reading scans: good files arrive unchanged, bad files are refused with one line that says what to do."""

from __future__ import annotations

import io
import json
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.io.scan_file import read_geometry, read_scan

SHARED_SCANS = Path(__file__).resolve().parents[2].parent / "shared" / "scans"


def ball(subdivisions: int = 3) -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=1.0)
    mesh.apply_scale([75.0, 110.0, 90.0])
    return mesh


def binary_ply(
    points: NDArray[np.floating],
    faces: NDArray[np.integer] | None = None,
    *,
    order: str = "<",
    vertex_count: int | None = None,
    face_count: int | None = None,
    columns: tuple[str, ...] = ("x", "y", "z"),
) -> bytes:
    words = "little" if order == "<" else "big"
    header = f"ply\nformat binary_{words}_endian 1.0\ncomment made by a test\n"
    header += f"element vertex {len(points) if vertex_count is None else vertex_count}\n"
    header += "".join(f"property float {c}\n" for c in columns)
    body = np.asarray(points).astype(order + "f4").tobytes()
    if faces is not None:
        header += f"element face {len(faces) if face_count is None else face_count}\n"
        header += "property list uchar int vertex_indices\n"
        rows = np.empty(len(faces), dtype=[("n", "u1"), ("i", order + "i4", (faces.shape[1],))])
        rows["n"], rows["i"] = faces.shape[1], faces
        body += rows.tobytes()
    return header.encode() + b"end_header\n" + body


def refusal(path: Path, **options: int) -> str:
    with pytest.raises(InputError) as caught:
        read_scan(path, **options)
    message = str(caught.value)
    assert "\n" not in message and "\r" not in message
    assert path.name in message
    assert ";" in message, "a refusal says what to do"
    return message


def saved(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# ---- what is accepted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["ply", "obj", "stl", "glb", "off"])
def test_every_format_gives_the_same_surface_as_the_mesh_it_was_written_from(tmp_path: Path, extension: str) -> None:
    mesh = ball()
    path = saved(tmp_path, f"head.{extension}", as_bytes(mesh.export(file_type=extension)))
    scan = read_scan(path)
    assert scan.name == "head" and scan.faces is not None and scan.normals is not None
    assert len(scan.points) == len(mesh.vertices) and len(scan.faces) == len(mesh.faces)
    read = trimesh.Trimesh(scan.points, scan.faces, process=False)
    assert read.is_watertight
    assert read.volume == pytest.approx(mesh.volume, rel=1e-5)
    np.testing.assert_allclose(np.linalg.norm(scan.normals, axis=1), 1.0, atol=1e-12)
    assert (np.einsum("ij,ij->i", scan.normals, scan.points) > 0).all()
    assert scan.warnings == ()


def as_bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def test_an_ascii_ply_and_a_big_endian_ply_equal_the_little_endian_one(tmp_path: Path) -> None:
    mesh = ball()
    points = np.round(mesh.vertices * 64) / 64  # exact in text and in four bytes alike
    little = read_scan(saved(tmp_path, "a.ply", binary_ply(points, mesh.faces)))
    big = read_scan(saved(tmp_path, "b.ply", binary_ply(points, mesh.faces, order=">")))
    body = (rows(points) + rows(mesh.faces, "3 ")).encode()
    header = binary_ply(points, mesh.faces)[:400].split(b"end_header\n")[0].replace(b"binary_little_endian", b"ascii")
    text = read_scan(saved(tmp_path, "c.ply", header.replace(b"\n", b"\r\n") + b"end_header\r\n" + body))
    for other in (big, text):
        np.testing.assert_array_equal(other.points, little.points)
        np.testing.assert_array_equal(other.faces, little.faces)


def test_quads_and_triangles_in_one_ply_are_cut_into_triangles(tmp_path: Path) -> None:
    points, faces = ball().vertices, ball().faces
    header = f"ply\nformat ascii 1.0\nelement vertex {len(points) + 4}\n"
    header += "property float x\nproperty float y\nproperty float z\n"
    header += f"element face {len(faces) + 2}\nproperty list uchar int vertex_index\nproperty uchar red\nend_header\n"
    body = "".join(f"{x} {y} {z}\n" for x, y, z in points) + "0 200 0\n9 200 0\n9 209 0\n0 209 0\n"
    n = len(points)
    body += f"4 {n} {n + 1} {n + 2} {n + 3} 255\n" + "".join(f"3 {a} {b} {c} 0\n" for a, b, c in faces) + "2 0 1 0\n"
    scan = read_scan(saved(tmp_path, "a.ply", (header + body).encode()))
    assert scan.faces is not None and len(scan.faces) == len(faces) + 2
    assert scan.warnings == ("1 faces have fewer than three corners and were left out.",)


def test_a_mixed_binary_ply_of_ten_thousand_faces_is_read_in_a_moment(tmp_path: Path) -> None:
    mesh = ball(4)
    data = binary_ply(mesh.vertices, mesh.faces, face_count=len(mesh.faces) + 1) + struct.pack("<B4i", 4, 0, 1, 2, 3)
    start = time.perf_counter()
    geometry = read_geometry(saved(tmp_path, "a.ply", data))
    assert geometry.faces is not None and len(geometry.faces) == len(mesh.faces) + 2
    assert time.perf_counter() - start < 2.0


def test_a_cloud_keeps_its_points_and_its_normals_scaled_to_one(tmp_path: Path) -> None:
    mesh = ball()
    rows = np.hstack([mesh.vertices, 7.0 * mesh.vertex_normals])
    scan = read_scan(saved(tmp_path, "a.ply", binary_ply(rows, columns=("x", "y", "z", "nx", "ny", "nz"))))
    assert scan.faces is None and scan.normals is not None
    np.testing.assert_allclose(scan.points, mesh.vertices, atol=1e-4)
    np.testing.assert_allclose(scan.normals, mesh.vertex_normals, atol=1e-6)


def test_a_cloud_with_a_zero_normal_is_read_without_normals_and_says_so(tmp_path: Path) -> None:
    mesh = ball()
    rows = np.hstack([mesh.vertices, mesh.vertex_normals])
    rows[5, 3:] = 0.0
    rows[6, 3] = np.nan
    scan = read_scan(saved(tmp_path, "a.ply", binary_ply(rows, columns=("x", "y", "z", "nx", "ny", "nz"))))
    assert scan.normals is None
    assert scan.warnings[0].startswith("2 normals")


@pytest.mark.parametrize("extension", ["ply", "glb", "obj", "off"])
def test_points_without_faces_are_a_cloud_in_every_format_that_has_them(tmp_path: Path, extension: str) -> None:
    points = ball().vertices
    data = {
        "ply": lambda: binary_ply(points),
        "glb": lambda: trimesh.Scene(trimesh.PointCloud(points)).export(file_type="glb"),
        "obj": lambda: "".join(f"v {x} {y} {z}\n" for x, y, z in points).encode(),
        "off": lambda: (f"OFF\n{len(points)} 0 0\n" + "".join(f"{x} {y} {z}\n" for x, y, z in points)).encode(),
    }[extension]()
    scan = read_scan(saved(tmp_path, f"a.{extension}", data))
    assert scan.faces is None and scan.normals is None and len(scan.points) == len(points)


def test_an_ascii_stl_and_a_binary_stl_that_begins_with_solid_are_both_read(tmp_path: Path) -> None:
    mesh = ball()
    text = read_scan(saved(tmp_path, "a.stl", as_bytes(mesh.export(file_type="stl_ascii"))))
    binary = bytearray(mesh.export(file_type="stl"))
    binary[:5] = b"solid"
    assert len(read_scan(saved(tmp_path, "b.stl", bytes(binary))).points) == len(text.points) == len(mesh.vertices)


def test_an_obj_may_count_back_and_name_texture_coordinates(tmp_path: Path) -> None:
    mesh = ball()
    n = len(mesh.vertices)
    text = (
        "mtllib missing.mtl\n" + "".join(f"v {x} {y} {z} 1 0 0\n" for x, y, z in mesh.vertices) + "vt 0 0\nvn 0 0 1\n"
    )
    text += "".join(f"f {a - n}/1/1 {b - n}//1 {c - n}/1\n" for a, b, c in mesh.faces)
    scan = read_scan(saved(tmp_path, "a.obj", text.encode()))
    np.testing.assert_array_equal(scan.faces, mesh.faces)


def test_the_winding_of_an_inside_out_mesh_is_kept_as_found(tmp_path: Path) -> None:
    mesh = ball()
    scan = read_scan(saved(tmp_path, "a.ply", binary_ply(mesh.vertices, mesh.faces[:, ::-1])))
    np.testing.assert_array_equal(scan.faces, mesh.faces[:, ::-1])
    assert scan.normals is not None and (np.einsum("ij,ij->i", scan.normals, scan.points) < 0).all()


def test_loose_points_and_faces_without_area_are_left_out_with_a_warning(tmp_path: Path) -> None:
    mesh = ball()
    points = np.vstack([mesh.vertices, [[500.0, 0.0, 0.0], [501.0, 0.0, 0.0]]])
    faces = np.vstack([mesh.faces, [[0, 0, 1], [2, 3, 2]]])
    scan = read_scan(saved(tmp_path, "a.ply", binary_ply(points, faces)))
    assert len(scan.points) == len(mesh.vertices) and scan.faces is not None and len(scan.faces) == len(mesh.faces)
    assert scan.warnings == ("2 faces without area were left out.", "2 points that belong to no face were left out.")


def test_the_meshes_of_a_glb_scene_are_joined_where_their_nodes_put_them(tmp_path: Path) -> None:
    mesh = ball()
    scene = trimesh.Scene()
    scene.add_geometry(mesh, transform=trimesh.transformations.translation_matrix([300.0, 0.0, 0.0]))
    scene.add_geometry(mesh, transform=np.diag([-1.0, 1.0, 1.0, 1.0]))
    scan = read_scan(saved(tmp_path, "a.glb", scene.export(file_type="glb")))
    assert len(scan.points) == 2 * len(mesh.vertices) and scan.faces is not None
    assert scan.points[:, 0].max() == pytest.approx(375.0) and scan.points[:, 0].min() == pytest.approx(-75.0)
    # the mirrored one is turned over, so that both still face outward
    assert trimesh.Trimesh(scan.points, scan.faces).volume == pytest.approx(2 * mesh.volume, rel=1e-4)


@pytest.mark.skipif(not SHARED_SCANS.is_dir(), reason="the real scans in ../shared/scans are not here")
def test_five_real_scans_are_read_with_unit_normals() -> None:
    for path in sorted(SHARED_SCANS.glob("*.ply")):
        scan = read_scan(path)
        assert len(scan.points) > 5_000 and scan.normals is not None
        np.testing.assert_allclose(np.linalg.norm(scan.normals, axis=1), 1.0, atol=1e-9)
        assert (scan.faces is None) == (path.stem == "truedepth_mannequin")


# ---- what is refused -------------------------------------------------------------------------------------------


def test_a_missing_file_a_folder_and_an_empty_file_are_refused_with_one_line(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.ply")
    (tmp_path / "folder.ply").mkdir()
    assert "is a folder" in refusal(tmp_path / "folder.ply")
    assert "is empty" in refusal(saved(tmp_path, "empty.ply", b""))


def test_an_unknown_extension_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    message = refusal(saved(tmp_path, "scan.fbx", b"Kaydara"))
    for known in (".ply", ".obj", ".stl", ".glb", ".off"):
        assert known in message
    assert "no extension" in refusal(saved(tmp_path, "scan", b"ply\n"))
    assert ".pkl" in refusal(saved(tmp_path, "scan.pkl", b"cos\nsystem\n(S'true'\ntR."))


def test_a_file_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    assert "100" in refusal(saved(tmp_path, "a.ply", binary_ply(ball().vertices)), max_bytes=100)


def test_a_name_with_a_line_break_is_still_refused_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_scan(saved(tmp_path, "two\nlines.ply", b"hello"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("extension", ["ply", "obj", "stl", "glb", "off"])
def test_a_text_renamed_to_a_scan_is_refused_with_one_line(tmp_path: Path, extension: str) -> None:
    assert "renamed" in refusal(saved(tmp_path, f"letter.{extension}", b"Dear colleague,\nplease find the scan\n" * 50))


@pytest.mark.parametrize("extension", ["ply", "stl", "glb", "off"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.999])
def test_a_truncated_file_is_refused_with_one_line(tmp_path: Path, extension: str, kept: float) -> None:
    data = as_bytes(ball().export(file_type=extension))
    refusal(saved(tmp_path, f"cut.{extension}", data[: int(len(data) * kept)]))


def test_a_truncated_ascii_ply_and_ascii_stl_are_refused_with_one_line(tmp_path: Path) -> None:
    ply = as_bytes(ball().export(file_type="ply", encoding="ascii"))
    assert "truncated" in refusal(saved(tmp_path, "a.ply", ply[: len(ply) // 2]))
    stl = as_bytes(ball().export(file_type="stl_ascii"))
    assert "truncated" in refusal(saved(tmp_path, "a.stl", stl[: len(stl) // 2]))


def test_a_header_that_claims_more_than_the_file_holds_is_refused_before_memory_is_allocated(tmp_path: Path) -> None:
    mesh = ball()
    for claim in (10**9, 2**31, 10**18, -1):
        faces = binary_ply(mesh.vertices, mesh.faces, face_count=claim)
        assert str(claim) in refusal(saved(tmp_path, "faces.ply", faces))
        assert str(claim) in refusal(saved(tmp_path, "points.ply", binary_ply(mesh.vertices, vertex_count=claim)))
    stl = bytearray(mesh.export(file_type="stl"))
    stl[80:84] = struct.pack("<I", 2**31 + 5)
    assert "promises 2147483653" in refusal(saved(tmp_path, "a.stl", bytes(stl) + b"cut"))
    assert "promises" in refusal(saved(tmp_path, "a.off", b"OFF\n99999999999 99999999999 0\n0 0 0\n"))
    empty_rows = b"ply\nformat binary_little_endian 1.0\nelement vertex 999999999999\nend_header\n"
    assert "999999999999" in refusal(saved(tmp_path, "rows.ply", empty_rows))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("extension", ["ply", "obj", "stl", "glb", "off"])
def test_a_point_that_is_not_finite_is_refused_with_one_line(tmp_path: Path, extension: str, value: float) -> None:
    mesh = ball()
    points = mesh.vertices.copy()
    points[17, 1] = value
    data: Callable[[], bytes] = {
        "ply": lambda: binary_ply(points, mesh.faces),
        "obj": lambda: (rows(points, "v ") + rows(mesh.faces + 1, "f ")).encode(),
        "off": lambda: (f"OFF {len(points)} {len(mesh.faces)} 0\n" + rows(points) + rows(mesh.faces, "3 ")).encode(),
        "stl": lambda: stl_bytes(points[mesh.faces]),
        "glb": lambda: glb_bytes(points, mesh.faces),
    }[extension]
    assert "NaN or infinite" in refusal(saved(tmp_path, f"a.{extension}", data()))


def rows(values: NDArray[np.generic], start: str = "") -> str:
    return "".join(start + " ".join(str(x) for x in row) + "\n" for row in values.tolist())


def stl_bytes(corners: NDArray[np.floating]) -> bytes:
    record = np.zeros(len(corners), dtype=[("n", "<f4", 3), ("c", "<f4", (3, 3)), ("a", "<u2")])
    record["c"] = corners
    return bytes(80) + struct.pack("<I", len(corners)) + record.tobytes()


def glb_bytes(points: NDArray[np.floating], faces: NDArray[np.integer], **changes: object) -> bytes:
    block = points.astype("<f4").tobytes() + faces.astype("<u4").tobytes()
    tree: dict[str, object] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [{"byteLength": len(block)}],
        "bufferViews": [
            {"buffer": 0, "byteLength": points.size * 4},
            {"buffer": 0, "byteOffset": points.size * 4, "byteLength": faces.size * 4},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(points), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": faces.size, "type": "SCALAR"},
        ],
    } | changes
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    out = io.BytesIO()
    out.write(struct.pack("<4sIII4s", b"glTF", 2, 28 + len(text) + len(block), len(text), b"JSON") + text)
    out.write(struct.pack("<I4s", len(block), b"BIN\0") + block)
    return out.getvalue()


@pytest.mark.parametrize("index", [-1, -(2**31), 642, 2**31 - 1])
@pytest.mark.parametrize("extension", ["ply", "obj", "glb", "off"])
def test_a_face_that_names_no_point_is_refused_with_one_line(tmp_path: Path, extension: str, index: int) -> None:
    mesh = ball()
    faces = mesh.faces.copy()
    faces[7, 1] = index
    one_based = faces + 1
    one_based[7, 1] = -5000 if index < 0 else index + 1
    data: Callable[[], bytes] = {
        "ply": lambda: binary_ply(mesh.vertices, faces),
        "obj": lambda: (rows(mesh.vertices, "v ") + rows(one_based, "f ")).encode(),
        "off": lambda: (f"OFF\n642 {len(faces)} 0\n" + rows(mesh.vertices) + rows(faces, "3 ")).encode(),
        "glb": lambda: glb_bytes(mesh.vertices, faces.astype(np.uint32)),
    }[extension]
    refusal(saved(tmp_path, f"a.{extension}", data()))


def test_an_obj_that_counts_from_zero_is_refused_instead_of_wrapped(tmp_path: Path) -> None:
    mesh = ball()
    assert "names point -1" in refusal(
        saved(tmp_path, "a.obj", (rows(mesh.vertices, "v ") + rows(mesh.faces, "f ")).encode())
    )


def test_an_obj_row_that_is_cut_short_is_refused_with_its_line(tmp_path: Path) -> None:
    assert "line 2" in refusal(saved(tmp_path, "a.obj", b"v 0 0 0\nv 1 0\nv 0 1 0\nf 1 2 3\n"))


@pytest.mark.parametrize("faces", [False, True])
def test_ten_points_are_refused_because_they_are_no_face(tmp_path: Path, faces: bool) -> None:
    points = np.random.default_rng(0).normal(size=(10, 3))
    data = binary_ply(points, np.array([[0, 1, 2], [3, 4, 5]]) if faces else None)
    assert "needs at least 200" in refusal(saved(tmp_path, "a.ply", data))


def test_points_in_one_place_on_a_line_on_a_plane_or_at_a_few_positions_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    assert "one place" in refusal(saved(tmp_path, "a.ply", binary_ply(np.full((500, 3), 7.5))))
    assert "one plane" in refusal(saved(tmp_path, "b.ply", binary_ply(np.outer(rng.random(500), [1.0, 2.0, 3.0]))))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    flat = np.column_stack([rng.random((500, 2)) * 100, np.zeros(500)]) @ turn + 40
    assert "one plane" in refusal(saved(tmp_path, "c.ply", binary_ply(flat)))
    assert "only 20 positions" in refusal(
        saved(tmp_path, "d.ply", binary_ply(np.repeat(rng.random((20, 3)), 50, axis=0)))
    )


def test_a_mesh_whose_faces_have_no_area_and_a_coordinate_beyond_reason_are_refused(tmp_path: Path) -> None:
    mesh = ball()
    assert "area" in refusal(saved(tmp_path, "a.ply", binary_ply(mesh.vertices, mesh.faces[:, [0, 0, 1]])))
    assert "coordinate" in refusal(saved(tmp_path, "b.ply", binary_ply(mesh.vertices * 1e34, mesh.faces)))


def test_a_glb_cannot_read_other_files_nor_multiply_itself_nor_hide_its_points(tmp_path: Path) -> None:
    mesh = ball()
    points, faces = mesh.vertices, mesh.faces

    def refused(**changes: object) -> str:
        return refusal(saved(tmp_path, "a.glb", glb_bytes(points, faces, **changes)))

    assert read_scan(saved(tmp_path, "fine.glb", glb_bytes(points, faces))).faces is not None
    assert "another file" in refused(buffers=[{"uri": "../secret.bin", "byteLength": 10}])
    huge = {"componentType": 5126, "count": 2**40, "type": "VEC3"}
    assert "more data" in refused(accessors=[huge, huge])
    # an accessor without data is all zero, by the specification
    assert "any area" in refused(
        accessors=[
            {"componentType": 5126, "count": len(points), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": faces.size, "type": "SCALAR"},
        ]
    )
    copies = 100_000
    assert "repeating" in refused(scenes=[{"nodes": list(range(copies))}], nodes=[{"mesh": 0}] * copies)
    assert "two parents" in refused(nodes=[{"children": [1, 1]}, {"mesh": 0}])
    assert "no mesh" in refused(nodes=[{}])
    assert "bufferView" in refused(bufferViews=[])
    assert "glTF" in refused(meshes=[{"primitives": "none"}])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    extension=st.sampled_from(["ply", "obj", "stl", "glb", "off"]),
    places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    head=st.booleans(),
)
def test_a_file_with_changed_bytes_is_read_or_refused_but_never_crashes(
    tmp_path: Path, extension: str, places: list[tuple[float, int]], head: bool
) -> None:
    data = bytearray(SMALL[extension])
    reach = min(len(data), 400) if head else len(data)
    for share, value in places:
        data[int(share * reach)] = value
    path = saved(tmp_path, f"a.{extension}", bytes(data))
    try:
        scan = read_scan(path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(scan.points).all()


SMALL = {kind: as_bytes(ball().export(file_type=kind)) for kind in ("ply", "obj", "stl", "glb", "off")}
