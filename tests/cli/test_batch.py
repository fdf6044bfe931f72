"""`imhead fit` of many scans, with a fit that takes no time: files, lines, table, and going on after a kill."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import imhead
from imhead.checkpoint import Model, save_head
from imhead.cli import scans as command

Run = Callable[..., Any]
FILES = ("head.ply", "overlay.ply", "report.png")


@dataclass(frozen=True)
class FakeFit:
    """Writes the files of a fit."""

    model: Model
    scan: str

    def keeping_colors(self) -> FakeFit:
        return self

    def write(self, folder: Path) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        save_head(replace(self.model.neutral(), provenance=(self.scan,)), folder / "head.safetensors")
        for name in FILES:
            (folder / name).write_text(self.scan)
        report = {
            "scan_to_head_mm": {"median": 0.2, "mean": 0.25, "p90": 0.5}, "explained_fraction": 0.9, "units": "mm",
            "scale_assumed": False, "mirrored": False, "identity_sigma": 0.8, "seconds": 0.0,
            "warnings": [f"from {self.scan}"], "process": os.getpid(),
        }  # fmt: skip
        (folder / "report.json").write_text(json.dumps(report))
        return report


@dataclass(frozen=True)
class FakeModel:
    """Fits a text: `bad` is refused, `bug` fails, `kill` ends its process, everything else is a head."""

    model: Model
    done: list[str]

    def fit(self, path: Path, *_: object, progress: Callable[[str, float], None], **__: object) -> FakeFit:
        text = path.read_text()
        self.done.append(text)
        progress("pose", 0.5)
        if text == "bad":
            raise imhead.InputError("no face was found; look at the scan")
        if text == "bug":
            raise KeyError("ours")
        if text == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return FakeFit(self.model, text)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch, model: Model) -> FakeModel:
    opened = FakeModel(model, [])
    monkeypatch.setattr(imhead, "load", lambda name, device: opened)
    return opened


@pytest.fixture
def scans(tmp_path: Path) -> Callable[..., list[Path]]:
    """Write scans with these contents, named a, b, …"""

    def write(*contents: str) -> list[Path]:
        (tmp_path / "scans").mkdir(exist_ok=True)
        paths = [tmp_path / "scans" / f"{chr(97 + k)}.ply" for k in range(len(contents))]
        for path, content in zip(paths, contents):
            path.write_text(content)
        return paths

    return write


def lines(outcome: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.out.splitlines()]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_same_file_name_in_two_folders_is_two_fits(run: Run, tmp_path: Path, jobs: int) -> None:
    for person in ("p01", "p02"):
        (tmp_path / person).mkdir()
        (tmp_path / person / "scan.obj").write_text(person)
    given = [tmp_path / person / "scan.obj" for person in ("p01", "p02")]
    outcome = run("fit", *given, "--out", tmp_path / "out", "--jobs", jobs, "--json")
    assert outcome.code == 0, outcome.err
    for person in ("p01", "p02"):
        folder = tmp_path / "out" / person / "scan"
        assert {path.name for path in folder.iterdir()} == {*FILES, "head.safetensors", "report.json"}
        assert (folder / "head.ply").read_text() == person
    assert {line["out"] for line in lines(outcome)} == {str(tmp_path / "out" / p / "scan") for p in ("p01", "p02")}
    assert [(row["folder"], row["status"]) for row in table(tmp_path / "out")] == [
        ("p01/scan", "done"), ("p02/scan", "done")]  # fmt: skip


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_scan_that_is_refused_stops_no_other(run: Run, scans: Any, tmp_path: Path, jobs: int) -> None:
    given = scans("one", "bad", "two", "bad")
    outcome = run("fit", *given, tmp_path / "not_there.ply", "--out", tmp_path / "out", "--jobs", jobs, "--json")
    assert outcome.code == 2
    last = outcome.err.strip().splitlines()[-1]
    assert last.startswith("imhead: 3 of 5 scans") and "summary.csv" in last and "b.ply" in last
    told = {Path(line["scan"]).name: line for line in lines(outcome)}
    assert len(told) == 5
    assert {name for name, line in told.items() if line["status"] == "done"} == {"a.ply", "c.ply"}
    assert "no face was found" in told["b.ply"]["error"] and told["a.ply"]["units"] == "mm"
    rows = table(tmp_path / "out")
    assert [row["status"] for row in rows] == ["done", "refused", "done", "refused", "refused"]
    assert rows[0]["median_mm"] == "0.2" and rows[0]["warnings"] == "from one" and "b.ply" in rows[1]["error"]
    assert not (tmp_path / "out" / "b").exists()


def test_each_process_stays_for_many_scans(run: Run, scans: Any, tmp_path: Path) -> None:
    outcome = run("fit", *scans(*map(str, range(12))), "--out", tmp_path / "out", "--jobs", 2, "--json")
    used = {line["process"] for line in lines(outcome)}
    assert outcome.code == 0 and len(lines(outcome)) == 12
    assert len(used) <= 2 and os.getpid() not in used


def test_several_processes_write_what_one_writes(run: Run, scans: Any, tmp_path: Path) -> None:
    given = scans(*map(str, range(6)))
    for jobs in (1, 3):
        assert run("fit", *given, "--out", tmp_path / str(jobs), "--jobs", jobs).code == 0
    for path in sorted((tmp_path / "1").rglob("*")):
        if path.is_file() and path.name not in ("report.json",):
            other = tmp_path / "3" / path.relative_to(tmp_path / "1")
            assert other.read_bytes() == path.read_bytes(), path


def test_a_line_is_printed_as_soon_as_its_scan_is_done(
    run: Run, scans: Any, tmp_path: Path, fake: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    after: list[int] = []
    monkeypatch.setattr(command, "print_json", lambda line: after.append(len(fake.done)))
    assert run("fit", *scans("one", "two", "three"), "--out", tmp_path / "out", "--json").code == 0
    assert after == [1, 2, 3]


@pytest.mark.parametrize("content", ["bug", "kill"])
def test_a_fault_of_ours_in_one_scan_ends_with_1_and_the_others_are_done(
    run: Run, scans: Any, tmp_path: Path, content: str
) -> None:
    outcome = run("fit", *scans("one", content, "two"), "--out", tmp_path / "out", "--jobs", 2, "--json")
    assert outcome.code == 1
    assert sorted((line["status"], Path(line["scan"]).name) for line in lines(outcome)) == [
        ("done", "a.ply"), ("done", "c.ply"), ("failed", "b.ply")]  # fmt: skip
    last = outcome.err.strip().splitlines()[-1]
    assert last.startswith("imhead: 1 of 3") and ("KeyError" in last or "SIGKILL" in last)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_batch_that_was_killed_goes_on_with_what_is_missing(
    run: Run, scans: Any, tmp_path: Path, fake: FakeModel, jobs: int, random_model: Callable[..., Model]
) -> None:
    given, out = scans("one", "two", "three", "four"), tmp_path / "out"
    assert run("fit", *given[:3], "--out", out).code == 0
    (out / "b" / "report.json").unlink()  # killed before the last file
    save_head(random_model(seed=1).neutral(), out / "c" / "head.safetensors")  # by another model
    kept = (out / "a" / "report.json").stat().st_mtime_ns
    fake.done.clear()
    outcome = run("fit", *given, "--out", out, "--skip-existing", "--jobs", jobs, "--json")
    assert outcome.code == 0, outcome.err
    statuses = {Path(line["scan"]).stem: line["status"] for line in lines(outcome)}
    assert statuses == {"a": "skipped", "b": "done", "c": "done", "d": "done"}
    assert (out / "a" / "report.json").stat().st_mtime_ns == kept
    rows = table(out)
    assert [row["status"] for row in rows] == ["skipped", "done", "done", "done"]
    assert {row["median_mm"] for row in rows} == {"0.2"}


def test_without_skipping_everything_is_fitted_again(run: Run, scans: Any, tmp_path: Path, fake: FakeModel) -> None:
    given = scans("one", "two")
    for _ in range(2):
        assert run("fit", *given, "--out", tmp_path / "out").code == 0
    assert fake.done == ["one", "two", "one", "two"]


@pytest.mark.parametrize("damage", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_a_damaged_report_is_no_whole_fit(run: Run, scans: Any, tmp_path: Path, fake: FakeModel, damage: bytes) -> None:
    (given,) = scans("one")
    assert run("fit", given, "--out", tmp_path / "out").code == 0
    (tmp_path / "out" / "a" / "report.json").write_bytes(damage)
    assert run("fit", given, "--out", tmp_path / "out", "--skip-existing").code == 0
    assert fake.done == ["one", "one"]


def test_ctrl_c_ends_the_processes_and_keeps_what_is_done(
    run: Run, scans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "print_json", interrupted)
    outcome = run("fit", *scans(*map(str, range(8))), "--out", tmp_path / "out", "--jobs", 2, "--json")
    assert outcome.code == 130 and outcome.err.splitlines()[-1] == "imhead: stopped"
    assert multiprocessing.active_children() == []
    assert len(table(tmp_path / "out")) == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_names_that_would_write_over_the_screen_are_told_as_text(run: Run, tmp_path: Path, jobs: int) -> None:
    names = ["[red]a[/b].ply", "\x1b[2J\u202e\n.ply", "\udcff.ply", ":smile:.ply", "n" * 250 + ".ply"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)  # a slash ends a tag as well as a folder
        (tmp_path / name).write_text("bad" if "n" in name else "head")
    outcome = run("fit", *(tmp_path / name for name in names), "--out", tmp_path / "out", "--jobs", jobs, "--json")
    assert outcome.code == 2 and len(lines(outcome)) == 5
    for line in (*outcome.out.splitlines(), *outcome.err.splitlines()):
        assert line.isprintable()
    assert "[red]a[/b].ply" in outcome.err and ":smile:" in outcome.err
    assert {row["status"] for row in table(tmp_path / "out")} == {"done", "refused"}


def test_a_scan_alone_has_no_table(run: Run, scans: Any, tmp_path: Path) -> None:
    (given,) = scans("one")
    outcome = run("fit", given, "--out", tmp_path / "out", "--json")
    assert outcome.code == 0 and [line["status"] for line in lines(outcome)] == ["done"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


def test_a_gpu_fits_one_scan_at_a_time(run: Run, scans: Any, tmp_path: Path, fake: FakeModel, monkeypatch: Any) -> None:
    monkeypatch.setattr(Model, "device", property(lambda self: type("Device", (), {"type": "cuda"})()))
    outcome = run("fit", *scans("one", "two"), "--out", tmp_path / "out", "--jobs", 2)
    assert outcome.code == 2 and "--device cpu" in outcome.err
