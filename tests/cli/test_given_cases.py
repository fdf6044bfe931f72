"""Files that people had trouble with, each through the whole command: what it should say and write."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from imhead.errors import InputError
from imhead.io.scan_file import read_scan

pytestmark = pytest.mark.slow

Run = Callable[..., Any]
QUICK = ("--no-detail", "--resolution", "32", "--json")
_MOST_SECONDS = 5.0  # of processor time, for a file made to do harm


@pytest.fixture(scope="session")
def cases(shared: Path) -> Path:
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip("the folder of shared data holds no cases")
    return folder


def fitted(run: Run, out: Path, *words: object) -> dict[str, Any]:
    """The report of a scan that is fitted."""
    outcome = run("fit", *words, "--out", out, *QUICK)
    assert outcome.code == 0, outcome.err
    (line,) = outcome.out.splitlines()
    report: dict[str, Any] = json.loads(line)
    assert report["pose_probability"] > 0.9 and report["scan_to_head_face_mm"]["median"] < 1.5
    return report


def refused(run: Run, out: Path, *words: object) -> str:
    """The one line of a refusal."""
    outcome = run("fit", *words, "--out", out, *QUICK)
    assert outcome.code == 2
    last = str(outcome.err.strip().splitlines()[-1])
    assert last.isprintable() and len(last) <= 1100 and ";" in last and not out.exists()
    return last


def test_one_file_name_in_two_folders_is_two_fits(run: Run, cases: Path, tmp_path: Path) -> None:
    scans = [cases / "batch_same_stem" / person / "scan.obj" for person in ("p01", "p02")]
    outcome = run("fit", *scans, "--out", tmp_path, "--units", "auto", *QUICK)
    assert outcome.code == 0, outcome.err
    assert {json.loads(line)["out"] for line in outcome.out.splitlines()} == {
        str(tmp_path / person / "scan") for person in ("p01", "p02")
    }


@pytest.mark.parametrize(
    ("case", "file", "words"),
    [("download_is_html", "head.glb", "web page"), ("obj_decimal_comma", "scan.obj", "decimal comma")],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_cause(
    run: Run, cases: Path, tmp_path: Path, case: str, file: str, words: str
) -> None:
    assert words in refused(run, tmp_path / "out", cases / case / file)


@pytest.mark.parametrize(
    ("case", "file", "said"),
    [
        ("glb_skinned_scaled_armature", "scan.glb", ""),
        ("obj_vn_nan_ind", "scan.obj", ""),
        ("ply_cr_line_ends", "scan.ply", ""),
        ("ply_nan_points", "scan.ply", "have no finite coordinates and were left out"),
        ("ply_tristrips", "scan.ply", ""),
        ("stl_ascii_facet_normal_in_name", "scan.stl", ""),
        ("stl_solid_header_trailing_bytes", "scan.stl", "2 bytes after the last facet were left out"),
    ],
)
def test_a_flaw_that_does_no_harm_is_left_out_and_said(
    run: Run, cases: Path, tmp_path: Path, case: str, file: str, said: str
) -> None:
    report = fitted(run, tmp_path / "out", cases / case / file)
    assert not report["scale_assumed"] and report["units"] != "unknown"
    assert said in " ".join(report["warnings"])


def test_a_head_in_a_room_of_metres_is_found(run: Run, cases: Path, tmp_path: Path) -> None:
    scan = cases / "head_in_room" / "scan.ply"
    assert fitted(run, tmp_path / "auto", scan)["units"] == "m"
    assert fitted(run, tmp_path / "named", scan, "--units", "m")["units"] == "m"


def test_the_size_of_a_small_head_survives(run: Run, cases: Path, tmp_path: Path) -> None:
    infant = cases / "small_head_in_mm_070" / "scan.obj"
    for words in ((), ("--units", "mm")):
        report = fitted(run, tmp_path / str(len(words)), infant, *words)
        assert report["units"] == "mm" and not report["scale_assumed"]
    small = cases / "units_inches_small_head" / "scan.obj"
    report = fitted(run, tmp_path / "in", small, "--units", "in")
    assert report["units"] == "in" and not report["scale_assumed"]
    assert fitted(run, tmp_path / "guess", small)["units"] == "in"


def test_the_overlay_of_an_unknown_unit_does_not_call_it_mm(run: Run, cases: Path, tmp_path: Path) -> None:
    report = fitted(run, tmp_path / "out", cases / "overlay_unit_mm_when_unknown" / "scan.obj")
    header = (tmp_path / "out" / "scan" / "overlay.ply").read_bytes()[:2000].partition(b"end_header")[0]
    assert report["units"] != "mm" and b"unit: mm\n" not in header and b"comment unit: " in header


def test_a_mirrored_scan_is_named_and_put_right(run: Run, cases: Path, tmp_path: Path) -> None:
    scan = cases / "mirror_inside_out" / "scan.obj"
    report = fitted(run, tmp_path / "as_is", scan)
    assert any("--mirrored" in warning for warning in report["warnings"])
    assert fitted(run, tmp_path / "right", scan, "--mirrored")["mirrored"]


def test_the_skin_of_a_sculpture_is_not_pierced(run: Run, cases: Path, tmp_path: Path) -> None:
    outcome = run("fit", cases / "pierced_skin" / "scan.ply", "--out", tmp_path, "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["handles"] == 0


def test_our_own_quantized_mesh_is_a_scan(run: Run, tmp_path: Path) -> None:
    assert run("sample", "-n", 1, "--seed", 3, "--out", tmp_path, "--resolution", 32).code == 0
    head, own = next(tmp_path.glob("*.safetensors")), tmp_path / "own.glb"
    assert run("mesh", head, "--resolution", 64, "--quantized", "--out", own).code == 0
    assert fitted(run, tmp_path / "out", own)["units"] == "m"


def test_a_file_made_to_do_harm_is_read_or_refused_in_a_moment_and_then_refused(
    run: Run, cases: Path, tmp_path: Path
) -> None:
    hostile = sorted(path for path in (cases / "hostile").iterdir() if path.suffix != ".md")
    assert hostile
    for path in hostile:
        began = time.process_time()
        if path.suffix in (".safetensors", ".imhead"):
            outcome = run("mesh", path, "--out", tmp_path / "m.ply")
        else:
            with suppress(InputError):
                read_scan(path)
        assert time.process_time() - began < _MOST_SECONDS, path.name
        if path.suffix not in (".safetensors", ".imhead"):  # one that can be read shows no face
            outcome = run("fit", path, "--out", tmp_path / "out", *QUICK)
        assert outcome.code == 2, f"{path.name}: {outcome.err}"
        assert all(line.isprintable() and len(line) <= 1100 for line in outcome.err.strip().splitlines())
