"""Edits by word and by number, on the shipped model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imhead import editing
from imhead.editing.soundness import FaultCounts, SkinPatch
from imhead.errors import InputError
from imhead.regions import resolve
from imhead.studio.state.commands.edits import MoveByWord, SetMeasurement, face_measurements, reachable_range
from imhead.studio.state.studio import Studio
from imhead.types import Head


def test_a_measurement_reaches_the_given_value(opened: Studio) -> None:
    before = opened.head
    wanted = face_measurements(opened.model, before)["nasal_length"] + 2.0
    opened.do(SetMeasurement(opened.scope, "nasal_length", wanted))
    assert face_measurements(opened.model, opened.head)["nasal_length"] == pytest.approx(wanted, abs=0.1)
    moved = np.flatnonzero((before.offsets != opened.head.offsets).any(axis=1))
    assert set(moved.tolist()) <= {region.index for region in resolve("nose")}
    assert opened.history.steps[-1].label == f"nose: nasal length to {wanted:.1f} mm"


def test_a_value_that_no_person_has_is_refused(opened: Studio) -> None:
    before = opened.head
    with pytest.raises(editing.OutOfReach) as caught:
        opened.do(SetMeasurement(opened.scope, "nasal_length", 100.0))
    assert opened.head is before
    nearest = caught.value.nearest["nasal_length"]
    assert str(caught.value).startswith("nasal length cannot become 100.0 mm here")
    assert str(caught.value).endswith(f" {nearest:.1f} mm")
    opened.do(SetMeasurement(opened.scope, "nasal_length", nearest))
    assert face_measurements(opened.model, opened.head)["nasal_length"] == pytest.approx(nearest, abs=0.1)


@pytest.mark.slow
def test_the_range_of_a_measurement_holds_its_value_and_can_be_reached_to_its_ends(opened: Studio) -> None:
    now = face_measurements(opened.model, opened.head)["nasal_length"]
    low, high = reachable_range(opened.model, opened.head, opened.scope, "nasal_length")
    assert low < now < high
    opened.do(SetMeasurement(opened.scope, "nasal_length", low))
    with pytest.raises(InputError, match="does not depend on"):
        reachable_range(opened.model, opened.head, replace(opened.scope, regions=("left_ear_lobe",)), "nasal_length")


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_word_wider_widens_the_nose_to_the_given_score(opened: Studio, symmetric: bool) -> None:
    opened.set_symmetric(symmetric)
    regions = opened.scope.resolve()
    start = editing.readings_of(opened.model, opened.head, regions, symmetric)["wider"]
    widths = []
    for sigma in (start - 0.25, start, start + 0.25):
        opened.do(MoveByWord(opened.scope, "wider", sigma))
        readings = editing.readings_of(opened.model, opened.head, regions, symmetric)
        assert readings["wider"] == pytest.approx(sigma, abs=0.05)
        assert opened.document.note == ""
        widths.append(face_measurements(opened.model, opened.head)["alar_width"])
    assert widths[1] > widths[0] + 0.2 and widths[2] > widths[1] + 0.2


def test_scores_along_a_word_have_unit_standard_deviation_over_people(opened: Studio) -> None:
    regions = opened.scope.resolve()
    drawn = np.random.default_rng(1).normal(size=(40, opened.model.net.config.identity_size))
    heads = [replace(opened.model.neutral(), z_id=z) for z in drawn]
    scores = [list(editing.readings_of(opened.model, head, regions, True).values()) for head in heads]
    spread = np.std(scores, axis=0)
    assert (spread > 0.6).all() and (spread < 1.6).all()


def test_a_word_moves_only_selected_regions_that_are_not_locked(opened: Studio) -> None:
    before = opened.head
    opened.set_locked(("nose_bridge",), True)
    opened.do(MoveByWord(opened.scope, "projecting", 0.5))
    changed = np.flatnonzero((opened.head.offsets != before.offsets).any(axis=1))
    free = {region.index for region in resolve("nose")} - {resolve("nose_bridge")[0].index}
    assert set(changed) == free


def test_an_unknown_word_lists_the_known_ones(opened: Studio) -> None:
    with pytest.raises(InputError, match=r"nose has no direction 'fuller'; choose one of .*wider"):
        opened.do(MoveByWord(opened.scope, "fuller", 1.0))


def test_a_slider_that_is_stopped_says_where_and_why_until_the_next_change(
    opened: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(self: SkinPatch, head: Head, before: FaultCounts | None = None) -> tuple[FaultCounts, str]:
        return {}, "" if before is None else "the skin would tear at the nose tip"

    before = opened.head
    with monkeypatch.context() as patched:
        patched.setattr(SkinPatch, "fault", torn)
        opened.do(MoveByWord(opened.scope, "wider", 4.0))
    start = editing.readings_of(opened.model, before, opened.scope.resolve(), True)["wider"]
    assert opened.document.note == f"wider ends at {start:+.2f} σ here: the skin would tear at the nose tip"
    assert opened.history.steps[-1].label.endswith("stopped before")
    np.testing.assert_array_equal(opened.head.offsets, before.offsets)
    opened.do(SetMeasurement(opened.scope, "nasal_length", face_measurements(opened.model, before)["nasal_length"]))
    assert opened.document.note == ""
