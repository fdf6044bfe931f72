"""What other programs take is read: a flaw in what is not used, or can be left out, refuses no file."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from tests.io.files import (
    INDICES,
    XYZ,
    assert_is_ball,
    ball,
    ball_ply,
    ball_stl,
    face_rows,
    ply_header,
    refusal,
    saved,
    text_rows,
)

from imhead.io.scan_file import read_geometry, read_scan

# ---- points without depth --------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("extension", ["ply", "obj", "off"])
def test_points_of_a_cloud_without_finite_coordinates_are_left_out_and_counted(
    tmp_path: Path, extension: str, missing: float
) -> None:
    points = ball().vertices.copy()
    points[[0, 7, 641]] = missing
    points[8, 2] = missing
    data = {
        "ply": ply_header([("vertex", 642, XYZ)]).encode() + points.astype("<f4").tobytes(),
        "obj": text_rows(points, "v ").encode(),
        "off": ("OFF\n642 0 0\n" + text_rows(points)).encode(),
    }[extension]
    scan = read_scan(saved(tmp_path, f"a.{extension}", data))
    np.testing.assert_allclose(scan.points, np.delete(ball().vertices, [0, 7, 8, 641], axis=0))
    assert scan.warnings == ("4 of 642 points have no finite coordinates and were left out.",)


def test_the_normals_of_the_points_that_stay_stay_with_them(tmp_path: Path) -> None:
    mesh = ball()
    rows = np.hstack([mesh.vertices, mesh.vertex_normals])
    rows[::3] = np.nan
    header = ply_header([("vertex", 642, (*XYZ, "float nx", "float ny", "float nz"))])
    scan = read_scan(saved(tmp_path, "a.ply", header.encode() + rows.astype("<f4").tobytes()))
    assert scan.normals is not None
    np.testing.assert_allclose(scan.normals, np.delete(mesh.vertex_normals, np.arange(0, 642, 3), 0), atol=1e-6)


def test_a_point_without_depth_that_no_face_uses_is_left_out_of_a_mesh(tmp_path: Path) -> None:
    mesh = ball()
    points = np.vstack([np.full((5, 3), np.nan), mesh.vertices])
    header = ply_header([("vertex", len(points), XYZ), ("face", len(mesh.faces), INDICES)])
    data = header.encode() + points.astype("<f4").tobytes() + face_rows(mesh.faces + 5)
    scan = read_scan(saved(tmp_path, "a.ply", data))
    assert_is_ball(scan, warnings=["5 of 647 points have no finite coordinates and were left out."])


def test_pixels_that_a_depth_camera_puts_at_the_origin_are_left_out_of_a_cloud(tmp_path: Path) -> None:
    points = np.vstack([np.zeros((300, 3)), ball().vertices])
    data = ply_header([("vertex", len(points), XYZ)]).encode() + points.astype("<f4").tobytes()
    scan = read_scan(saved(tmp_path, "a.ply", data))
    assert len(scan.points) == 642
    assert scan.warnings == ("300 points at exactly (0, 0, 0), pixels without depth, were left out.",)


def test_a_cloud_of_nothing_but_missing_points_is_refused(tmp_path: Path) -> None:
    data = ply_header([("vertex", 300, XYZ)]).encode() + np.full((300, 3), np.nan, "<f4").tobytes()
    assert "all 300 points are NaN" in refusal(saved(tmp_path, "a.ply", data))


# ---- numbers as programs spell them -----------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["-nan(ind)", "nan(snan)", "1.#QNAN", "-1.#IND", "1.#INF00", "NaN"])
def test_a_normal_that_is_no_number_refuses_no_mesh(tmp_path: Path, spelling: str) -> None:
    mesh = ball()
    text = text_rows(mesh.vertices, "v ") + f"vn {spelling} {spelling} {spelling}\nvt {spelling} 0\n"
    text += text_rows(mesh.faces + 1, "f ")
    assert_is_ball(read_scan(saved(tmp_path, "a.obj", text.encode())))
    rows = np.char.add(text_rows(mesh.vertices).split("\n")[:-1], f" {spelling} 0 1")
    header = ply_header(
        [("vertex", 642, (*XYZ, "float nx", "float ny", "float nz")), ("face", len(mesh.faces), INDICES)], "ascii"
    )
    body = "\n".join(rows) + "\n" + text_rows(mesh.faces, "3 ")
    assert_is_ball(read_scan(saved(tmp_path, "a.ply", (header + body).encode())))


def test_damaged_normals_of_a_cloud_are_left_out_with_a_warning(tmp_path: Path) -> None:
    points = ball().vertices
    normals = ["vn 0 0 one\n"] + ["vn 0 0 1\n"] * 641
    scan = read_scan(saved(tmp_path, "a.obj", (text_rows(points, "v ") + "".join(normals)).encode()))
    assert scan.normals is None
    assert scan.warnings == ("The 642 normals of the file cannot be read and were left out.",)


@pytest.mark.parametrize("end_of_line", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("comment", ["", " # made by hand, v 0 0 0", "\t#"])
@pytest.mark.parametrize("extension", ["obj", "off", "ply", "stl"])
def test_texts_may_have_any_line_ends_a_byte_order_mark_spaces_and_comments(
    tmp_path: Path, extension: str, comment: str, end_of_line: str
) -> None:
    mesh = ball()
    comment = "" if extension == "stl" else comment
    text = {
        "obj": "# head\n" + text_rows(mesh.vertices, "  v  ", comment) + text_rows(mesh.faces + 1, "\tf\t", comment),
        "off": f"OFF\n642 {len(mesh.faces)} 0{comment}\n\n"
        + text_rows(mesh.vertices, " ", comment)
        + text_rows(mesh.faces, "3\t", comment),
        "ply": ply_header([("vertex", 642, XYZ), ("face", len(mesh.faces), INDICES)], "ascii")
        + text_rows(mesh.vertices, " ", comment)
        + text_rows(mesh.faces, "3 ", comment),
        "stl": mesh.export(file_type="stl_ascii"),
    }[extension]
    data = b"\xef\xbb\xbf" + text.replace("\n", end_of_line).encode()
    assert_is_ball(read_scan(saved(tmp_path, f"a.{extension}", data)))


# ---- PLY ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end_of_line", [b"\n", b"\r\n", b"\r"])
def test_the_header_of_a_binary_ply_may_end_its_lines_in_any_way(tmp_path: Path, end_of_line: bytes) -> None:
    header, _, body = ball_ply().partition(b"end_header\n")
    # with CR alone, the data may begin with the byte of an LF
    low = struct.unpack("<f", b"\n\0\xc8\xc2")[0]
    body = struct.pack("<f", low) + body[4:]
    data = header.replace(b"\n", end_of_line) + b"end_header" + end_of_line + body
    assert read_geometry(saved(tmp_path, "a.ply", data)).points[0, 0] == low


def test_the_header_of_a_ply_may_be_spelled_as_programs_spell_it(tmp_path: Path) -> None:
    header, _, body = ball_ply().partition(b"end_header\n")
    header = header.replace(b"ply\n", b"ply  \n", 1).replace(b"element vertex", b"  Element  Vertices")
    header = header.replace(b"format", b"comment end_header\nobj_info\ncreated by a program\nFORMAT")
    header = header.replace(b"property float y", b"Property Float32\tY ")
    header = header.replace(b"list uchar int", b"list uint8 int32")
    scan = read_scan(saved(tmp_path, "a.ply", header + b"end_header \n" + body))
    assert_is_ball(scan, warnings=["1 lines of the PLY header are of an unknown kind and were left out."])


@pytest.mark.parametrize("name", ["vertex_indices", "vertex_index", "vertices", "corners"])
def test_the_list_of_a_ply_face_may_have_any_name_if_it_is_the_only_one(tmp_path: Path, name: str) -> None:
    data = ball_ply().replace(b"int vertex_indices", f"int {name}".encode())
    assert_is_ball(read_scan(saved(tmp_path, "a.ply", data)))


def strip_of(faces: np.ndarray) -> list[int]:
    """Strips of one, two or three triangles, joined with -1; every second triangle of a strip is wound backwards."""
    left = {tuple(face) for face in faces.tolist()}
    row: list[int] = []
    while left:
        strip = list(left.pop())
        for backwards in (True, False):
            a, b = strip[-2:]
            edge = (b, a) if backwards else (a, b)
            following = next((f for f in left for k in range(3) if (f[k], f[(k + 1) % 3]) == edge), None)
            if following is None:
                break
            left.remove(following)
            strip.append(next(c for c in following if c not in (a, b)))
        row += [*strip, -1]
    return row


@pytest.mark.parametrize("rows", [1, 5])
def test_triangle_strips_of_a_ply_give_the_same_closed_surface(tmp_path: Path, rows: int) -> None:
    mesh = ball()
    strip = strip_of(mesh.faces)
    cuts = [k + 1 for k, index in enumerate(strip) if index == -1][:: max(1, len(mesh.faces) // (3 * rows))]
    parts = np.split(np.array(strip), cuts[: rows - 1])
    header = ply_header([("vertex", 642, XYZ), ("tristrips", len(parts), ("list int int vertex_indices",))])
    body = b"".join(struct.pack("<i", len(p)) + p.astype("<i4").tobytes() for p in parts)
    assert max(len(run) for run in "".join("x" if i >= 0 else " " for i in strip).split()) == 5
    scan = read_scan(saved(tmp_path, "a.ply", header.encode() + mesh.vertices.astype("<f4").tobytes() + body))
    assert_is_ball(scan)


@pytest.mark.parametrize("word", ["NCOFF", "CNOFF", "NOFF", "STCNOFF", "STOFF", "coff"])
def test_an_off_may_name_its_columns_in_any_order(tmp_path: Path, word: str) -> None:
    mesh = ball()
    rows = text_rows(np.hstack([mesh.vertices, np.ones((642, 4)), mesh.vertex_normals]))
    data = f"{word}\n642 {len(mesh.faces)} 0\n{rows}{text_rows(mesh.faces, '3 ')}".encode()
    assert_is_ball(read_scan(saved(tmp_path, "a.off", data)))


def test_a_column_of_a_ply_may_have_a_name_of_two_words(tmp_path: Path) -> None:
    mesh = ball()
    header = ply_header([("vertex", 642, ("float Original index", *XYZ)), ("face", len(mesh.faces), INDICES)])
    points = np.hstack([np.zeros((642, 1)), mesh.vertices]).astype("<f4")
    assert_is_ball(read_scan(saved(tmp_path, "a.ply", header.encode() + points.tobytes() + face_rows(mesh.faces))))


def test_a_strip_that_names_no_point_is_refused(tmp_path: Path) -> None:
    mesh = ball()
    header = ply_header([("vertex", 642, XYZ), ("tristrips", 1, ("list int int vertex_indices",))])
    body = struct.pack("<i4i", 4, 0, 1, 2, 700)
    data = header.encode() + mesh.vertices.astype("<f4").tobytes() + body
    assert "names point 700" in refusal(saved(tmp_path, "a.ply", data))


def test_an_element_that_is_not_needed_may_be_cut_and_text_after_the_numbers_is_left_out(tmp_path: Path) -> None:
    mesh = ball()
    elements = [("vertex", 642, XYZ), ("face", len(mesh.faces), INDICES), ("edge", 99, ("int a", "int b"))]
    body = mesh.vertices.astype("<f4").tobytes() + face_rows(mesh.faces)
    assert_is_ball(read_scan(saved(tmp_path, "a.ply", ply_header(elements).encode() + body + b"\1\2")))
    text = ply_header(elements[:2], "ascii") + text_rows(mesh.vertices) + text_rows(mesh.faces, "3 ") + "The end.\n"
    scan = read_scan(saved(tmp_path, "b.ply", text.encode()))
    assert_is_ball(scan, warnings=["Text after the numbers of the file, from 'The' on, was left out."])


def test_rows_of_a_binary_ply_may_mix_lists_of_all_lengths_with_single_values(tmp_path: Path) -> None:
    mesh = ball()
    columns = ("float x", "list uchar short tags", "float y", "list ushort uchar more", "float z")
    rows = b"".join(
        struct.pack("<fB", x, k % 3)
        + bytes(2 * (k % 3))
        + struct.pack("<fH", y, k % 5)
        + bytes(k % 5)
        + struct.pack("<f", z)
        for k, (x, y, z) in enumerate(mesh.vertices.tolist())
    )
    header = ply_header([("vertex", 642, columns), ("face", len(mesh.faces), INDICES)])
    assert_is_ball(read_scan(saved(tmp_path, "a.ply", header.encode() + rows + face_rows(mesh.faces))))


def test_a_column_named_twice_is_refused_only_where_it_counts(tmp_path: Path) -> None:
    mesh = ball()
    body = np.hstack([mesh.vertices, mesh.vertices[:, :1]]).astype("<f4").tobytes()

    def ply(last: str) -> bytes:
        return ply_header([("vertex", 642, (*XYZ, last))]).encode() + body

    assert "'x' twice" in refusal(saved(tmp_path, "a.ply", ply("float x")))
    harmless = ply("float red").replace(b"end_header", b"element note 0\nproperty int a\nproperty int a\nend_header")
    assert len(read_scan(saved(tmp_path, "b.ply", harmless)).points) == 642


# ---- STL ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [b"", b"solid part", b"solid facet normal endsolid", b"\xff\xfebinary"])
@pytest.mark.parametrize("tail", [b"\r\n", b"\0", b"appended by a program " * 9])
def test_bytes_after_the_last_facet_of_a_binary_stl_are_left_out(tmp_path: Path, header: bytes, tail: bytes) -> None:
    scan = read_scan(saved(tmp_path, "a.stl", ball_stl(header, tail=tail)))
    assert_is_ball(scan, warnings=[f"{len(tail)} bytes after the last facet were left out."])


@pytest.mark.parametrize("count", [0, 1, 1000, 3 * 1280, 2**31 - 1, 2**32 - 1])
def test_a_false_count_of_facets_is_corrected_where_the_file_holds_whole_facets(tmp_path: Path, count: int) -> None:
    scan = read_scan(saved(tmp_path, "a.stl", ball_stl(b"solid x", count=count)))
    said = f"The header promises {count} facets, but the file holds 1280; all of them were read."
    assert_is_ball(scan, warnings=[said])


def test_what_stands_after_the_promised_facets_is_no_facet_if_it_lies_far_away(tmp_path: Path) -> None:
    scan = read_scan(saved(tmp_path, "a.stl", ball_stl(tail=b"\x7e" * 100)))
    assert_is_ball(scan, warnings=["100 bytes after the last facet were left out."])


@pytest.mark.parametrize(
    "name", ["facet normal test", "endsolid", "vertex 1 2 3", "endfacet facet normal 0 0 1", "", "Kopf von Jürgen"]
)
def test_the_name_of_an_ascii_stl_may_hold_any_words(tmp_path: Path, name: str) -> None:
    text = ball().export(file_type="stl_ascii")
    lines = text.strip().split("\n")
    lines[0], lines[-1] = f"solid {name}", f"endsolid {name}"
    assert_is_ball(read_scan(saved(tmp_path, "a.stl", "\n".join(lines).encode("latin-1"))))


def test_two_solids_in_one_ascii_stl_and_one_on_a_single_line_are_read(tmp_path: Path) -> None:
    mesh = ball()
    text = mesh.export(file_type="stl_ascii")
    shifted = trimesh.Trimesh(mesh.vertices + [500, 0, 0], mesh.faces, process=False).export(file_type="stl_ascii")
    scan = read_scan(saved(tmp_path, "a.stl", (text + "\n" + shifted).encode()))
    assert len(scan.points) == 2 * 642
    assert_is_ball(read_scan(saved(tmp_path, "b.stl", text.replace("\n", " ").encode())))


# ---- OBJ, OFF ------------------------------------------------------------------------------------------------------


def test_an_obj_may_continue_lines_and_count_back_in_the_midst_of_its_points(tmp_path: Path) -> None:
    mesh = ball()
    seen, text = 0, ""
    for face in mesh.faces.tolist():
        while seen <= max(face):
            text += "v {} \\\n {} {}\n".format(*mesh.vertices[seen].tolist())
            seen += 1
        text += "f " + " ".join(f"{k - seen}//{k - seen}" for k in face) + "\n"
    assert_is_ball(read_scan(saved(tmp_path, "a.obj", text.encode())))


@pytest.mark.parametrize("word", ["OFF\n", "COFF\n", "NOFF ", "STCNOFF\n", ""])
def test_the_first_word_of_an_off_file_is_optional_and_may_have_letters(tmp_path: Path, word: str) -> None:
    mesh = ball()
    rows = text_rows(mesh.vertices, "", " 0.5 0.5 0.5 1") if len(word) > 4 else text_rows(mesh.vertices)
    text = f"{word}642 {len(mesh.faces)}\n" + rows + text_rows(mesh.faces, "3 ", " 200 100 0")
    assert_is_ball(read_scan(saved(tmp_path, "a.off", text.encode())))


# ---- the true cause -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["obj", "off", "ply", "stl"])
def test_a_decimal_comma_is_named(tmp_path: Path, extension: str) -> None:
    mesh = ball()
    points = mesh.vertices + 0.125
    text = {
        "obj": text_rows(points, "v ") + text_rows(mesh.faces + 1, "f "),
        "off": f"OFF\n642 {len(mesh.faces)} 0\n" + text_rows(points) + text_rows(mesh.faces, "3 "),
        "ply": ply_header([("vertex", 642, XYZ)]).replace("binary_little_endian", "ascii") + text_rows(points),
        "stl": trimesh.Trimesh(points, mesh.faces).export(file_type="stl_ascii"),
    }[extension]
    head, body = text[:300].replace("1.0\n", "1;0\n"), text[300:]
    data = (head.replace(".", ",") + body.replace(".", ",")).replace("1;0\n", "1.0\n").encode()
    assert "decimal comma" in refusal(saved(tmp_path, f"a.{extension}", data))


@pytest.mark.parametrize("extension", ["glb", "ply", "obj", "stl", "off"])
@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>", "web page"),
        (b"\n <HTML lang=en><body>404</body>", "web page"),
        (b"<!-- saved page --><html></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", "Git LFS pointer"),
        (b"/annex/objects/SHA256E-s1--ab.ply\n", "git-annex pointer"),
        (b"PK\x03\x04\x14\0\0\0" + bytes(90), "ZIP archive"),
        (b"\x1f\x8b\x08\0" + bytes(90), "gzip"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(90), "7z archive"),
        (b'{"message": "Not Found"}', "JSON text"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML text"),
        (b"\x89PNG\r\n\x1a\n" + bytes(90), "PNG picture"),
        (bytes(3000), "nothing but zeros"),
        (b"\x00\x05\x16\x07" + bytes(90), "macOS"),
        ("v 1 2 3 # a point\n".encode("utf-16"), "UTF-16"),
        (b"solid x\nfacet", ""),
    ],
)
def test_what_a_file_really_is_is_named(tmp_path: Path, extension: str, content: bytes, cause: str) -> None:
    assert cause in refusal(saved(tmp_path, f"a.{extension}", content))


def test_a_scan_under_the_name_of_another_format_is_refused_with_its_own(tmp_path: Path) -> None:
    assert "rename it to .ply" in refusal(saved(tmp_path, "a.obj", ball_ply()))
    assert "rename it to .glb" in refusal(saved(tmp_path, "a.stl", b"glTF\2\0\0\0" + bytes(90)))
