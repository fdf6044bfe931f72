"""`imhead bench`, and the page that is written from what it prints."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from imhead.benchmark.settings import QUICK
from imhead.benchmark.suite import NAMES, run_benchmarks
from imhead.checkpoint import load_model
from imhead.cli import main

PAGE = Path(__file__).resolve().parents[2] / "tools" / "performance.py"
Bench = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Call `imhead bench` in this process: exit code, stdout, stderr."""
    threads = torch.get_num_threads()

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["imhead", "bench", *words])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        finally:
            torch.set_num_threads(threads)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    config = replace(QUICK, runs=1, heads=1, regions=1)
    return run_benchmarks(load_model("default", "cpu"), ["mesh", "remesh", "train"], config, lambda text: None)


def keep(results: Path, rows: list[dict[str, Any]], device: str = "") -> None:
    """Write rows where the page looks for them."""
    for name in NAMES:
        of_name = [row for row in rows if row["name"].partition("_")[0] == name]
        if of_name:
            (results / f"bench_{name}{device}.json").write_text(json.dumps({"rows": of_name}))


def page(results: Path) -> str:
    written: str = runpy.run_path(str(PAGE))["page"](results)
    return written


def test_one_json_object_on_stdout_and_the_progress_on_stderr(bench: Bench) -> None:
    code, out, err = bench("train", "--quick", "--runs", "1", "--threads", "1", "--device", "cpu", "--json")
    assert code == 0, err
    (row,) = json.loads(out)["rows"]
    assert row["name"] == "train" and row["runs"] == 1 and row["threads"] == 1 and row["quick"] is True
    assert "train" in err


@pytest.mark.parametrize(
    ("words", "expected"),
    [(("mash",), "mash"), (("mesh", "--heads", "1", "--reference-heads", "2"), "reference_heads")],
)
def test_a_mistake_gets_one_line_before_anything_runs(bench: Bench, words: tuple[str, ...], expected: str) -> None:
    code, out, err = bench(*words)
    assert code == 2 and out == ""
    assert err.startswith("imhead: ") and expected in err and err.count("\n") == 1


def test_the_page_says_what_the_rows_say_and_that_no_gpu_was_measured(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    keep(tmp_path, rows)
    text = page(tmp_path)
    by_name = {row["name"]: row for row in rows}
    assert f"{by_name['mesh']['evaluations']:,}" in text and by_name["remesh_largest"]["region"] in text
    assert f"{by_name['train']['ratio']:,.1f}" in text
    assert text.rstrip().endswith("Not measured.")


def test_the_page_says_what_was_not_measured_and_how_busy_the_machine_was(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    keep(tmp_path, [{**row, "load": 7.25} for row in rows if row["name"] == "train"])
    text = page(tmp_path)
    assert "| Fit of a scan | not measured |" in text and "| Whole mesh | not measured |" in text
    assert "## Fit\nNot measured." in text and "## Training step\nNot measured." not in text
    assert "7.2 (load average" in text


def test_the_page_shows_where_ours_is_not_equal(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    wrong = [{**row, "equal_to_reference": False} for row in rows]
    keep(tmp_path, wrong)
    assert page(tmp_path).count("**no**") >= len(rows)


def test_a_gpu_has_a_part_of_its_own(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    keep(tmp_path, rows)
    on_gpu = [{**row, "device": "cuda", "chip": "some GPU"} for row in rows]
    keep(tmp_path, on_gpu, "_cuda")
    assert "some GPU" in page(tmp_path).partition("# On a GPU")[2]


@pytest.mark.slow
def test_all_benchmarks_run_and_make_a_page(bench: Bench, tmp_path: Path) -> None:
    code, out, err = bench("--quick", "--json")
    assert code == 0, err
    assert [r["name"] for r in json.loads(out)["rows"]] == ["mesh", "remesh_median", "remesh_largest", "fit", "train"]
    keep(tmp_path, json.loads(out)["rows"])
    assert "plain Adam" in page(tmp_path)
