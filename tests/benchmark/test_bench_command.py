"""`imhead bench`, and the page of its figures."""

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
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    config = replace(QUICK, runs=1, heads=1, regions=1)
    return run_benchmarks(load_model("default", "cpu"), ["mesh", "remesh", "train"], config, lambda text: None)


def write_figures(results: Path, rows: list[dict[str, Any]], device: str = "") -> None:
    """Write rows to the files that the page reads."""
    for name in NAMES:
        of_name = [row for row in rows if row["name"].partition("_")[0] == name]
        if of_name:
            (results / f"bench_{name}{device}.json").write_text(json.dumps({"rows": of_name}))


def page(results: Path) -> str:
    written: str = runpy.run_path(str(PAGE))["page"](results, load_model("default", "cpu").hash)
    return written


def test_json_goes_to_stdout_and_progress_to_stderr(bench: Bench) -> None:
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


def test_the_page_shows_the_figures_and_that_no_gpu_was_measured(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    write_figures(tmp_path, rows)
    text = page(tmp_path)
    by_name = {row["name"]: row for row in rows}
    assert f"{by_name['mesh']['evaluations']:,}" in text and by_name["remesh_largest"]["region"] in text
    assert f"{by_name['train']['ratio']:,.1f}" in text
    assert text.rstrip().endswith("Not measured.")


def test_the_page_names_what_was_not_measured_and_the_load_of_the_machine(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    write_figures(tmp_path, [{**row, "load": 7.25} for row in rows if row["name"] == "train"])
    text = page(tmp_path)
    assert "| Fit of a scan | not measured |" in text and "| Whole mesh | not measured |" in text
    assert "## Fit of a scan\nNot measured." in text and "## Training step\nNot measured." not in text
    assert "before: 7.2 (average" in text


def test_the_page_shows_unequal_results(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    wrong = [{**row, "equal_to_reference": False} for row in rows]
    write_figures(tmp_path, wrong)
    assert page(tmp_path).count("**no**") >= len(rows)


def test_the_page_marks_figures_of_other_weights(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    write_figures(tmp_path, rows)
    assert "other weights" not in page(tmp_path) and "measured anew" not in page(tmp_path)
    write_figures(tmp_path, [{**row, "model_hash": "0" * 16} for row in rows if row["name"] == "train"])
    assert "| Training step (other weights) |" in page(tmp_path)
    assert page(tmp_path).count("to be measured anew") == 1


def test_figures_of_a_gpu_have_their_own_section(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    write_figures(tmp_path, rows)
    on_gpu = [{**row, "device": "cuda", "chip": "some GPU"} for row in rows]
    write_figures(tmp_path, on_gpu, "_cuda")
    assert "some GPU" in page(tmp_path).partition("# On a GPU")[2]


@pytest.mark.slow
def test_all_benchmarks_run_and_make_a_page(bench: Bench, tmp_path: Path) -> None:
    code, out, err = bench("--quick", "--json")
    assert code == 0, err
    assert [r["name"] for r in json.loads(out)["rows"]] == ["mesh", "remesh_median", "remesh_largest", "fit", "train"]
    write_figures(tmp_path, json.loads(out)["rows"])
    assert "plain Adam" in page(tmp_path)
