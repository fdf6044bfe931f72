"""USD, as phones and studios write it: its own mesh, never another file, and one line where it cannot be read."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tests.io.files import assert_is_ball, ball, refusal, saved
from tests.io.writers import usd_mesh, usda, usdc, usdz, zipped

from imhead.io.scan_file import read_geometry, read_scan

MOVED = 'double3 xformOp:translate = (500, 0, 0)\nuniform token[] xformOpOrder = ["xformOp:translate"]'


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.usda", usda()),
        ("a.usd", usda()),
        ("a.usd", usdc(usda())),
        ("a.usdc", usdc(usda())),
        ("a.usdz", usdz("head.usda", usda())),
        ("a.usdz", usdz("head.usdc", usdc(usda()))),
        ("a.zip", zipped({"scan/a.usdz": usdz("head.usdc", usdc(usda()))})),
    ],
    ids=["text", "usd in text", "usd in binary", "binary", "package of text", "package of binary", "zip"],
)
def test_a_mesh_of_usd_is_the_mesh_it_was_written_from(tmp_path: Path, name: str, data: bytes) -> None:
    assert_is_ball(read_scan(saved(tmp_path, name, data)))


def test_xforms_place_a_mesh_from_the_root_down(tmp_path: Path) -> None:
    assert_is_ball(read_scan(saved(tmp_path, "a.usda", usda(outer=MOVED))), center=500.0)
    turned = (
        "float3 xformOp:rotateXYZ = (90, 0, 90)\nfloat3 xformOp:scale = (2, 2, 2)\n"
        "matrix4d xformOp:transform = ((0.5,0,0,0),(0,0.5,0,0),(0,0,0.5,0),(0,0,0,1))\n"
        'uniform token[] xformOpOrder = ["xformOp:rotateXYZ", "xformOp:scale", "xformOp:transform"]'
    )
    read = read_geometry(saved(tmp_path, "b.usda", usda(outer=turned)))
    x, y, z = ball().vertices.T
    # about x first: (x, -z, y), then about z: (z, x, y)
    np.testing.assert_allclose(read.points, np.stack([z, x, y], axis=1), atol=1e-4)


def test_ops_are_undone_and_stacks_reset_as_their_order_says(tmp_path: Path) -> None:
    pivot = (
        "double3 xformOp:translate:pivot = (1, 2, 3)\nquatf xformOp:orient = (0, 0, 0, 1)\n"
        'uniform token[] xformOpOrder = ["!resetXformStack!", "xformOp:translate:pivot", "xformOp:orient", '
        '"!invert!xformOp:translate:pivot"]'
    )
    read = read_geometry(saved(tmp_path, "a.usda", usda(outer=MOVED, inner=pivot)))
    np.testing.assert_allclose(read.points, ball().vertices * [-1, -1, 1] + [2, 4, 0], atol=1e-4)


def test_what_is_not_seen_is_not_read_and_a_chosen_variant_is(tmp_path: Path) -> None:
    hidden = usd_mesh(ball(), 'uniform token purpose = "guide"', "guide")
    hidden += usd_mesh(ball(), 'token visibility = "invisible"', "hidden")
    chosen = (
        '#usda 1.0\ndef Xform "a" (\nvariants = {\nstring lod = "high"\n}\nprepend variantSets = "lod"\n)\n{\n'
        'variantSet "lod" = {\n"high" {\n' + usd_mesh(ball()) + '}\n"low" {\n' + usd_mesh(ball(1)) + "}\n}\n}\n"
    )
    assert_is_ball(read_scan(saved(tmp_path, "a.usda", usda(beside=hidden))))
    assert_is_ball(read_scan(saved(tmp_path, "b.usda", chosen.encode())))


def test_left_handed_faces_are_turned_and_points_alone_are_a_cloud(tmp_path: Path) -> None:
    mesh = ball()
    inside_out = usda(inner='uniform token orientation = "leftHanded"')
    np.testing.assert_array_equal(read_geometry(saved(tmp_path, "a.usda", inside_out)).faces, mesh.faces[:, ::-1])
    cloud = b'#usda 1.0\ndef Points "p" {\n' + usd_mesh(mesh).partition("point3f")[1].encode()
    cloud += usd_mesh(mesh).partition("point3f")[2].partition("\n")[0].encode() + b"\n}\n"
    read = read_scan(saved(tmp_path, "b.usda", cloud))
    assert read.faces is None and len(read.points) == len(mesh.vertices)


def test_no_other_file_is_opened_and_a_sentence_says_so(tmp_path: Path) -> None:
    saved(tmp_path, "other.usda", usda())
    refers = '#usda 1.0\n(\nsubLayers = [@other.usda@]\n)\ndef "a" (\nreferences = @other.usda@</head>\n)\n{\n}\n'
    said = refusal(saved(tmp_path, "a.usda", refers.encode()))
    assert "holds no mesh" in said
    with_mesh = refers + usd_mesh(ball())
    assert_is_ball(
        read_scan(saved(tmp_path, "b.usda", with_mesh.encode())),
        warnings=["2 prims that refer to others or to other files were not followed."],
    )


def test_a_package_whose_first_layer_refers_to_another_gives_the_mesh_of_that(tmp_path: Path) -> None:
    refers = b'#usda 1.0\ndef "a" (\nreferences = @mesh/b.usdc@\n)\n{\n}\n'
    package = zipped({"a.usda": refers, "mesh/b.usdc": usdc(usda()), "c.png": b""})
    said = "The first layer holds no mesh; that of 'mesh/b.usdc' was read as it is."
    assert_is_ball(read_scan(saved(tmp_path, "a.usdz", package)), warnings=[said])
    assert "holds no mesh" in refusal(saved(tmp_path, "b.usdz", zipped({"a.usda": refers, "b.usda": refers})))


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.97])
@pytest.mark.parametrize("name", ["a.usda", "a.usdc", "a.usdz"])
def test_a_cut_usd_is_refused_in_one_line(tmp_path: Path, name: str, kept: float) -> None:
    whole = {"a.usda": usda(), "a.usdc": usdc(usda()), "a.usdz": usdz("a.usda", usda())}[name]
    refusal(saved(tmp_path, name, whole[: int(kept * len(whole))]))


def test_wrong_values_and_wrong_names_are_refused_with_their_cause(tmp_path: Path) -> None:
    text = usda().decode()
    index = text.replace("faceVertexIndices = [", "faceVertexIndices = [9999").encode()
    assert "points run from 0 to 641" in refusal(saved(tmp_path, "a.usda", index))
    counts = text.replace("faceVertexCounts = [3", "faceVertexCounts = [-3").encode()
    assert "do not agree" in refusal(saved(tmp_path, "b.usda", counts))
    typed = text.replace("int[] faceVertexCounts = [3", 'string[] faceVertexCounts = ["3"').partition("3, 3")[0]
    refusal(saved(tmp_path, "c.usda", typed.encode()))
    assert "rename it to .usdc" in refusal(saved(tmp_path, "a.ply", usdc(usda())))
    assert "rename it to .usda" in refusal(saved(tmp_path, "a.obj", usda()))
    assert "without a USD layer" in refusal(saved(tmp_path, "d.usdz", zipped({"a.png": b""})))
    assert "too deep" in refusal(saved(tmp_path, "e.usda", b"#usda 1.0\n" + b'def "a" {\n' * 1000))


def test_without_the_package_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pxr", None)
    for name, data in (("a.usda", b"#usda 1.0\n"), ("a.usdz", usdz("a.usda", b"#usda 1.0\n"))):
        assert "pip install 'imhead[usd]'" in refusal(saved(tmp_path, name, data))
