"""The ± of a measurement: from its landmarks' errors, those that they share included, and from an assumed scale."""

from __future__ import annotations

import numpy as np
import pytest

from imhead.errors import InputError
from imhead.measure.landmarks import LANDMARKS, landmark_names
from imhead.measure.table import MEASUREMENTS, errors, values
from imhead.types import Certainty, FloatArray

PLACES = np.array([k.mean_mm if not right else (-k.mean_mm[0], *k.mean_mm[1:])
                   for k in LANDMARKS for right in ((False, True) if k.paired else (False,))])  # fmt: skip


def certainty(own_mm: float, factor: FloatArray | None = None, size_share: float = 0.0) -> Certainty:
    count = len(landmark_names())
    shared = np.zeros((3 * count, 1)) if factor is None else factor
    return Certainty(np.ones(4), np.ones(4), shared, np.full(count, own_mm), size_share, 2.0, True)


def test_a_distance_between_two_independent_landmarks_has_the_error_of_both() -> None:
    found = errors(PLACES, certainty(0.5))
    assert found["alar_width"] == pytest.approx(0.5 * np.sqrt(2.0), rel=1e-4)
    assert found.keys() == {kind.name for kind in MEASUREMENTS}


def test_an_error_that_moves_the_whole_head_changes_no_measurement() -> None:
    shift = np.tile([3.0, -2.0, 1.0], len(PLACES))[:, None]
    assert max(errors(PLACES, certainty(0.0, shift)).values()) < 1e-4


def test_an_assumed_scale_adds_its_share_to_lengths_and_nothing_to_angles() -> None:
    found, value = errors(PLACES, certainty(0.0, size_share=0.05)), values(PLACES)
    assert found["face_height"] == pytest.approx(0.05 * value["face_height"])
    assert found["nasofrontal_angle"] == 0.0


def test_errors_agree_with_heads_drawn_from_the_same_posterior() -> None:
    rng = np.random.default_rng(0)
    factor = 0.3 * rng.normal(size=(3 * len(PLACES), 6))
    drawn = [values(PLACES + (factor @ rng.normal(size=6)).reshape(-1, 3)) for _ in range(400)]
    found = errors(PLACES, certainty(0.0, factor))
    for name in ("mouth_width", "nasal_length", "face_height", "nasofrontal_angle"):
        assert found[name] == pytest.approx(np.std([row[name] for row in drawn]), rel=0.15)


def test_certainty_of_other_landmarks_is_refused() -> None:
    with pytest.raises(InputError, match="landmarks"):
        errors(PLACES[:5], certainty(0.5))
