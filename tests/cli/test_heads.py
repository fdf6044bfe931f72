"""The commands of measurements and of edits by number: what they print for a program, and what they write."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from safetensors.numpy import load_file

from imhead import load
from imhead.checkpoint import save_head
from imhead.conventions import ASSUMED_SCALE
from imhead.measure import population
from imhead.reports import comparison

_SHIPPED = population._shipped()
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def head_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    opened = load(device="cpu")
    if not opened.has_template:
        pytest.skip("the shipped model has no template yet: imhead train writes it, copy it beside the model")
    path = tmp_path_factory.mktemp("heads") / "head.safetensors"
    opened.sample(1, seed=3)[0].save(path)
    return path


def test_measure_prints_every_measurement_with_its_unit_as_one_json_object(run: Run, head_file: Path) -> None:
    code, out, _ = run("measure", head_file, "--json")
    rows = json.loads(out)["measurements"]
    assert code == 0 and len(rows) >= 30
    assert rows["tip_projection"]["unit"] == "mm" and 12.0 < rows["tip_projection"]["value"] < 30.0
    assert rows["nasolabial_angle"]["unit"] == "degrees" and rows["nose_volume"]["unit"] == "ml"


def test_measure_says_where_a_head_stands_among_those_of_the_model_and_that_this_is_no_norm(
    run: Run, head_file: Path, assumed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = load(device="cpu").model
    monkeypatch.setattr(population, "_shipped", lambda: replace(_SHIPPED, model_hash=shipped.hash))
    told = json.loads(run("measure", head_file, "--json")[1])
    rows, among = told["measurements"], told["population"]
    spread = _SHIPPED.measurements["tip_projection"]
    assert rows["tip_projection"]["z_model"] == pytest.approx(
        (rows["tip_projection"]["value"] - spread.mean) / spread.sd
    )
    assert "no norm of people" in among["statement"] and among["heads"] == _SHIPPED.heads
    assert abs(among["z_of_size"]) < 5.0 and all(abs(row["z_at_size"]) < 8.0 for row in rows.values())
    assumed = json.loads(run("measure", assumed_file, "--json")[1])
    assert assumed["measurements"]["tip_projection"]["z_model"] is None and assumed["population"]["z_of_size"] is None
    monkeypatch.setattr(population, "_shipped", lambda: replace(_SHIPPED, model_hash="another"))
    assert "no z" in run("measure", head_file)[1]


@pytest.fixture(scope="module")
def assumed_file(head_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same head, as a fit to a scan of unknown unit would leave it."""
    path = tmp_path_factory.mktemp("assumed") / "assumed.safetensors"
    opened = load(device="cpu")
    save_head(replace(opened.open(head_file).codes, scale_assumed=True), path)
    return path


def test_measurements_of_a_head_of_assumed_scale_say_so(run: Run, head_file: Path, assumed_file: Path) -> None:
    for path, assumed in ((head_file, False), (assumed_file, True)):
        told = json.loads(run("measure", path, "--json")[1])
        assert told["scale_assumed"] is assumed and told["warnings"] == [ASSUMED_SCALE] * assumed
    assert f"warning: {ASSUMED_SCALE}" in run("measure", assumed_file)[1].splitlines()


def test_a_mesh_of_a_head_of_assumed_scale_says_so_in_the_file_and_to_the_caller(
    run: Run, assumed_file: Path, tmp_path: Path
) -> None:
    _, out, err = run("mesh", assumed_file, "--out", tmp_path / "h.ply", "--resolution", 32, "--json")
    assert json.loads(out)["scale_assumed"] is True and ASSUMED_SCALE in err
    assert ASSUMED_SCALE.encode() in (tmp_path / "h.ply").read_bytes()[:1000]


def test_edits_and_comparisons_keep_the_doubt_about_the_scale(
    run: Run, head_file: Path, assumed_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "_comparison_rows", lambda *_: [[np.zeros((8, 8, 3), dtype=np.uint8)]] * 3)
    monkeypatch.setattr(comparison, "_turning", lambda *_: [Image.new("RGB", (72, 8))] * 3)
    own, mixed = tmp_path / "own.safetensors", tmp_path / "mixed.safetensors"
    _, out, _ = run("edit", assumed_file, "--region", "nose", "--sample", 1, "--out", own, "--json")
    assert json.loads(out)["scale_assumed"] is True
    run("edit", head_file, "--region", "nose", "--blend", f"{own}=0.5", "--out", mixed)
    assert json.loads(run("measure", mixed, "--json")[1])["scale_assumed"] is True
    _, out, err = run("compare", head_file, mixed, "--out", tmp_path / "c", "--resolution", 32, "--json")
    assert json.loads(out)["scale_assumed"] is True and f"mixed: {ASSUMED_SCALE}" in err


