"""The files of a comparison of visits."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.change.conftest import CHIN_MM

import imhead
from imhead.api import MorphableModel
from imhead.api.topologies import topology_shapes, write_topology_comparison
from imhead.change.asymmetry import asymmetry_of
from imhead.change.comparison import ComparedVisit, Comparison
from imhead.change.config import STABLE, ChangeConfig
from imhead.change.visits import Visit
from imhead.conventions import ARKIT_NAMES, ASSUMED_SCALE
from imhead.io.mesh_file import read_mesh
from imhead.io.obj_polygons import Polygons, read_polygons
from imhead.isosurface.field import expression_code
from imhead.reports import asymmetry_report, scan_comparison
from imhead.reports.standard_views import STANDARD_VIEWS
from imhead.template.topology import LEFT_EYE
from imhead.topology.binding import Binding
from imhead.topology.store import UserTopology, digest_of


@pytest.fixture
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_comparison, "_SIZE", 16)
    monkeypatch.setattr(asymmetry_report, "_SIZE", 16)


@pytest.mark.usefixtures("small_pictures")
def test_a_folder_holds_report_page_pictures_and_mesh(
    shipped: MorphableModel, visit: Visit, chin: ComparedVisit, tmp_path: Path
) -> None:
    scan = tmp_path / "before.ply"
    scan.write_bytes(b"scan")
    named = replace(visit, name="<b>before</b>")
    out = tmp_path / "out"
    comparison = Comparison(named, (chin,), ("look at the chin",))
    report = scan_comparison.write_scan_comparison(
        comparison, shipped.model, out, files=(scan, None), scanner="0.3", patient="Anna & Co"
    )
    assert sorted(path.name for path in out.iterdir()) == ["change.ply", "heatmap.png", "report.html", "report.json"]
    assert json.loads((out / "report.json").read_text()) == report
    assert report["visits"][0]["sha256"] == hashlib.sha256(b"scan").hexdigest()
    assert report["visits"][1]["sha256"] is None
    assert report["change"]["chin"]["beyond_noise"] and report["places"][0]["region"] == "chin"
    assert report["noise_mm"]["total"] > 0.0 and report["aligned_on"]["regions"] == list(STABLE)
    page = (out / "report.html").read_text()
    assert "Anna &amp; Co" in page and "<b>before</b>" not in page and "&lt;b&gt;before" in page
    assert "not a medical device" in page and report["model"]["hash"] in page and "look at the chin" in page
    assert "Anna" not in (out / "report.json").read_text()
    assert all(view in page for view in STANDARD_VIEWS)


def test_a_mirror_analysis_says_what_its_fit_warned_of_once(shipped: MorphableModel, visit: Visit) -> None:
    assumed = replace(visit, head=replace(visit.head, scale_assumed=True))
    found = asymmetry_of(shipped.model, visit, ChangeConfig())
    said = asymmetry_report.asymmetry_report(found, assumed, [ASSUMED_SCALE, "only half of the face is seen"])
    assert said["warnings"] == [ASSUMED_SCALE, "only half of the face is seen"]
    assert said["version"] == imhead.__version__


@pytest.fixture(scope="module")
def mine(shipped: MorphableModel) -> UserTopology:
    """The template itself, as if it were a user's mesh with its faces in another order."""
    template = shipped.template
    faces = template.faces[::-1]
    corners = np.repeat(np.arange(len(template.mean))[:, None], 3, axis=1)
    binding = Binding(
        template.mean, faces, template.mean, template.faces, template.part, corners,
        np.tile([1.0, 0.0, 0.0], (len(corners), 1)), np.zeros(len(corners), dtype=np.int64),
        np.full(len(corners), -1.0), np.zeros(0, dtype=np.int64),
    )  # fmt: skip
    return UserTopology("mine", binding, Polygons(np.full(len(faces), 3), faces.ravel()), digest_of(template.faces))


@pytest.mark.usefixtures("small_pictures")
def test_in_a_users_topology_both_surfaces_and_the_change_have_its_vertices(
    shipped: MorphableModel, visit: Visit, chin: ComparedVisit, mine: UserTopology, tmp_path: Path
) -> None:
    scan_comparison.write_scan_comparison(Comparison(visit, (chin,), ()), shipped.model, tmp_path, topology=mine)
    before, polygons = read_polygons(tmp_path / "before.obj")
    after, _ = read_polygons(tmp_path / "after.obj")
    np.testing.assert_array_equal(polygons.corners, mine.polygons.corners)
    skin = shipped.template.part < LEFT_EYE
    for own, there in ((before, chin.change.before), (after, chin.change.after)):
        away = np.abs(own - there)[skin].max(axis=1)
        assert np.quantile(away, 0.99) < 1e-3 and away.max() < 0.5  # folds of the lids are smoothed
    change = read_mesh(tmp_path / "change.ply")
    np.testing.assert_allclose(change.vertices, before, atol=1e-3)
    assert len(change.faces) == len(mine.triangles())


@pytest.mark.slow
def test_two_heads_in_a_users_topology_move_where_the_edit_moved_them(
    shipped: MorphableModel, mine: UserTopology, tmp_path: Path
) -> None:
    head = shipped.neutral()
    write_topology_comparison(head, head.sample("chin", seed=1), mine, tmp_path, 1.0)
    before, after = (read_polygons(tmp_path / f"{name}.obj")[0] for name in ("before", "after"))
    moved = np.linalg.norm(after - before, axis=1)
    assert moved[np.linalg.norm(before - CHIN_MM, axis=1) < 15.0].mean() > 0.2
    assert moved[before[:, 1] > 60.0].max() == 0.0


@pytest.mark.usefixtures("small_pictures")
def test_where_nothing_moved_the_page_says_so(
    shipped: MorphableModel, visit: Visit, still: ComparedVisit, tmp_path: Path
) -> None:
    scan_comparison.write_scan_comparison(Comparison(visit, (still,), ()), shipped.model, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "No place of 0.5 cm² or more moved by more than the noise." in page
    assert "within the noise" in page


def test_a_glb_in_a_users_topology_is_neutral_or_shows_what_is_asked_for(
    shipped: MorphableModel, mine: UserTopology
) -> None:
    """The head's own expression is one of the things that can be asked for."""
    head = shipped.neutral()
    smiling = imhead.EditableHead(
        replace(head.codes, z_exp=expression_code(head.model, {"mouthSmileLeft": 0.8})), head.model
    )
    shown = {asked: topology_shapes(smiling, mine, asked)[1].weights for asked in (None, "own")}
    assert not shown[None].any() and shown["own"][ARKIT_NAMES.index("mouthSmileLeft")] > 0.5
