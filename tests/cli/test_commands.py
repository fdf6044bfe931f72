"""The command line as its users meet it: what it writes, what it prints, and how it says no."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from safetensors.torch import load_file, save_file

from imhead import load
from imhead.checkpoint import HEAD_FORMAT, load_model

DEMO_SCAN = Path(__file__).resolve().parents[2] / "src" / "imhead" / "assets" / "demo_scan.ply"


Run = Callable[..., Any]


@pytest.fixture(scope="module")
def head_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("heads") / "head.safetensors"
    load(device="cpu").sample(1, seed=3)[0].save(path)
    return path


def assert_refused(outcome: Any, *words: str) -> None:
    """Exit 2, and a last line on stderr that names what is wrong; nothing on stdout."""
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    last = outcome.err.strip().splitlines()[-1]
    assert last.startswith("imhead: "), outcome.err
    for word in words:
        assert word in last, last


def test_regions_lists_39_regions_as_one_json_object(run: Run) -> None:
    outcome = run("regions", "--json")
    table = json.loads(outcome.out)
    assert outcome.code == 0 and len(table["regions"]) == 39
    assert {"nose", "mouth", "eyes", "ears"} <= set(table["groups"])


def test_sample_writes_heads_meshes_and_a_contact_sheet(run: Run, tmp_path: Path) -> None:
    outcome = run("sample", "-n", 2, "--seed", 1, "--resolution", 64, "--out", tmp_path / "heads", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["heads"] == ["head_000.ply", "head_001.ply"]
    names = {path.name for path in (tmp_path / "heads").iterdir()}
    assert names == {
        "head_000.safetensors", "head_001.safetensors", "head_000.ply", "head_001.ply", "contact_sheet.png",
    }  # fmt: skip


@pytest.mark.parametrize("how", [("--sample", 7), ("--direction", 0)])
def test_an_edit_of_the_nose_is_told_in_the_new_head(
    run: Run, head_file: Path, tmp_path: Path, how: tuple[str, int]
) -> None:
    out = tmp_path / "edited.safetensors"
    outcome = run("edit", head_file, "--region", "nose", *how, "--strength", 1.5, "--out", out, "--json")
    assert outcome.code == 0, outcome.err
    said = json.loads(outcome.out)
    assert said["regions"] == ["left_nostril", "right_nostril", "nose_bridge", "nose_tip"]
    model = load_model("default")
    before, after = load_file(head_file), load_file(out)
    changed = (before["offsets"] != after["offsets"]).any(dim=1).nonzero().flatten().tolist()
    assert len(changed) == 4 and torch.equal(before["z_id"], after["z_id"])
    assert model.name in str(load(device="cpu").open(out).codes.model_id)


@pytest.mark.parametrize("suffix", ["ply", "obj", "stl", "glb"])
def test_a_mesh_is_written_in_every_format_at_the_size_of_a_head(
    run: Run, head_file: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"head.{suffix}"
    outcome = run("mesh", head_file, "--out", out, "--resolution", 48, "--expression", "jawOpen=0.4")
    assert outcome.code == 0, outcome.err
    mesh = trimesh.load(out, force="mesh")
    height = mesh.extents[1] * (1000.0 if suffix == "glb" else 1.0)
    assert 250.0 < height < 420.0


def test_compare_says_what_moved_and_that_nothing_moved_outside(run: Run, head_file: Path, tmp_path: Path) -> None:
    edited = tmp_path / "edited.safetensors"
    assert run("edit", head_file, "--region", "nose", "--sample", 2, "--strength", 2, "--out", edited).code == 0
    outcome = run(
        "compare", head_file, edited, "--region", "nose", "--resolution", 96, "--out", tmp_path / "report", "--json"
    )
    assert outcome.code == 0, outcome.err
    movement = json.loads(outcome.out)["movement_mm"]
    assert movement["inside"]["max"] > 0.3
    assert movement["outside"]["max"] == 0.0
    assert {p.name for p in (tmp_path / "report").iterdir()} == {"report.json", "report.html", "heatmap.png"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("edit", "HEAD", "--region", "noze", "--sample", 1, "--out", "o.safetensors"), ("noze", "nose")),
        (("edit", "HEAD", "--region", "nose", "--out", "o.safetensors"), ("exactly one",)),
        (("edit", "HEAD", "--region", "nose", "--direction", 999, "--out", "o.safetensors"), ("999",)),
        (("edit", "HEAD", "--region", "nose", "--sample", 1, "--out", "o.txt"), ("o.txt", ".safetensors")),
        (("mesh", "HEAD", "--out", "head.xyz"), (".xyz",)),
        (("mesh", "HEAD", "--out", "h.ply", "--expression", "jawOpn=1"), ("jawOpn", "jawOpen")),
        (("mesh", "HEAD", "--out", "h.ply", "--expression", "jawOpen=much"), ("NAME=WEIGHT",)),
        (("mesh", "HEAD", "--out", "h.ply", "--expression", "jawOpen=3"), ("0 to 1",)),
        (("mesh", "HEAD", "--out", "h.ply", "--resolution", 4), ("resolution",)),
        (("mesh", "nowhere.safetensors", "--out", "h.ply"), ("nowhere.safetensors",)),
        (("mesh", "HEAD", "--out", "h.ply", "--model", "nosuch"), ("nosuch",)),
        (("fit", "nowhere.ply", "--out", "fits"), ("nowhere.ply",)),
        (("fit", "SCAN", "--out", "fits", "--units", "miles"), ("miles",)),
        (("eval", "--suite", "nothing"), ("nothing",)),
        (("train", "nosuch", "--data", "x", "--out", "y"), ("nosuch",)),
    ],
)
def test_a_mistake_gets_one_line_that_names_it(
    run: Run, head_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...],
    expected: tuple[str, ...],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    known = {"HEAD": head_file, "SCAN": DEMO_SCAN}
    assert_refused(run(*(known.get(str(word), word) for word in words)), *expected)
    assert not list(tmp_path.glob("**/*.ply"))


def _ply(path: Path, vertices: np.ndarray, faces: np.ndarray) -> Path:
    trimesh.Trimesh(vertices, faces, process=False).export(path)
    return path


def _bad_scans(folder: Path) -> dict[str, tuple[Path, str]]:
    demo = trimesh.load(DEMO_SCAN, process=False)
    vertices, faces = np.asarray(demo.vertices), np.asarray(demo.faces)
    rng = np.random.default_rng(0)
    bad: dict[str, tuple[Path, str]] = {}

    def put(name: str, content: bytes, word: str) -> None:
        (folder / f"{name}.ply").write_bytes(content)
        bad[name] = (folder / f"{name}.ply", word)

    put("empty", b"", "empty")
    put("text", b"this is no scan at all\n" * 50, "PLY")
    with_nan = vertices.copy()
    with_nan[5] = np.nan
    bad["nan"] = (_ply(folder / "nan.ply", with_nan, faces), "NaN")
    out_of_range = faces.copy()
    out_of_range[0, 0] = len(vertices) + 5
    header = DEMO_SCAN.read_bytes()
    rows = np.zeros(len(faces), dtype=[("n", "u1"), ("i", "<i4", 3)])
    rows["n"], rows["i"] = 3, out_of_range
    head, _, body = header.partition(b"end_header\n")
    put("index", head + b"end_header\n" + body[: 12 * len(vertices)] + rows.tobytes(), "index")
    put("count", header.replace(b"element face %d" % len(faces), b"element face 999999999"), "face")
    put("cut", header[: len(header) // 2], "cut")
    ten = rng.normal(size=(10, 3))
    put("ten", trimesh.PointCloud(ten).export(file_type="ply"), "10 points")
    cube = trimesh.creation.box((180.0, 180.0, 180.0)).subdivide().subdivide().subdivide().subdivide()
    bad["cube"] = (_ply(folder / "cube.ply", cube.vertices, cube.faces), "face")
    beside = np.concatenate([vertices, vertices + [0.0, 0.0, 60.0]])
    both = np.concatenate([faces, faces + len(vertices)])
    bad["two"] = (_ply(folder / "two.ply", beside, both), "two")
    bad["cut"] = (bad["cut"][0], "")
    return bad


BAD_SCANS = ["empty", "text", "nan", "index", "count", "cut", "ten", "cube", "two"]


@pytest.fixture(scope="module")
def bad_scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    return _bad_scans(tmp_path_factory.mktemp("bad"))


@pytest.mark.parametrize("kind", BAD_SCANS)
def test_a_scan_that_is_no_head_is_refused_with_one_line(
    run: Run, tmp_path: Path, bad_scans: dict[str, tuple[Path, str]], kind: str
) -> None:
    path, word = bad_scans[kind]
    outcome = run("fit", path, "--out", tmp_path / "fits")
    assert_refused(outcome, path.name, word)
    assert not (tmp_path / "fits").exists()


def test_a_head_of_another_model_is_refused(run: Run, head_file: Path, tmp_path: Path) -> None:
    tensors = load_file(head_file)
    other = tmp_path / "other.safetensors"
    metadata = {"format": HEAD_FORMAT, "model": "stranger", "model_hash": "0" * 16, "provenance": "[]"}
    save_file(tensors, other, metadata)
    assert_refused(run("mesh", other, "--out", tmp_path / "h.ply"), "stranger", "--model")


def test_a_truncated_or_poisoned_head_is_refused(run: Run, head_file: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(head_file.read_bytes()[:-100])
    assert_refused(run("mesh", cut, "--out", tmp_path / "h.ply"), "cut.safetensors", "damaged")
    model = load_model("default")
    tensors = load_file(head_file)
    tensors["z_id"][3] = float("nan")
    poisoned = tmp_path / "poisoned.safetensors"
    metadata = {"format": HEAD_FORMAT, "model": model.name, "model_hash": model.hash, "provenance": "[]"}
    save_file(tensors, poisoned, metadata)
    assert_refused(run("mesh", poisoned, "--out", tmp_path / "h.ply"), "poisoned.safetensors", "NaN")


def test_a_pickle_offered_as_a_model_is_never_opened(run: Run, head_file: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    raw = tmp_path / "model.safetensors"
    raw.write_bytes(pickle.dumps(Bomb()))
    assert_refused(run("mesh", head_file, "--out", tmp_path / "h.ply", "--model", raw), "pickle")
    torch.save({"a": torch.zeros(2)}, tmp_path / "model.pt")
    assert_refused(run("mesh", head_file, "--out", tmp_path / "h.ply", "--model", tmp_path / "model.pt"), "pickle")
    assert not (tmp_path / "ran").exists()


def test_fit_of_the_shipped_scan_finds_its_head(run: Run, tmp_path: Path) -> None:
    outcome = run("fit", DEMO_SCAN, "--out", tmp_path, "--resolution", 128, "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert report["status"] == "done" and not (tmp_path / "summary.csv").exists()
    assert report["units"] == "cm" and not report["scale_assumed"]
    assert report["scan_to_head_face_mm"]["median"] < 0.5
    assert report["explained_fraction"] > 0.9
    assert report["identity_sigma"] < 1.3
    folder = tmp_path / "demo_scan"
    names = {"head.safetensors", "head.ply", "overlay.ply", "report.json", "report.png", "sigma.png"}
    assert 0.0 < report["sigma_mm"]["measured"]["median"] < report["sigma_mm"]["inferred"]["median"]
    assert {path.name for path in folder.iterdir()} == names
    overlay, scan = trimesh.load(folder / "overlay.ply"), trimesh.load(DEMO_SCAN)
    low, high = overlay.bounds[0] - 0.5, overlay.bounds[1] + 0.5
    assert ((scan.vertices > low) & (scan.vertices < high)).all(axis=1).mean() > 0.95
    assert json.loads((folder / "report.json").read_text())["pose"] == report["pose"]
