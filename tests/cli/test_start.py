"""The first minute: help, version, the demo, the doctor; nothing heavy is loaded before it is used."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import imhead
from imhead.cli import doctor

Run = Callable[..., Any]
HEAVY = ("torch", "scipy", "websockets", "matplotlib", "trimesh", "igl", "skimage", "PIL")


def loaded_by(code: str) -> list[str]:
    """Which of the heavy libraries a fresh Python has loaded after some code."""
    code += f"\nimport json, sys; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("words", [[], ["--help"], ["--version"], ["fit", "--help"], ["regions"]])
def test_no_heavy_library_is_loaded_for(words: list[str]) -> None:
    code = f"from imhead.cli.ending import exit_code; assert exit_code({words}) == 0"
    assert loaded_by(code) == []


def test_the_package_loads_a_library_when_a_name_that_needs_it_is_used() -> None:
    assert loaded_by("import imhead; dir(imhead); imhead.InputError") == []
    assert "torch" in loaded_by("import imhead; imhead.load")


def test_every_public_name_is_there_for_type_checkers_and_for_programs() -> None:
    source = Path(imhead.__file__).read_text()
    imported = set(re.findall(r"\w+", " ".join(re.findall(r"^    from imhead\S* import (.*)$", source, re.MULTILINE))))
    assert set(imhead.__all__) - {"__version__"} == imported
    assert all(hasattr(imhead, name) for name in imhead.__all__) and set(imhead.__all__) <= set(dir(imhead))


def test_bare_imhead_shows_help_and_ends_well(run: Run) -> None:
    bare = run()
    assert bare.code == 0 and bare.out == run("--help").out and "demo" in bare.out


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version") == (0, f"imhead {imhead.__version__}\n", "")


def test_the_doctor_says_what_is_installed_and_what_this_machine_has(run: Run) -> None:
    found = run("doctor", "--no-fit", "--json")
    said = json.loads(found.out)
    assert found.code == 0 and said["ok"] and said["problems"] == []
    assert said["packages"]["torch"] and said["threads"]["usable"] >= 1 and said["rays"] in ("Embree", "libigl")
    assert run("doctor", "--no-fit").out.splitlines()[-1] == "imhead works here"


def test_the_doctor_names_what_is_broken_and_the_command_that_mends_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)  # as if it were not installed
    monkeypatch.setitem(
        doctor._OPTIONAL, "websockets", ("no_such_module", "imhead studio", "pip install 'imhead[studio]'")
    )
    found = run("doctor", "--json")
    said = json.loads(found.out)
    assert found.code == 1 and not said["ok"] and "fit" not in said
    assert said["problems"][0]["what"].startswith("safetensors: ")
    assert said["problems"][0]["remedy"] == "pip install --force-reinstall safetensors"
    assert {"what": "websockets", "for": "imhead studio", "remedy": "pip install 'imhead[studio]'"} in said["missing"]
    last = run("doctor").out.splitlines()
    assert "does not work here" in last[-1] and any(line.startswith("PROBLEM: safetensors") for line in last)


def test_the_demo_refuses_a_scan_that_is_not_there_as_fit_does(run: Run, tmp_path: Path) -> None:
    found = run("demo", tmp_path / "none.ply", "--out", tmp_path / "out")
    assert found.code == 2 and "none.ply: no such file" in found.err.splitlines()[-1]
    assert run("demo", "--units", "feet", "--out", tmp_path / "out").code == 2


@pytest.mark.slow
def test_the_demo_leaves_what_it_says(run: Run, tmp_path: Path) -> None:
    found = run("demo", "--out", tmp_path, "--json")
    assert found.code == 0, found.err
    said = json.loads(found.out)
    assert Path(said["out"]) == tmp_path / "demo_scan"
    assert all((tmp_path / "demo_scan" / name).stat().st_size for name in said["files"])
    assert all(
        (tmp_path / "demo_scan" / f"{name}.{kind}").is_file() for name in ("before", "after") for kind in ("glb", "stl")
    )
    report = json.loads((tmp_path / "demo_scan" / "compare" / "report.json").read_text())
    assert report["movement_mm"]["outside"]["max"] == 0.0 < report["movement_mm"]["inside"]["max"]


@pytest.mark.slow
def test_the_doctor_fits_the_scan_that_ships(run: Run) -> None:
    found = run("doctor", "--json")
    said = json.loads(found.out)
    assert found.code == 0 and said["fit"]["median_mm"] < 0.5 and said["fit"]["seconds"] > 0