def test_an_edit_by_number_says_what_was_reached_and_measures_so(run: Run, head_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "edited.safetensors"
    target = ("--target", "tip_projection=-1.5mm")
    code, said, _ = run("edit", head_file, "--region", "nose", *target, "--out", out, "--json")
    assert code == 0
    told = json.loads(said)
    assert told["targets"]["tip_projection"]["change"] == pytest.approx(-1.5, abs=0.1)
    assert max(abs(row["change"]) for row in told["held"].values()) < 0.3
    before, after = (json.loads(run("measure", path, "--json")[1])["measurements"] for path in (head_file, out))
    assert after["tip_projection"]["value"] - before["tip_projection"]["value"] == pytest.approx(-1.5, abs=0.1)
    changed = np.flatnonzero((load_file(head_file)["offsets"] != load_file(out)["offsets"]).any(axis=1))
    assert len(changed) == 4


@pytest.mark.parametrize(
    ("target", "word"),
    [
        ("tip_projektion=-2mm", "tip_projection"),
        ("tip_projection=-2degrees", "measured in mm"),
        ("tip_projection=less", "for example tip_projection=-2mm"),
        ("left_ear_length=+1mm", "edit left_ear"),
    ],
)
def test_a_target_that_is_none_gets_one_line(run: Run, head_file: Path, tmp_path: Path, target: str, word: str) -> None:
    out = tmp_path / "edited.safetensors"
    code, said, error = run("edit", head_file, "--region", "nose", "--target", target, "--out", out)
    assert code == 2 and said == "" and word in error.strip().splitlines()[-1]
    assert not out.exists()


def test_the_same_word_and_a_number_are_both_directions(run: Run, head_file: Path, tmp_path: Path) -> None:
    for direction in ("wider", "0"):
        out = tmp_path / f"{direction}.safetensors"
        code, said, _ = run("edit", head_file, "--region", "nose", "--direction", direction, "--out", out, "--json")
        told = json.loads(said)
        assert code == 0 and direction in told["provenance"][-1]
        assert told["asked_sigma"] == 1.0 and (told["reached_sigma"] == 1.0 or told["stopped"])


def test_a_blend_and_a_symmetric_head_are_written(run: Run, head_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    load(device="cpu").sample(1, seed=4)[0].save(other)
    for kind in (("--blend", f"{other}=0.4"), ("--symmetry", "left"), ("--plausible", 0.5)):
        out = tmp_path / "out.safetensors"
        code, said, error = run("edit", head_file, "--region", "ears", *kind, "--out", out, "--json")
        assert code == 0, error
        assert load_file(out)["offsets"].any() and json.loads(said)["regions"]


def test_compare_tells_measurements_and_volumes_of_regions(run: Run, head_file: Path, tmp_path: Path) -> None:
    edited = tmp_path / "edited.safetensors"
    assert run("edit", head_file, "--region", "nose", "--sample", 2, "--strength", 1.5, "--out", edited)[0] == 0
    words = ("compare", head_file, edited, "--region", "nose", "--resolution", 64, "--out", tmp_path / "r", "--json")
    code, out, error = run(*words)
    assert code == 0, error
    told = json.loads(out)
    changes = {row["name"]: row["change"] for row in told["measurements"]}
    assert abs(changes["tip_projection"]) + abs(changes["nasal_length"]) > 0.2
    assert changes["left_ear_length"] == 0.0 and changes["bigonial_width"] == 0.0
    volumes = told["volume_by_region_ml"]
    assert abs(volumes["nose_tip"]) + abs(volumes["nose_bridge"]) > 0.02
    assert volumes["occiput"] == 0.0
    assert told["movement_mm"]["outside"]["max"] == 0.0


def test_an_edited_head_as_an_stl_is_closed_and_can_be_printed(run: Run, head_file: Path, tmp_path: Path) -> None:
    edited, out = tmp_path / "edited.safetensors", tmp_path / "edited.stl"
    assert run("edit", head_file, "--region", "nose", "--sample", 5, "--strength", 1.5, "--out", edited)[0] == 0
    assert run("mesh", edited, "--out", out, "--resolution", 64)[0] == 0
    mesh = trimesh.load(out, force="mesh")
    _, uses = np.unique(mesh.edges_sorted, axis=0, return_counts=True)
    assert (uses == 2).all(), "an edge that is not shared by two faces is open"
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.body_count == 1
    assert 1e6 < mesh.volume < 2e7  # 1 to 20 litres, so it is in mm and not inside out


def test_a_quantized_glb_is_smaller_and_the_same_head(run: Run, head_file: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.glb" for name in ("floats", "quantized")}
    for name, out in files.items():
        flag = ["--quantized"] if name == "quantized" else []
        assert run("mesh", head_file, "--surface", "template", "--out", out, *flag)[0] == 0
    floats, quantized = (out.read_bytes() for out in files.values())
    assert b'"extensionsRequired":["KHR_mesh_quantization"]' in quantized
    assert b"KHR_mesh_quantization" not in floats
    assert len(quantized) < 0.65 * len(floats)
    assert b'"targetNames":["eyeBlinkLeft"' in quantized


@pytest.mark.parametrize("kind", ["ply", "obj", "stl"])
def test_only_a_glb_can_be_quantized(run: Run, head_file: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"head.{kind}"
    code, said, error = run("mesh", head_file, "--out", out, "--quantized")
    assert code == 2 and said == "" and "only a .glb can be quantized" in error.strip().splitlines()[-1]
    assert not out.exists()
