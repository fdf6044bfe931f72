"""What changed between two visits is found where it is, and nothing where nothing changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.change.conftest import CHIN_MM, bumped, scanned_again

from imhead.api import MorphableModel
from imhead.change.change import _noise, change_between, stable_regions
from imhead.change.comparison import ComparedVisit, _doubts, compare_visits
from imhead.change.config import ChangeConfig
from imhead.change.measured import differences, displacement
from imhead.change.scanners import SCANNERS, scanner_noise_mm
from imhead.change.visits import Visit
from imhead.errors import InputError
from imhead.fitting.pose_scan import LeaveOneOut
from imhead.measure.on_template import values_on


def test_nothing_is_said_to_have_changed_where_nothing_did(still: ComparedVisit) -> None:
    change = still.change
    share = change.area[change.beyond].sum() / change.area[change.compared].sum()
    assert share < 0.08 and not still.places
    assert still.whole is not None and not still.whole.beyond_noise
    assert still.expression.moves_mm < 0.2


def test_the_alignment_undoes_the_motion_and_says_how_well(still: ComparedVisit, visit: Visit) -> None:
    moved = np.linalg.norm(still.change.after - visit.vertices, axis=1)[still.change.compared]
    assert np.median(moved) < 0.15  # the noise
    figures = still.change.alignment.report()
    assert figures["median_mm"] < 0.15 and figures["trusted_share"] > 0.9 and figures["area_cm2"] > 50.0
    assert still.change.noise.source == "stable regions" and 0.02 < still.change.noise.total_mm < 0.15


def test_a_lump_is_found_with_its_height_and_volume(chin: ComparedVisit, visit: Visit, shipped: MorphableModel) -> None:
    change = chin.change
    truth = np.einsum("vc,vc->v", bumped(visit, shipped, CHIN_MM, 2.5) - visit.vertices, change.normals)
    shown = change.compared
    assert np.abs(change.moved_mm - truth)[shown].mean() < 0.1
    place = chin.places[0]
    assert place.region == "chin" and place.amount.beyond_noise and len(chin.places) == 1
    volume = float((truth * change.area)[shown].sum() / 1000.0)
    assert abs(place.amount.volume_ml - volume) < 0.15 * volume
    assert chin.regions["chin"].beyond_noise and not chin.regions["forehead"].beyond_noise


def test_a_smile_is_found_and_taken_out(chin: ComparedVisit) -> None:
    weights = chin.expression.weights
    assert chin.expression.taken_out and chin.expression.moves_mm > 0.5
    assert all(abs(weights[name] - 0.4) < 0.15 for name in ("mouthSmileLeft", "mouthSmileRight"))
    mouth = chin.regions["left_mouth_corner"]
    assert abs(mouth.mean_mm) < 0.3


def test_measurements_of_an_unchanged_face_stay(still: ComparedVisit, visit: Visit) -> None:
    lengths = [row for row in still.measurements if row.unit == "mm"]
    assert max(abs(row.change) for row in lengths) < 0.6
    assert all(row.shown and row.error is not None and row.error > 0.0 for row in lengths)
    assert values_on(visit.vertices)["nasal_height"] == pytest.approx(
        next(row.before for row in lengths if row.name == "nasal_height"), abs=0.5
    )


def test_a_registration_that_slid_along_the_skin_changes_no_measurement_and_a_lump_does(
    shipped: MorphableModel, visit: Visit, still: ComparedVisit, chin: ComparedVisit
) -> None:
    change, places = still.change, visit.vertices
    wave = 0.4 * np.sin(places[:, :1] / 15.0) * np.array([0.0, 1.0, 0.0])
    slide = wave - np.einsum("vc,vc->v", wave, change.normals)[:, None] * change.normals
    flat = replace(change, alike=change.before + slide, moved_mm=np.where(change.compared, 0.0, np.nan))
    kept = displacement(replace(flat, expression_mm=np.zeros(len(places))), False, 1.0)
    rows = differences(places, places + kept, visit.measured, 1.0)
    plain = differences(places, places + slide, visit.measured, 1.0)
    for row, before in zip(rows, plain):
        assert abs(row.change) <= 0.25 * abs(before.change) + 0.02
    projected = next(row for row in chin.measurements if row.name == "chin_projection")
    assert projected.beyond_noise and 1.2 < projected.change < 2.8


def test_a_scanner_that_repeats_badly_hides_a_small_change(shipped: MorphableModel, visit: Visit) -> None:
    later = scanned_again(visit, shipped, bumped(visit, shipped, CHIN_MM, 0.6))
    found = change_between(shipped.model, visit, later, ChangeConfig(), None, False)
    hidden = change_between(shipped.model, visit, later, ChangeConfig(), scanner_noise_mm("phone"), False)
    assert found.beyond.sum() > 50 and hidden.beyond.sum() == 0


def test_a_place_that_one_scan_does_not_show_is_not_compared(shipped: MorphableModel, visit: Visit) -> None:
    later = scanned_again(visit, shipped, visit.vertices)
    right = visit.vertices[:, 0] < -30.0
    later = replace(later, measured=later.measured & ~right)
    change = change_between(shipped.model, visit, later, ChangeConfig(), None, False)
    assert not change.compared[right].any() and change.compared[visit.vertices[:, 0] > 30.0].any()
    assert np.isnan(change.moved_mm[~change.compared]).all()
    rows = differences(visit.vertices, visit.vertices, visit.measured & later.measured, 1.0)
    shown = {row.name: row.shown for row in rows}
    assert shown["nasal_height"] and not shown["bizygomatic_width"]
    assert all(row.beyond_noise is None for row in rows if not row.shown)


def test_stable_regions_that_are_not_shown_are_refused(shipped: MorphableModel, visit: Visit) -> None:
    hidden = replace(visit, measured=np.zeros(len(visit.measured), dtype=bool))
    with pytest.raises(InputError, match="name others with --stable"):
        change_between(shipped.model, hidden, visit, ChangeConfig(), None, False)


def test_a_comparison_needs_two_visits_and_a_stable_region(shipped: MorphableModel) -> None:
    head = shipped.neutral().codes
    with pytest.raises(InputError, match="two visits"):
        compare_visits(shipped.model, [head], ["one"], ChangeConfig())
    with pytest.raises(InputError, match="forehead"):
        stable_regions(())
    with pytest.raises(InputError, match="did you mean"):
        compare_visits(shipped.model, [head, head], ["a", "b"], ChangeConfig(stable=("forehed",)))


def test_a_scanner_is_a_name_or_a_number() -> None:
    assert scanner_noise_mm("vectra_h1") == SCANNERS["vectra_h1"] and scanner_noise_mm("0.3mm") == 0.3
    for wrong in ("vectra", "nan", "-1", "1e9"):
        with pytest.raises(InputError, match="--scanner"):
            scanner_noise_mm(wrong)


def test_the_figures_beside_a_stranger_are_those_of_the_stranger(visit: Visit, chin: ComparedVisit) -> None:
    """Whichever of the two visits shows somebody else."""
    excess = {"first": LeaveOneOut(0.2, 2.0, 1.8), "later": LeaveOneOut(0.2, 0.3, 0.1)}
    first = replace(visit, same_person=False, evidence=excess["first"])
    later = replace(chin, visit=replace(chin.visit, same_person=True, evidence=excess["later"]))
    (said,) = (line for line in _doubts(first, [later]) if "two different people" in line)
    assert f"excess {excess['first'].excess_mm:.2f} mm" in said
    later = replace(chin, visit=replace(chin.visit, same_person=False, evidence=excess["first"]))
    (said,) = (line for line in _doubts(visit, [later]) if "two different people" in line)
    assert f"excess {excess['first'].excess_mm:.2f} mm" in said


def test_stable_regions_of_which_nothing_is_left_to_compare_are_refused(visit: Visit) -> None:
    nowhere = np.full(len(visit.vertices), np.nan)
    with pytest.raises(InputError, match="not shown in both"):
        _noise(nowhere, np.ones(len(nowhere)), np.zeros(len(nowhere)), np.arange(9), None, ChangeConfig())
