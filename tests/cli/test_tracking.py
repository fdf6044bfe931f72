"""`imhead track`: what it writes, and how it says no."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imhead import load
from imhead.io.live_link import read_take
from imhead.io.scan_file import read_geometry

DEMO_SCAN = Path(__file__).resolve().parents[2] / "src" / "imhead" / "assets" / "demo_scan.ply"
Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda folder: folder / "none", "is no folder"),
        (lambda folder: folder, "holds no scan"),
        (lambda folder: DEMO_SCAN, "is no folder"),
    ],
)
def test_a_folder_without_frames_is_refused(run: Run, tmp_path: Path, make: Callable[[Path], Path], word: str) -> None:
    (tmp_path / "frames").mkdir()
    outcome = run("track", make(tmp_path / "frames"), "--out", tmp_path / "out")
    assert outcome.code == 2 and outcome.out == ""
    assert word in outcome.err.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_an_unknown_unit_is_refused(run: Run, tmp_path: Path) -> None:
    outcome = run("track", tmp_path, "--out", tmp_path / "out", "--units", "ell")
    assert outcome.code == 2 and "ell" in outcome.err


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_track_writes_a_take_an_animation_a_strip_and_a_report(run: Run, tmp_path: Path) -> None:
    frames, out = tmp_path / "frames", tmp_path / "out"
    frames.mkdir()
    for number in (1, 2, 10):
        shutil.copy(DEMO_SCAN, frames / f"frame_{number}.ply")
    outcome = run("track", frames, "--out", out, "--keyframes", 1, "--no-detail", "--json")
    assert outcome.code == 0, outcome.err
    said = json.loads(outcome.out)
    report = json.loads((out / "report.json").read_text())
    assert [frame["name"] for frame in report["frames"]] == ["frame_1.ply", "frame_2.ply", "frame_10.ply"]
    assert said == {"out": str(out)} | report and report["found"] == 3 and report["bridged"] == []
    take = read_take(out / "take.csv")
    assert take.weights.shape == (3, 52)
    assert read_geometry(out / "animated.glb").faces is not None
    assert Image.open(out / "strip.png").width > 500
    head = load(device="cpu").open(out / "head.safetensors")
    assert not head.codes.z_exp.any()
