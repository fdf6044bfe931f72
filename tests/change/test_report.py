"""The files of a comparison of visits."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from imhead.api import MorphableModel
from imhead.change.comparison import ComparedVisit, Comparison
from imhead.change.config import STABLE
from imhead.change.visits import Visit
from imhead.reports import asymmetry_report, scan_comparison
from imhead.reports.standard_views import STANDARD_VIEWS


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


@pytest.mark.usefixtures("small_pictures")
def test_where_nothing_moved_the_page_says_so(
    shipped: MorphableModel, visit: Visit, still: ComparedVisit, tmp_path: Path
) -> None:
    scan_comparison.write_scan_comparison(Comparison(visit, (still,), ()), shipped.model, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "No place of 0.5 cm² or more moved by more than the noise." in page
    assert "within the noise" in page
