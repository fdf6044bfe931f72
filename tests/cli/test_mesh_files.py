"""Meshes for other programs: their unit, the axis that points up, the expression, and names that say what a file is."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

import imhead
from imhead.conventions import UNIT_MM
from imhead.io.mesh_file import in_units
from imhead.types import Mesh

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def smiling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head file whose own expression is not neutral."""
    head = imhead.load(device="cpu").sample(seed=3)[0]
    z_exp = np.full_like(head.codes.z_exp, 0.3)
    path = tmp_path_factory.mktemp("heads") / "smiling.safetensors"
    imhead.EditableHead(imhead.Head(head.codes.model_id, head.codes.model_hash, head.codes.z_id, z_exp,
                                    head.codes.offsets), head.model).save(path)  # fmt: skip
    return path


def weights(path: Path) -> list[float]:
    data = path.read_bytes()
    document = json.loads(data[20 : 20 + struct.unpack("<I", data[12:16])[0]])
    found: list[float] = document["meshes"][0]["weights"]
    return found


@given(st.sampled_from(sorted(UNIT_MM)), st.sampled_from("yz"))
def test_a_unit_scales_and_an_axis_turns_and_neither_mirrors(unit: str, up: str) -> None:
    box = trimesh.creation.box((10.0, 20.0, 30.0)).apply_translation((1.0, 2.0, 3.0))
    mesh = Mesh(box.vertices, box.faces)
    found = in_units(mesh, unit, up)
    assert found.to_trimesh().volume * UNIT_MM[unit] ** 3 == pytest.approx(6000.0)  # negative if it were mirrored
    forward, top = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])
    turned = in_units(Mesh(np.stack([forward, top, forward + top]), np.array([[0, 1, 2]])), unit, up).vertices
    wanted = [(0, 0, 1), (0, 1, 0)] if up == "y" else [(0, -1, 0), (0, 0, 1)]
    np.testing.assert_allclose(turned[:2] * UNIT_MM[unit], wanted)


def test_a_mesh_is_written_in_inches_with_z_up(run: Run, smiling: Path, tmp_path: Path) -> None:
    files = {"plain": (), "turned": ("--units", "in", "--up", "z")}
    for name, options in files.items():
        outcome = run("mesh", smiling, "--out", tmp_path / f"{name}.ply", "--resolution", 32, *options)
        assert outcome.code == 0, outcome.err
    plain, turned = (trimesh.load(tmp_path / f"{name}.ply", process=False).vertices for name in files)
    np.testing.assert_allclose(turned * 25.4, plain[:, [0, 2, 1]] * [1, -1, 1], atol=1e-3)
    assert b"comment unit in" in (tmp_path / "turned.ply").read_bytes()[:600].replace(b"unit: in", b"unit in")


def test_a_glb_is_neutral_and_the_other_files_have_the_heads_own_expression(
    run: Run, smiling: Path, tmp_path: Path
) -> None:
    places = {}
    for name, options in {
        "bare.glb": (), "own.glb": ("--expression", "own"), "neutral.glb": ("--expression", "jawOpen=0"), "own.ply": (),
    }.items():  # fmt: skip
        assert run("mesh", smiling, "--out", tmp_path / name, "--resolution", 32, *options).code == 0
        places[name] = trimesh.load(tmp_path / name, force="mesh", process=False).vertices
    np.testing.assert_array_equal(places["bare.glb"], places["neutral.glb"])
    np.testing.assert_allclose(places["own.glb"] * 1000.0, places["own.ply"], atol=1e-2)
    assert places["own.glb"].shape != places["bare.glb"].shape or (places["own.glb"] != places["bare.glb"]).any()


@pytest.mark.slow
def test_an_animated_glb_is_neutral_unless_the_heads_own_expression_is_asked_for(
    run: Run, smiling: Path, tmp_path: Path
) -> None:
    for name, options in {"neutral": (), "own": ("--expression", "own")}.items():
        out = tmp_path / f"{name}.glb"
        assert run("mesh", smiling, "--out", out, "--surface", "template", *options).code == 0
    assert max(weights(tmp_path / "neutral.glb")) == 0.0 < max(weights(tmp_path / "own.glb"))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.glb", ("--up", "z"), "a GLB is in metres with y up"),
        ("a.glb", ("--units", "mm"), "a GLB is in metres with y up"),
        ("a.ply", ("--units", "feet"), "units 'feet' are not known"),
        ("a.ply", ("--up", "x"), "up 'x' is no axis"),
        ("a.ply", ("--topology", "mine", "--surface", "template"), "leave one of them out"),
        ("a.ply", ("--expression", "smile"), "write NAME=WEIGHT"),
        ("a.ply", ("--expression", "own", "--expression", "jawOpen=1"), "write NAME=WEIGHT"),
    ],
)
def test_what_does_not_go_together_is_refused(
    run: Run, smiling: Path, tmp_path: Path, name: str, options: tuple[str, ...], words: str
) -> None:
    outcome = run("mesh", smiling, "--out", tmp_path / name, *options)
    assert outcome.code == 2 and words in outcome.err and not (tmp_path / name).exists()


@pytest.mark.parametrize(("name", "remedy"), [("a.glb", "export"), ("a.STL", "export"), ("a.txt", "rename")])
def test_a_head_is_never_saved_under_the_name_of_something_else(
    smiling: Path, tmp_path: Path, name: str, remedy: str
) -> None:
    head = imhead.load(device="cpu").open(smiling)
    with pytest.raises(imhead.InputError, match=remedy):
        head.save(tmp_path / name)
    assert not (tmp_path / name).exists()
    if remedy == "export":
        head.export(tmp_path / name, imhead.ExportConfig(resolution=32))
        assert len(trimesh.load(tmp_path / name, force="mesh").faces) > 1000
