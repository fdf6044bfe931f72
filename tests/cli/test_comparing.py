"""`imhead compare` of scans, `imhead asymmetry`, and `imhead measure` of a scan: what is said, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from imhead.cli.console import check_units
from imhead.errors import InputError
from imhead.evaluation.cases import HeldOutSource
from imhead.evaluation.virtual_surgery import patient
from imhead.fitting.pose import Units
from imhead.io.mesh_file import write_mesh
from imhead.sources.ict import IctModel
from imhead.types import Mesh, Scan

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("a.ply",), "give a second scan or head"),
        (("a.ply", "b.ply", "--region", "nose"), "--stable"),
        (("a.ply", "b.ply", "--stable", "forehed"), "did you mean"),
        (("a.ply", "b.ply", "--units", "ft"), "--units 'ft' is not known"),
        (("a.ply", "b.ply", "--resolution", "64"), "--resolution is for two head files"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused_before_the_work(
    run: Run, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    done = run("compare", *words, "--out", tmp_path / "out")
    assert done.code == 2 and told in done.err.replace("\n", " ")


def test_the_commands_know_the_units_that_the_library_knows() -> None:
    assert [check_units(unit) for unit in get_args(Units)] == list(get_args(Units))
    with pytest.raises(InputError, match=", ".join(get_args(Units))):
        check_units("ell")


def test_a_topology_that_nobody_learnt_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for files in (("a.ply", "b.ply"), ("a.safetensors", "b.safetensors")):
        done = run("compare", *files, "--topology", "mine", "--out", tmp_path / "out")
        assert done.code == 2 and "no topology is named 'mine'" in done.err.replace("\n", " ")


def written(scan: Scan, path: Path) -> Path:
    assert scan.faces is not None
    write_mesh(Mesh(scan.points, scan.faces), path)
    return path


@pytest.mark.slow
def test_two_scans_of_a_patient_are_compared(run: Run, full_ict: IctModel, tmp_path: Path) -> None:
    """A virtual patient whose chin grew by 2 mm, from the files to the files."""
    case = patient(HeldOutSource.composed(full_ict), 2, expression=False)
    paths = [written(view.scan, tmp_path / f"{name}.ply") for name, view in zip(("before", "after"), case.scans)]
    out = tmp_path / "out"
    done = run("compare", *paths, "--units", "mm", "--out", out, "--patient", "Anna", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert sorted(path.name for path in out.iterdir()) == ["change.ply", "heatmap.png", "report.html", "report.json"]
    assert all(visit["same_person"] for visit in report["visits"]) and report["noise_mm"]["total"] < 0.3
    place = report["places"][0]
    assert place["region"] == "chin" and abs(place["volume_ml"] - case.swept_ml) < 0.3
    assert report["change"]["chin"]["beyond_noise"] and "Anna" not in done.out
    landmarks = tmp_path / "picked.json"
    landmarks.write_text(json.dumps({"pronasale": np.zeros(3).tolist()}))
    measured = run("measure", paths[0], "--units", "mm", "--landmarks", landmarks, "--json")
    assert measured.code == 0 and json.loads(measured.out)["picked"][0]["name"] == "pronasale"
    mirrored = run("asymmetry", paths[0], "--units", "mm", "--out", tmp_path / "mirror", "--json")
    assert mirrored.code == 0 and 0.0 < json.loads(mirrored.out)["index_mm"] < 3.0
