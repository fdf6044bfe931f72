"""The examples run as they are written."""

from __future__ import annotations

import csv
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import imhead
from imhead.io.mesh_file import read_mesh
from imhead.io.scan_file import read_scan

ROOT = Path(__file__).resolve().parents[1]
DEMO_SCAN = ROOT / "src" / "imhead" / "assets" / "demo_scan.ply"


def example(name: str) -> Callable[..., Any]:
    main: Callable[..., Any] = runpy.run_path(str(ROOT / "examples" / f"{name}.py"))["main"]
    return main


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("head") / "head.safetensors"
    imhead.load(device="cpu").sample(seed=3)[0].save(path)
    return path


def test_a_scan_is_fitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("01_fit")(DEMO_SCAN, tmp_path)
    assert {"head.safetensors", "overlay.ply", "report.png"} <= {path.name for path in tmp_path.iterdir()}
    assert "unit cm" in capsys.readouterr().out


def test_a_head_is_edited_in_six_ways(head: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("02_edit")(head, tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 6
    assert (tmp_path / "compare" / "report.html").is_file()
    assert "moved by 0.0 mm" in capsys.readouterr().out


def test_a_head_is_measured(head: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("03_measure")(head)
    out = capsys.readouterr().out
    assert "alar_width" in out and "pronasale [" in out


def test_a_head_is_animated(head: Path, tmp_path: Path) -> None:
    example("04_animate")(head, tmp_path, 64)
    assert len(read_mesh(tmp_path / "animated.glb").vertices) > 10_000
    assert len(read_mesh(tmp_path / "wink.stl").faces) > 1000


def test_a_model_is_trained_on_a_data_set(ict_path: Path, tmp_path: Path) -> None:
    example("05_train")(ict_path, tmp_path, 6)
    assert len(read_mesh(tmp_path / "drawn.ply").faces) > 1000


def test_a_folder_of_scans_is_fitted_and_a_bad_one_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    shutil.copy(DEMO_SCAN, folder / "good.ply")
    (folder / "bad.obj").write_text("this is no mesh\n", encoding="utf-8")
    example("06_batch")(folder, tmp_path / "out", imhead.FitConfig(resolution=64, detail=False))
    with (tmp_path / "out" / "summary.csv").open(encoding="utf-8") as table:
        bad, good = csv.DictReader(table)
    assert float(good["median_mm"]) < 0.5 and not good["error"]
    assert "bad.obj" in bad["error"] and not bad["median_mm"]


def test_a_held_out_head_is_scanned_into_a_file_that_can_be_read(ict_path: Path, tmp_path: Path) -> None:
    example("07_virtual_scan")(ict_path, tmp_path / "scan.ply")
    scan = read_scan(tmp_path / "scan.ply")
    assert len(scan.points) > 10_000 and scan.faces is not None


def test_a_folder_is_curated_and_what_is_left_out_has_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "bad.obj").write_text("this is no mesh\n", encoding="utf-8")
    example("08_curate")(folder, tmp_path / "out")
    told = capsys.readouterr().out
    assert "scans: 1 of 1" in told and "bad.obj, bad: unreadable" in told
    assert (tmp_path / "out" / "index.html").is_file()
