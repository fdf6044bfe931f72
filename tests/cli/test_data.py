"""`imhead data`: builds a set, says what is in it, and how it says no."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imhead.types import Mesh

Run = Callable[..., tuple[int, str, str]]


def test_a_set_is_built_and_described(run: Run, ict_path: Path, tmp_path: Path) -> None:
    words = ("--source", "ict=1", "--source", "compose=3", "--identities", 8, "--expressions", 3, "--ict", ict_path)
    code, out, err = run("data", "build", *words, "--out", tmp_path / "set", "--json")
    assert code == 0, err
    built = json.loads(out)
    assert {record["name"]: record["identities"] for record in built["sources"]} == {"ict": 2, "compose": 6}
    code, out, err = run("data", "info", tmp_path / "set", "--json")
    assert code == 0 and json.loads(out) == built
    code, out, err = run("data", "info", tmp_path / "set")
    assert code == 0 and out == ""
    for word in ("8 identities with 3 expressions", "heldout", "MIT", "compose: 6"):
        assert word in err


def test_the_picture_shows_24_heads(run: Run, ict_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Mesh] = []

    def shade(mesh: Mesh, view: str, size: int) -> np.ndarray:
        drawn.append(mesh)
        return np.zeros((size, size, 3), dtype=np.uint8)

    monkeypatch.setattr("imhead.rendering.shading.shade", shade)
    words = ("--source", "ict", "--identities", 3, "--expressions", 2, "--ict", ict_path)
    assert run("data", "build", *words, "--out", tmp_path / "set")[0] == 0
    code, _, err = run("data", "info", tmp_path / "set", "--picture", tmp_path / "heads.png", "--ict", ict_path)
    assert code == 0, err
    with Image.open(tmp_path / "heads.png") as picture:
        assert picture.width > 6 * 320 and picture.height > 4 * 320
    assert len(drawn) == 24 and len({mesh.vertices.tobytes() for mesh in drawn}) == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--source", "scans"), "scans"), (("--source", "ict=many"), "number"), (("--source", "flame"), "flame"),
     (("--source", "ict=-1"), "positive"), (("--source", "ict", "--ict", "nowhere.npz"), "nowhere.npz")],
)  # fmt: skip
def test_what_cannot_be_built_is_refused_in_one_line(
    run: Run, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    code, out, err = run("data", "build", *words, "--out", tmp_path / "set")
    assert code == 2 and out == "" and said in err.strip().splitlines()[-1]
    assert not (tmp_path / "set").exists()


def test_a_folder_that_is_no_set_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    code, out, err = run("data", "info", tmp_path)
    assert code == 2 and out == "" and "no data set" in err and len(err.strip().splitlines()) == 1
