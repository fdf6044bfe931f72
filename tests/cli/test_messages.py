"""What a stranger's file or a strange path holds never reaches the screen raw, and never breaks a command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

import imhead
from imhead.checkpoint import Model, load_head, save_head

Run = Callable[..., Any]
EVIL = "[red]\x1b[2J\u202e[/bold]\r\n"


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch, model: Model) -> None:
    monkeypatch.setattr(imhead, "load", lambda name, device: imhead.MorphableModel(model))


def assert_tame(text: str) -> None:
    """Lines that print, none of them long."""
    for line in text.splitlines():
        assert line.isprintable() and len(line) <= 1000
    assert "\x1b" not in text and "\u202e" not in text


@pytest.mark.parametrize("name", ["[red]a[/bold]", EVIL, "\udcff", ":nose:", "a" * 240])
def test_a_head_is_edited_whatever_its_path_is_called(run: Run, model: Model, tmp_path: Path, name: str) -> None:
    before, after = tmp_path / f"{name}.safetensors", tmp_path / f"{name}2.safetensors"
    save_head(model.neutral(), before)
    outcome = run("edit", before, "--region", "nose", "--sample", 1, "--out", after, "--json")
    assert outcome.code == 0, outcome.err
    assert after.is_file() and json.loads(outcome.out)["out"] == str(after)
    assert_tame(outcome.out + outcome.err)
    outcome = run("edit", before, "--region", "noze", "--sample", 1, "--out", after)
    assert outcome.code == 2
    assert_tame(outcome.err)


def test_the_provenance_of_a_strangers_head_is_tamed_when_it_is_opened(run: Run, model: Model, tmp_path: Path) -> None:
    lines = (EVIL, *("x" * 10**6 for _ in range(3)), *(f"step {k}" for k in range(5000)))
    save_head(replace(model.neutral(), provenance=lines), tmp_path / "head.safetensors")
    opened = load_head(tmp_path / "head.safetensors", model).provenance
    assert len(opened) == 1000 and opened[0].startswith("[red]\\x1b") and opened[-1] == "step 4999"
    assert_tame("\n".join(opened))
    outcome = run(
        "edit", tmp_path / "head.safetensors", "--region", "nose", "--sample", 1, "--out", tmp_path / "o.safetensors",
        "--json",
    )  # fmt: skip
    assert outcome.code == 0
    assert_tame(outcome.err)
    assert_tame("\n".join(json.loads(outcome.out)["provenance"]))


def test_a_head_of_a_model_with_an_evil_name_is_refused_in_one_line(run: Run, model: Model, tmp_path: Path) -> None:
    stranger = replace(model.neutral(), model_id=EVIL + "y" * 10**6, model_hash="\x1b" * 10**5)
    save_head(stranger, tmp_path / "head.safetensors")
    outcome = run("measure", tmp_path / "head.safetensors")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"imhead: {tmp_path}") and "--model" in line
    assert_tame(outcome.err)


@pytest.mark.parametrize("direction", ["--5", "-1", "999", "²", "9" * 5000, "1e308", "", "wídér"])
def test_a_direction_that_is_none_is_refused(run: Run, model: Model, tmp_path: Path, direction: str) -> None:
    save_head(model.neutral(), tmp_path / "head.safetensors")
    words = ("--region", "nose", f"--direction={direction}", "--out", tmp_path / "o.safetensors")
    outcome = run("edit", tmp_path / "head.safetensors", *words)
    assert outcome.code == 2 and len(outcome.err.splitlines()) == 1
    assert_tame(outcome.err)


@pytest.mark.parametrize(
    "option",
    [
        "--sample=-1", "--sample=1e308", f"--sample={10**30}", "--plausible=nan", "--plausible=-1e308", "--target==",
        "--target=tip_projection=1e308mm", "--target=tip_projection=nan", "--target=tip_projection=-infmm", "--blend==",
        "--blend=HEAD=nan", "--blend=HEAD=-1", "--blend=HEAD=1e308", "--symmetry=", "--symmetry=up", "--from=",
        "--from=/", "--from=/dev/null", "--sample=1 --strength=nan", "--sample=1 --strength=-1e308",
    ],
)  # fmt: skip
def test_an_odd_value_of_an_option_is_one_line(run: Run, model: Model, tmp_path: Path, option: str) -> None:
    head = tmp_path / "head.safetensors"
    save_head(model.neutral(), head)
    words = option.replace("HEAD", str(head)).split()
    outcome = run("edit", head, "--region", "nose", *words, "--out", tmp_path / "o.safetensors")
    assert outcome.code == 2 and outcome.out == "", outcome.err
    (line,) = outcome.err.splitlines()
    assert line.startswith("imhead: ")
    assert_tame(line)
    assert not (tmp_path / "o.safetensors").exists()


def test_the_same_edit_writes_the_same_bytes(run: Run, model: Model, tmp_path: Path) -> None:
    save_head(model.neutral(), tmp_path / "head.safetensors")
    for k in range(3):
        words = ("--region", "nose", "--sample", 1, "--out", tmp_path / f"{k}.safetensors")
        assert run("edit", tmp_path / "head.safetensors", *words).code == 0
    first, *others = ((tmp_path / f"{k}.safetensors").read_bytes() for k in range(3))
    assert all(other == first for other in others)
    with safe_open(tmp_path / "0.safetensors", framework="np") as opened:
        assert list(opened.metadata()) and "sampled with seed 1" in opened.metadata()["provenance"]


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(*_: object) -> None:
        raise AssertionError("the model was opened")

    monkeypatch.setattr(imhead, "load", too_late)
    (tmp_path / "file").write_text("in the way")
    below = tmp_path / "file" / "out"
    for words in (
        ("edit", "h", "--region", "nose", "--sample", 1, "--out", below / "o.safetensors"),
        ("mesh", "h", "--out", below / "o.ply"),
        ("compare", "a", "b", "--out", below),
        ("sample", "--out", below),
        ("fit", "a.ply", "--out", below),
    ):
        outcome = run(*words)
        assert outcome.code == 2 and "is a file" in outcome.err, words
        assert_tame(outcome.err)
