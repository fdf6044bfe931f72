"""Procrustes alignment and principal components obey their laws."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from imhead.cohort.alignment import centroid_sizes, superimposed
from imhead.cohort.components import principal_components

SEEDS = st.integers(0, 2**31)


def cloud(rng: np.random.Generator, count: int) -> np.ndarray:
    """Shapes (count, 40, 3) that differ by a few mm."""
    return rng.normal(0.0, 50.0, (40, 3)) + rng.normal(0.0, 2.0, (count, 40, 3))


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_turning_and_shifting_heads_changes_nothing_but_the_pose_of_the_mean(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes, everywhere = cloud(rng, 5), np.ones(40, dtype=bool)
    turns = Rotation.random(5, rng=rng).as_matrix()
    moved = np.einsum("nij,nvj->nvi", turns, shapes) + rng.normal(0.0, 100.0, (5, 1, 3))
    first, second = superimposed(shapes, everywhere), superimposed(moved, everywhere)
    spread = [np.linalg.norm(k - k.mean(axis=0), axis=2) for k in (first, second)]
    np.testing.assert_allclose(spread[0], spread[1], atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_a_vertex_outside_of_the_aligned_ones_has_no_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes, on = cloud(rng, 4), np.arange(40) < 30
    other = shapes.copy()
    other[:, ~on] += rng.normal(0.0, 30.0, (4, 10, 3))
    np.testing.assert_allclose(superimposed(shapes, on)[:, on], superimposed(other, on)[:, on], atol=1e-9)


def test_sizes_are_kept_or_made_equal_as_asked() -> None:
    rng = np.random.default_rng(1)
    shapes = cloud(rng, 4) * np.array([0.8, 1.0, 1.1, 1.3])[:, None, None]
    everywhere = np.ones(40, dtype=bool)
    np.testing.assert_allclose(centroid_sizes(superimposed(shapes, everywhere)), centroid_sizes(shapes), rtol=1e-9)
    equal = centroid_sizes(superimposed(shapes, everywhere, sizes=False))
    np.testing.assert_allclose(equal, centroid_sizes(shapes).mean(), rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_components_are_uncorrelated_of_unit_variance_and_give_the_shapes_back(seed: int) -> None:
    shapes = cloud(np.random.default_rng(seed), 8)
    found = principal_components(shapes)
    np.testing.assert_allclose(found.scores.T @ found.scores / 7, np.eye(found.scores.shape[1]), atol=1e-8)
    back = found.mean + np.einsum("nk,kvc->nvc", found.scores, found.directions)
    np.testing.assert_allclose(back, shapes, atol=1e-8)
    assert (np.diff(found.explained) <= 1e-12).all() and abs(found.explained.sum() - 1.0) < 1e-9
    np.testing.assert_allclose(found.at(0, 2.0) - found.mean, 2.0 * found.directions[0])


def test_only_as_many_components_are_kept_as_explain_the_share() -> None:
    found = principal_components(cloud(np.random.default_rng(0), 20), share=0.5)
    assert found.explained.sum() >= 0.5 > found.explained[:-1].sum()
