"""`imhead fit --same-person`, with a fit that takes no time: what is said, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import imhead
from imhead.checkpoint import Model

Run = Callable[..., Any]


@dataclass(frozen=True)
class FakePerson:
    """Writes a report of three scans: of the person, of somebody else, and of no face."""

    files: Sequence[Path]

    def write(self, folder: Path) -> dict[str, Any]:
        folder.mkdir(parents=True)
        figures = {"scan_to_head_mm": {"median": 0.2}, "explained_fraction": 0.9}
        return {
            "scans": [
                {"file": str(self.files[0]), "same_person": True, **figures},
                {"file": str(self.files[1]), "same_person": False, **figures},
                {"file": str(self.files[2]), "same_person": None, "error": "no face was found"},
            ],
            "warnings": ["b: shows somebody else"],
        }


@dataclass(frozen=True)
class FakeModel:
    """Fits nothing."""

    model: Model

    def fit_person(
        self, scans: Sequence[Path], *_: object, progress: Callable[[str, float], None], **__: object
    ) -> Any:
        progress("a", 0.5)
        return FakePerson(scans)


@pytest.fixture
def scans(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(imhead, "load", lambda *_: FakeModel(model))
    return [tmp_path / f"{name}.ply" for name in "abc"]


def test_one_folder_holds_the_person_and_each_scan_is_told(run: Run, scans: list[Path], tmp_path: Path) -> None:
    done = run("fit", *scans, "--same-person", "anna", "--out", tmp_path / "people", "--json")
    assert done.code == 0 and (tmp_path / "people" / "anna").is_dir()
    said = json.loads(done.out)
    assert said["name"] == "anna" and [scan["same_person"] for scan in said["scans"]] == [True, False, None]
    assert "a.ply: same person" in done.err and "b.ply: somebody else" in done.err and "c.ply: left out" in done.err
    assert "warning b: shows somebody else" in done.err


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", " anna", "an\nna", "x" * 200])
def test_a_name_that_is_no_folder_is_refused(run: Run, scans: list[Path], tmp_path: Path, name: str) -> None:
    done = run("fit", *scans, "--same-person", name, "--out", tmp_path / "people")
    assert done.code == 2 and "--same-person" in done.err and not (tmp_path / "people").exists()


@pytest.mark.parametrize("option", [["--mirrored"], ["--skip-existing"], ["--jobs", "2"]])
def test_options_of_single_scans_are_refused(run: Run, scans: list[Path], tmp_path: Path, option: list[str]) -> None:
    done = run("fit", *scans, "--same-person", "anna", "--out", tmp_path / "people", *option)
    assert done.code == 2 and option[0] in done.err
