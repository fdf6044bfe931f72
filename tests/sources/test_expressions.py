"""Drawn expressions: neutral, eyes shut, mouth open, and otherwise what faces do."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.conventions import ARKIT_NAMES
from imhead.sources.expressions import EMOTIONS, SPEECH, draw_expressions, without_opposites

ROW = {name: k for k, name in enumerate(ARKIT_NAMES)}
SEEDS = st.integers(0, 2**31)


@settings(deadline=None, max_examples=60)
@given(SEEDS)
def test_every_head_has_a_neutral_face_shut_eyes_and_an_open_mouth(seed: int) -> None:
    weights = draw_expressions(seed, 3)
    assert not weights[0].any()
    assert weights[1, ROW["eyeBlinkLeft"]] == weights[1, ROW["eyeBlinkRight"]] == 1.0
    assert weights[2, ROW["jawOpen"]] >= 0.5


@settings(deadline=None, max_examples=60)
@given(SEEDS)
def test_weights_lie_between_zero_and_one_and_mean_something(seed: int) -> None:
    weights = draw_expressions(seed, 12)
    assert weights.shape == (12, 52) and weights.dtype == np.float32
    assert (weights >= 0.0).all() and (weights <= 1.0).all()
    assert not weights[:, ROW["tongueOut"]].any()
    assert (weights[:, ROW["mouthClose"]] <= weights[:, ROW["jawOpen"]]).all()


@settings(deadline=None, max_examples=60)
@given(SEEDS)
def test_no_face_smiles_and_frowns_or_opens_its_eyes_wide_and_shuts_them(seed: int) -> None:
    weights = draw_expressions(seed, 8)
    for one, other in (("mouthSmile", "mouthFrown"), ("mouthStretch", "mouthPucker"), ("eyeBlink", "eyeWide")):
        pair = [
            weights[:, [k for name, k in ROW.items() if name.startswith(stem)]].max(axis=1) for stem in (one, other)
        ]
        assert (np.minimum(*pair) == 0.0).all()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0.0, 1.0), min_size=52, max_size=52))
def test_dropping_opposites_twice_changes_nothing_more(values: list[float]) -> None:
    once = without_opposites(np.array(values))
    np.testing.assert_array_equal(without_opposites(once), once)
    assert ((once == np.array(values)) | (once == 0.0))[[k for k in range(52) if k != ROW["mouthClose"]]].all()


def test_fewer_expressions_are_the_first_of_more() -> None:
    np.testing.assert_array_equal(draw_expressions(3, 4), draw_expressions(3, 12)[:4])
    assert not np.array_equal(draw_expressions(3, 12), draw_expressions(4, 12))


def test_both_sides_of_a_face_move_together() -> None:
    weights = np.concatenate([draw_expressions(seed, 12) for seed in range(60)])
    stems = [name[:-4] for name in ARKIT_NAMES if name.endswith("Left") and not name.startswith(("eyeLook", "jaw"))]
    stems.remove("mouth")  # mouthLeft is a direction, not a side
    left, right = (weights[:, [ROW[stem + side] for stem in stems]] for side in ("Left", "Right"))
    moving = np.maximum(left, right) > 0.2
    assert np.median(np.abs(left - right)[moving]) < 0.15


def test_every_unit_is_drawn_except_the_tongue_and_none_alone() -> None:
    weights = np.concatenate([draw_expressions(seed, 12)[3:] for seed in range(120)])
    assert [name for name, seen in zip(ARKIT_NAMES, weights.max(axis=0) > 0) if not seen] == ["tongueOut"]
    assert np.median((weights > 0).sum(axis=1)) >= 3


def test_emotions_and_speech_name_units_that_exist() -> None:
    for table in (EMOTIONS, SPEECH):
        for recipe in table.values():
            for stem in recipe:
                assert stem in ROW or f"{stem}Left" in ROW
