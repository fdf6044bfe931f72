"""Edits by word and by number, on the shipped model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imhead.checkpoint import Model, load_model
from imhead.errors import InputError
from imhead.regions import resolve
from imhead.studio.state.commands.edits import MoveByWord, SetMeasurement, face_measurements
from imhead.studio.state.commands.library import RandomHead
from imhead.studio.state.scores import named_directions, word_score
from imhead.studio.state.studio import Studio


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model()


@pytest.fixture
def studio(shipped: Model) -> Studio:
    made = Studio(shipped)
    made.do(RandomHead(3))
    made.select("nose")
    return made


def test_a_measurement_reaches_the_given_value(studio: Studio) -> None:
    before = studio.head
    wanted = face_measurements(studio.model, before)["nasal_length"] + 2.0
    studio.do(SetMeasurement(studio.scope, "nasal_length", wanted))
    assert face_measurements(studio.model, studio.head)["nasal_length"] == pytest.approx(wanted, abs=0.1)
    moved = np.flatnonzero((before.offsets != studio.head.offsets).any(axis=1))
    assert set(moved.tolist()) <= {region.index for region in resolve("nose")}
    assert studio.history.steps[-1].label == f"nose: nasal length to {wanted:.1f}"


def test_a_value_that_no_person_has_is_refused(studio: Studio) -> None:
    before = studio.head
    with pytest.raises(InputError):
        studio.do(SetMeasurement(studio.scope, "nasal_length", 400.0))
    assert studio.head is before


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_word_wider_widens_the_nose_to_the_given_score(studio: Studio, symmetric: bool) -> None:
    studio.set_symmetric(symmetric)
    regions = studio.scope.resolve()
    assert "wider" in named_directions(studio.model, regions, symmetric)
    widths = []
    for sigma in (-2.0, 0.0, 2.0):
        studio.do(MoveByWord(studio.scope, "wider", sigma))
        assert word_score(studio.model, studio.head, regions, symmetric, "wider") == pytest.approx(sigma, abs=1e-3)
        widths.append(face_measurements(studio.model, studio.head)["alar_width"])
    assert widths[1] > widths[0] + 1.0 and widths[2] > widths[1] + 1.0


def test_scores_along_a_word_have_unit_standard_deviation_over_people(studio: Studio) -> None:
    regions = studio.scope.resolve()
    drawn = np.random.default_rng(1).normal(size=(200, studio.model.net.config.identity_size))
    heads = [replace(studio.model.neutral(), z_id=z) for z in drawn]
    for word in named_directions(studio.model, regions, True):
        scores = [word_score(studio.model, head, regions, True, word) for head in heads]
        assert 0.6 < np.std(scores) < 1.6


def test_a_word_moves_only_selected_regions_that_are_not_locked(studio: Studio) -> None:
    before = studio.head
    studio.set_locked(("nose_bridge",), True)
    studio.do(MoveByWord(studio.scope, "projecting", 1.5))
    changed = np.flatnonzero((studio.head.offsets != before.offsets).any(axis=1))
    free = {region.index for region in resolve("nose")} - {resolve("nose_bridge")[0].index}
    assert set(changed) == free


def test_an_unknown_word_lists_the_known_ones(studio: Studio) -> None:
    with pytest.raises(InputError, match=r"nose has no direction 'fuller'; choose one of .*wider"):
        studio.do(MoveByWord(studio.scope, "fuller", 1.0))
