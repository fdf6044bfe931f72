"""`imhead cohort` and `imhead topology`, from files to files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import imhead
from imhead.cli import main
from imhead.io.obj_polygons import Polygons, polygon_obj, read_polygons

DEMO_SCAN = Path(imhead.__file__).parent / "assets" / "demo_scan.ply"


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["imhead", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_folder_of_heads_and_scans_becomes_a_study_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    people, out = tmp_path / "people", tmp_path / "out"
    for k, head in enumerate(imhead.load(device="cpu").sample(3, seed=1)):
        head.save(people / f"person_{k}" / "head.safetensors")
    (people / "scanned").mkdir()
    (people / "scanned" / "scan.ply").write_bytes(DEMO_SCAN.read_bytes())
    (people / "broken").mkdir()
    (people / "broken" / "scan.ply").write_bytes(b"ply\n")
    assert run(monkeypatch, "cohort", people, "--out", out, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["people"] == 4 and [Path(k["file"]).parent.name for k in report["left_out"]] == ["broken"]
    assert 0.2 < report["measured_fraction"] < 1.0
    fit = next((out / "fits").rglob("report.json"))
    written = fit.stat().st_mtime_ns
    first = (out / "shapes.npz").read_bytes()
    assert run(monkeypatch, "cohort", people, "--out", out, "--json") == 0
    assert fit.stat().st_mtime_ns == written and (out / "shapes.npz").read_bytes() == first


def test_a_cohort_of_whom_hardly_a_file_can_be_used_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("anna", "ben"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "head.safetensors").write_bytes(b"no head")
    assert run(monkeypatch, "cohort", tmp_path, "--out", tmp_path / "out") == 2
    told = capsys.readouterr().err.replace("\n", " ")
    assert "0 can be used" in told and "head.safetensors" in told


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_head_comes_in_the_topology_of_a_users_mesh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    model = imhead.load(device="cpu")
    own = model.neutral().mesh(surface="template")
    # every second face alone would be no mesh of a user; a mesh of triangles with UVs is
    uv = model.template.uv_map
    mine = Polygons(np.full(len(own.faces), 3), own.faces.ravel(), uv.uv, uv.faces.ravel())
    (tmp_path / "mine.obj").write_bytes(polygon_obj(own.vertices / 10.0, mine, {}))
    assert run(monkeypatch, "topology", "learn", tmp_path / "mine.obj", "--name", "mine", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["vertices"] == len(own.vertices) and report["uv"] and report["mesh_to_template_mm"]["median"] < 0.3
    head = model.sample(seed=7)[0]
    head.save(tmp_path / "head.safetensors")
    words = ("mesh", tmp_path / "head.safetensors", "--topology", "mine", "--out")
    assert run(monkeypatch, *words, tmp_path / "x.obj", "--expression", "jawOpen=0.5") == 0
    vertices, polygons = read_polygons(tmp_path / "x.obj")
    for name in ("counts", "corners", "uv_corners"):
        np.testing.assert_array_equal(getattr(polygons, name), getattr(mine, name))
    truth = head.mesh({"jawOpen": 0.5}, surface="template").vertices
    skin = model.template.on_surface > 0.5
    assert np.linalg.norm(vertices - truth, axis=1)[skin].mean() < 1.0
    assert run(monkeypatch, *words[:3], "unknown", "--out", tmp_path / "x.obj") == 2
