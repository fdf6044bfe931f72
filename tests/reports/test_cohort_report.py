"""What a cohort leaves behind: tables that add up, files that other programs read, one page."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imhead
from imhead.cohort.groups import GroupConfig
from imhead.cohort.observation import Observation, Surface, template_regions
from imhead.cohort.people import Sitting
from imhead.cohort.study import Study, study_of
from imhead.errors import InputError
from imhead.io.landmark_file import read_named_places
from imhead.io.mesh_file import read_mesh
from imhead.measure.landmarks import landmark_names, landmark_places
from imhead.measure.population import population_over
from imhead.measure.table import values
from imhead.regions import REGIONS
from imhead.reports.cohort_report import _warnings, write_study

MODEL = imhead.load(device="cpu")
TEMPLATE = MODEL.template
PEOPLE = 18
CONFIG = GroupConfig(permutations=4999)


def observation(vertices: np.ndarray, measured: np.ndarray) -> Observation:
    places = landmark_places()
    landmarks = places.of(vertices)
    found = values(landmarks)
    sigma = np.full(len(vertices), 0.5)
    return Observation(
        vertices, measured, sigma, landmarks, np.full(len(landmarks), 0.4), np.ones(len(landmarks), dtype=bool), found,
        dict.fromkeys(found, 0.6), dict.fromkeys(found, True), False,
    )  # fmt: skip


def sittings() -> tuple[list[Sitting], list[Observation]]:
    """Drawn heads in two groups, whose noses differ by 6 mm; three of them twice. Nobody's occiput was seen."""
    rng = np.random.default_rng(0)
    region = template_regions(TEMPLATE)
    measured = region != next(r.index for r in REGIONS if r.name == "occiput")
    tip = np.exp(-(((TEMPLATE.mean - [0.0, -4.0, 120.0]) / 12.0) ** 2).sum(axis=1))[:, None] * [0.0, 0.0, 6.0]
    found: list[tuple[Sitting, Observation]] = []
    for k, head in enumerate(MODEL.sample(PEOPLE, seed=2)):
        vertices = TEMPLATE.blend(MODEL.model, head.field().regional.z[0].cpu().numpy()).astype(np.float64)
        vertices += tip * (k >= PEOPLE // 2)
        for again in range(2 if k < 3 else 1):
            moved = vertices + rng.normal(0.0, 0.3, 3) + rng.normal(0.0, 0.2, vertices.shape) * again
            sitting = Sitting(f"person {k}", "long" if k >= PEOPLE // 2 else "short", Path(f"scan_{k}_{again}.ply"))
            found.append((sitting, observation(moved, measured)))
    return [k for k, _ in found], [k for _, k in found]


@pytest.fixture(scope="module")
def study() -> Study:
    who, seen = sittings()
    surface = Surface(TEMPLATE.faces, template_regions(TEMPLATE))
    return study_of(who, seen, surface, config=CONFIG)


@pytest.fixture(scope="module")
def written(study: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("cohort")
    patch = pytest.MonkeyPatch()
    patch.setattr("imhead.reports.cohort_pictures._SIZE", 48)  # pixels: what the pictures show is not tested here
    among = population_over([k.measurements for k in study.observations], MODEL.model.hash, 0)
    left_out = [{"file": "blurred.ply", "reason": "blurred.ply: no face <was> found"}]
    report = write_study(study, MODEL.model, among, out, config=CONFIG, left_out=left_out)
    patch.undo()
    return out, report


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_long_nose_is_the_finding_and_what_no_scan_shows_is_not_tested(study: Study) -> None:
    assert study.test is not None and study.compared == ("short", "long")
    assert "occiput" in study.test.untested
    found = {k.region for k in study.test.findings(0.05)}
    assert "nose_tip" in found
    assert {region.group for region in REGIONS if region.name in found} == {"nose"}
    tip = np.abs(TEMPLATE.mean - [0.0, -4.0, 120.0]).max(axis=1) < 4.0
    assert study.difference_mm()[tip].mean() > 3.0  # long minus short: outwards


def test_the_tables_hold_every_value_once(written: tuple[Path, dict[str, Any]], study: Study) -> None:
    out, report = written
    table = rows(out / "measurements.csv")
    assert len(table) == len(study.sittings) * len(study.observations[0].measurements)
    first = next(k for k in table if k["measurement"] == "tip_projection" and k["file"] == "scan_0_0.ply")
    assert float(first["value"]) == pytest.approx(study.observations[0].measurements["tip_projection"], abs=1e-4)
    assert (first["unit"], first["error_68"], first["measured"], first["group"]) == ("mm", "0.6000", "1", "short")
    scores = np.array([[float(k["z_model"]), float(k["z_at_size"])] for k in table])
    assert np.abs(scores.mean(axis=0)).max() < 0.01  # the population is these people
    assert len(rows(out / "landmarks.csv")) == len(study.sittings) * len(landmark_names())
    assert {k["region"] for k in rows(out / "groups.csv")} == {k.region for k in study.test.tests}  # type: ignore[union-attr]
    tem = {k["measurement"]: float(k["tem"]) for k in rows(out / "repeats.csv")}
    assert set(tem) == set(study.repeats) and all(k["people"] == "3" for k in rows(out / "repeats.csv"))
    assert report["people"] == PEOPLE and report["sittings"] == PEOPLE + 3 and report["repeated_people"] == 3
    assert json.loads((out / "report.json").read_text()) == report


def test_the_arrays_open_without_pickles_and_are_aligned(written: tuple[Path, dict[str, Any]], study: Study) -> None:
    out, _ = written
    with np.load(out / "shapes.npz", allow_pickle=False) as arrays:
        raw, laid, common = arrays["vertices"], arrays["procrustes"], arrays["common"]
        assert raw.shape == laid.shape == (PEOPLE + 3, len(TEMPLATE.mean), 3)
        assert laid[:, common].std(axis=0).mean() < raw[:, common].std(axis=0).mean()
        lengths = [np.linalg.norm(k[:, 10] - k[:, 2000], axis=1) for k in (raw, laid)]
        np.testing.assert_allclose(lengths[0], lengths[1], rtol=1e-4)  # only moved and turned
        assert arrays["person"][0] == "person 0" and arrays["component_scores"].shape[0] == PEOPLE


def test_landmarks_and_meshes_of_a_sitting_lie_on_one_another(
    written: tuple[Path, dict[str, Any]], study: Study
) -> None:
    out, _ = written
    mesh = read_mesh(out / "shapes" / "person_0_1.ply")
    places = landmark_places().of(mesh.vertices)
    for extension in (".fcsv", ".mrk.json", ".pp"):
        found = read_named_places(out / "landmarks" / f"person_0_1{extension}")
        np.testing.assert_allclose(np.stack([found[name] for name in landmark_names()]), places, atol=1e-2)
    assert len(read_mesh(out / "mean_2.ply").vertices) == len(read_mesh(out / "mean.ply").vertices)


def test_the_page_is_whole_says_its_limits_and_escapes_names(written: tuple[Path, dict[str, Any]]) -> None:
    page = (written[0] / "report.html").read_text()
    for words in ("no medical device", "no norm of people", "nose tip (shape)", "Technical error", "Not tested"):
        assert words in page
    assert "&lt;was&gt;" in page and "<was>" not in page and "nan" not in page.lower().split("<h2>")[-1]
    opened: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag not in ("meta", "img"):
                opened.append(tag)

        def handle_startendtag(self, tag: str, attrs: Any) -> None:
            assert tag in ("path", "circle")

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Tags().feed(page)
    assert not opened


def test_one_person_is_no_cohort_and_a_group_must_have_people() -> None:
    who, seen = sittings()
    surface = Surface(TEMPLATE.faces, template_regions(TEMPLATE))
    with pytest.raises(InputError, match="two people"):
        study_of(who[:2], seen[:2], surface)
    for groups, said in ((("long", "nobody"), "nobody is in group"), (("long", "long"), "itself")):
        with pytest.raises(InputError, match=said):
            study_of(who, seen, surface, groups=groups)


def test_of_three_groups_none_is_compared_unasked_and_a_warning_says_so(study: Study) -> None:
    groups = tuple("abc"[k % 3] for k in range(len(study.group)))
    said = _warnings(replace(study, group=groups, compared=None, test=None), CONFIG, [])
    assert said == ["3 groups are not compared (a, b, c); name two of them: --groups A,B"]
