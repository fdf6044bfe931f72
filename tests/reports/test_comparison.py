"""The before/after report and the picture of a fit."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imhead.conventions import ASSUMED_SCALE
from imhead.errors import InputError
from imhead.reports import comparison as report
from imhead.surfaces.properties import vertex_areas
from imhead.types import Ball, Mesh

BUMP_MM = (0.0, 0.0, 80.0)


def ball(radius_mm: float = 80.0) -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=radius_mm)
    return Mesh(sphere.vertices, sphere.faces)


def with_bump(mesh: Mesh, height_mm: float, radius_mm: float = 30.0) -> Mesh:
    """The mesh with a smooth bump of some height on the pole that looks forward."""
    near = np.clip(1.0 - np.linalg.norm(mesh.vertices - BUMP_MM, axis=1) / radius_mm, 0.0, 1.0)
    outwards = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    return Mesh(mesh.vertices + height_mm * near[:, None] ** 2 * outwards, mesh.faces)


def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_comparison_rows", lambda *_: [[np.zeros((8, 8, 3), dtype=np.uint8)]] * 3)
    monkeypatch.setattr(report, "_turning", lambda *_: [Image.new("RGB", (72, 8))] * 3)


@pytest.fixture(scope="module")
def bumped(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    out = tmp_path_factory.mktemp("compare") / "new" / "folder"
    before = ball()
    result = report.compare_meshes(
        before, with_bump(before, 5.0), region_balls=[Ball(np.array(BUMP_MM), 32.0)], out=out,
        labels=("Ann", "Ann <2>"), region_names=("nose_tip",), volume_by_region_ml={"nose_tip": 2.25, "chin": 0.0},
        measurements=[report.MeasuredChange("tip_projection", "mm", 21.0, 26.0),
                      report.MeasuredChange("nasal_length", "mm", 45.0, 45.0)],
    )  # fmt: skip
    return result, out


@pytest.mark.parametrize(
    ("assumed", "named"), [((False, False), ()), ((True, True), ("Ann", "Bob")), ((False, True), ("Bob",))]
)
def test_a_report_about_heads_of_assumed_scale_says_so(
    assumed: tuple[bool, bool], named: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pictures(monkeypatch)
    result = report.compare_meshes(ball(), ball(81.0), out=tmp_path, labels=("Ann", "Bob"), scale_assumed=assumed)
    assert json.loads((tmp_path / "report.json").read_text())["scale_assumed"] == any(assumed)
    said = [warning for warning in result["warnings"] if ASSUMED_SCALE in warning]
    assert len(said) == any(assumed) and all(name in said[0] for name in named)
    assert (html.escape(ASSUMED_SCALE) in (tmp_path / "report.html").read_text(encoding="utf-8")) == any(assumed)
    assert ("differ by this alone" in " ".join(said)) == (assumed[0] != assumed[1])


def test_a_bump_in_the_region_is_all_the_movement_there_is(bumped: tuple[dict, Path]) -> None:
    moved = bumped[0]["movement_mm"]
    assert moved["inside"]["max"] == pytest.approx(5.0, abs=0.2)
    assert moved["inside"]["outwards"] == moved["inside"]["max"] and moved["inside"]["inwards"] < 0.05
    assert moved["outside"]["max"] < 1e-9
    assert bumped[0]["movement_inside_fraction"] == pytest.approx(1.0)
    assert moved["inside"]["area_cm2"] + moved["outside"]["area_cm2"] == pytest.approx(moved["all"]["area_cm2"])


def test_the_volume_of_the_bump_is_given_in_millilitres(bumped: tuple[dict, Path]) -> None:
    volume = bumped[0]["volume_ml"]
    # a cone-like bump h (1 - r/R)^2 over a disc holds pi R^2 h / 6
    assert volume["change"] == pytest.approx(np.pi * 30.0**2 * 5.0 / 6.0 / 1000.0, rel=0.15)
    assert volume["after"] - volume["before"] == pytest.approx(volume["change"])
    assert bumped[0]["warnings"] == []


def test_the_json_file_holds_what_is_returned(bumped: tuple[dict, Path]) -> None:
    result, out = bumped
    assert json.loads((out / "report.json").read_text()) == result
    assert result["regions"] == ["nose_tip"] and result["before"] == "Ann"


def test_the_page_is_one_file_that_says_it_predicts_no_surgery(bumped: tuple[dict, Path]) -> None:
    page = (bumped[1] / "report.html").read_text(encoding="utf-8")
    assert "geometric comparison" in page and "not a surgical prediction" in page
    assert page.count("data:image/png;base64,") == 4 and page.count("data:image/jpeg;base64,") == 3
    assert not re.search(r'(src|href)="(?!data:)', page) and not re.search(r"url\('(?!data:)", page)
    assert "fetch(" not in page and "import(" not in page
    assert "Ann &lt;2&gt;" in page and "Ann <2>" not in page
    assert "nose tip" in page and "@media print" in page and " ml</b>" in page


def test_the_page_tells_measurements_volumes_of_regions_and_that_nothing_moved_outside(
    bumped: tuple[dict, Path],
) -> None:
    result, out = bumped
    page = (out / "report.html").read_text(encoding="utf-8")
    assert result["measurements"][0] == {
        "name": "tip_projection", "unit": "mm", "before": 21.0, "after": 26.0, "change": 5.0,
    }  # fmt: skip
    assert result["volume_by_region_ml"] == {"nose_tip": 2.25, "chin": 0.0}
    text = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    assert "tip projection 21.00 26.00 +5.00 mm" in text and "nasal length 45.00 45.00 0.00 mm" in text
    assert "nose tip +2.25" in text and "chin" not in text
    assert "Outside the region" in text


def test_one_slider_turns_all_three_views_and_is_not_printed(bumped: tuple[dict, Path]) -> None:
    page = (bumped[1] / "report.html").read_text(encoding="utf-8")
    assert page.count('type="range"') == 1 and 'max="8"' in page
    assert ".screen{display:none}" in page and '<div class="screen">' in page


def test_the_heat_map_shows_three_views_of_three_states(bumped: tuple[dict, Path]) -> None:
    with Image.open(bumped[1] / "heatmap.png") as picture:
        assert picture.width > 1000 and picture.height > 1000
        colors = np.asarray(picture.convert("RGB")).astype(int)
    third = colors[2 * colors.shape[0] // 3 :]
    assert ((third[..., 0] - third[..., 2]) > 90).sum() > 500


@settings(max_examples=8, deadline=None)
@given(growth_mm=st.floats(-6.0, 6.0))
def test_a_grown_sphere_moved_outwards_by_its_growth(growth_mm: float) -> None:
    moved = report.signed_movement(ball(80.0), ball(80.0 + growth_mm))
    assert moved == pytest.approx(np.full(len(moved), growth_mm), abs=0.12)


def test_growing_and_shrinking_back_cancel_in_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pictures(monkeypatch)
    there = report.compare_meshes(ball(80.0), ball(82.0), out=tmp_path / "a")
    back = report.compare_meshes(ball(82.0), ball(80.0), out=tmp_path / "b")
    assert there["volume_ml"]["change"] == pytest.approx(-back["volume_ml"]["change"])
    assert there["movement_mm"]["all"]["median"] == pytest.approx(2.0, abs=0.1)
    assert back["movement_mm"]["all"]["median"] == pytest.approx(-2.0, abs=0.1)
    assert there["movement_mm"]["inside"] is None


def test_the_same_head_twice_has_not_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pictures(monkeypatch)
    result = report.compare_meshes(ball(), ball(), out=tmp_path)
    assert result["movement_mm"]["all"]["max"] < 1e-9 and result["movement_inside_fraction"] is None
    assert "The two surfaces are the same." in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_an_open_mesh_gives_no_volume_and_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pictures(monkeypatch)
    opened = Mesh(ball().vertices, ball().faces[40:])
    result = report.compare_meshes(ball(), opened, out=tmp_path, labels=("scan", "later"))
    assert result["volume_ml"] == {"before": None, "after": None, "change": None}
    assert len(result["warnings"]) == 1 and "later is not watertight" in result["warnings"][0]


def test_figures_do_not_depend_on_how_finely_a_part_is_meshed() -> None:
    before = ball()
    coarse = with_bump(before, 5.0)
    # the same surface with the moved part cut four times as fine
    part = np.linalg.norm(coarse.vertices[coarse.faces].mean(axis=1) - BUMP_MM, axis=1) < 35.0
    vertices, faces = trimesh.remesh.subdivide(coarse.vertices, coarse.faces, face_index=np.flatnonzero(part))
    results = []
    for after in (coarse, Mesh(vertices, faces)):
        moved, area = report.signed_movement(before, after), vertex_areas(after)
        results.append(np.abs(moved) @ area / area.sum())
    assert results[1] == pytest.approx(results[0], rel=0.05)


def test_the_same_comparison_is_the_same_bytes_whatever_the_heads_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pictures(monkeypatch)
    labels = ("\x1b[2J\u202e[red]\n\udcff<b>", "b" * 10**5)
    for name in ("one", "two"):
        report.compare_meshes(ball(), ball(81.0), out=tmp_path / name, labels=labels)
    for file in ("report.json", "report.html", "heatmap.png"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    assert "\\x1b[2J" in page and "&lt;b&gt;" in page and "\x1b" not in page


def test_bad_comparisons_are_refused_with_one_line(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    empty = Mesh(np.eye(3), np.zeros((0, 3), dtype=int))
    for attempt, words in (
        (lambda: report.compare_meshes(empty, ball(), out=tmp_path), "before: the mesh has no faces"),
        (lambda: report.compare_meshes(ball(), ball(), out=taken), "is a file"),
        (lambda: Ball(np.zeros(3), -1.0), "give a radius above 0"),
    ):
        with pytest.raises(InputError, match=words) as refused:
            attempt()
        assert "\n" not in str(refused.value)
