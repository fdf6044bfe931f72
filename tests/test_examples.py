"""The examples run as they are written."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from imhead.io.mesh_file import read_mesh
from imhead.io.scan_file import read_scan

ROOT = Path(__file__).resolve().parents[1]


def test_a_held_out_head_is_scanned_into_a_file_that_can_be_read(ict_path: Path, tmp_path: Path) -> None:
    runpy.run_path(str(ROOT / "examples" / "01_virtual_scan.py"))["main"](ict_path, tmp_path / "scan.ply")
    scan = read_scan(tmp_path / "scan.ply")
    assert len(scan.points) > 10_000 and scan.faces is not None


def test_a_scan_is_fitted_and_edited_in_ten_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = runpy.run_path(str(ROOT / "examples" / "02_fit_and_edit.py"))["main"]
    run(ROOT / "src" / "imhead" / "assets" / "demo_scan.ply", tmp_path, 64)
    assert len(read_mesh(tmp_path / "after.ply").faces) > 1000
    assert "nose_tip" in capsys.readouterr().out
