"""Composed heads: reproducible, smooth mixtures, and expressions within their range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.conventions import ARKIT_NAMES
from imhead.datasets.recipe import HELD_OUT_SEED
from imhead.sources.compose import ComposeConfig, draw_expression, draw_identity, group_masks
from imhead.sources.ict import IctModel


@pytest.fixture(scope="module")
def masks(ict: IctModel) -> np.ndarray:
    return group_masks(ict.mean)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(*[st.floats(-300, 300)] * 3), min_size=1, max_size=20))
def test_masks_sum_to_one_everywhere(points: list[tuple[float, float, float]]) -> None:
    masks = group_masks(np.array(points))
    assert (masks >= 0).all()
    np.testing.assert_allclose(masks.sum(axis=0), 1.0, atol=1e-5)


def test_masks_sum_to_one_on_the_head_and_are_smooth(ict: IctModel, masks: np.ndarray) -> None:
    np.testing.assert_allclose(masks.sum(axis=0), 1.0, atol=1e-5)
    edges = ict.skin_open_faces[:, [0, 1]]
    length = np.linalg.norm(ict.mean[edges[:, 0]] - ict.mean[edges[:, 1]], axis=1)
    assert (np.abs(masks[:, edges[:, 0]] - masks[:, edges[:, 1]]).max(axis=0) < 0.05 + 0.1 * length).all()
    # every group leads somewhere
    assert len(set(masks.argmax(axis=0).tolist())) == len(masks)


def test_the_same_seed_is_the_same_head(ict: IctModel, masks: np.ndarray) -> None:
    for seed in (0, 1, HELD_OUT_SEED):
        first, again = (draw_identity(ict, masks, seed, ComposeConfig()) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert first.shape == ict.mean.shape and first.dtype == np.float32


def test_heads_that_are_held_out_are_none_of_those_trained_on(ict: IctModel, masks: np.ndarray) -> None:
    trained = [draw_identity(ict, masks, seed, ComposeConfig()) for seed in range(4)]
    held_out = [draw_identity(ict, masks, HELD_OUT_SEED + seed, ComposeConfig()) for seed in range(4)]
    heads = trained + held_out
    for k, head in enumerate(heads):
        for other in heads[:k]:
            assert np.linalg.norm(head - other, axis=1).mean() > 0.5


def test_a_plain_draw_is_linear_and_a_composed_one_is_not(ict: IctModel, masks: np.ndarray) -> None:
    rows = np.random.default_rng(0).choice(len(ict.mean), 400, replace=False)
    modes = np.concatenate([ict.identity, [ict.mirrored(mode) for mode in ict.identity]])[:, rows].reshape(200, -1).T

    def unexplained(fraction: float) -> float:
        head = draw_identity(ict, masks, 5, ComposeConfig(composed_fraction=fraction))[rows].ravel()
        rest = head - modes @ np.linalg.lstsq(modes, head, rcond=None)[0]
        return float(np.linalg.norm(rest) / np.linalg.norm(head))

    assert unexplained(0.0) < 1e-3
    assert unexplained(1.0) > 0.02


def test_heads_keep_to_the_size_of_people(ict: IctModel, masks: np.ndarray) -> None:
    for seed in range(8):
        moved = np.linalg.norm(draw_identity(ict, masks, seed, ComposeConfig()), axis=1)
        assert moved.max() < 60.0


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**31))
def test_expression_weights_lie_between_zero_and_one(seed: int) -> None:
    weights = draw_expression(seed)
    assert weights.shape == (52,)
    assert (weights >= 0.0).all() and (weights <= 1.0).all()
    assert weights[ARKIT_NAMES.index("tongueOut")] == 0.0
    assert weights[ARKIT_NAMES.index("mouthClose")] <= weights[ARKIT_NAMES.index("jawOpen")]


def test_the_same_seed_is_the_same_expression() -> None:
    np.testing.assert_array_equal(draw_expression(7), draw_expression(7))
    assert not np.array_equal(draw_expression(7), draw_expression(8))


def test_every_unit_is_drawn_by_some_seed_except_the_tongue() -> None:
    drawn = np.max([draw_expression(seed) for seed in range(1500)], axis=0) > 0
    assert [name for name, seen in zip(ARKIT_NAMES, drawn) if not seen] == ["tongueOut"]
