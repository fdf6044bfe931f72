"""Smooth deformations: drawn from their seed, with the stated variance, and eyeballs that move as a whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.errors import InputError
from imhead.sources.deformations import Deformation, DeformationConfig, displacements
from imhead.surfaces.eyeballs import eye_centers
from imhead.types import FloatArray

MIRROR = np.array([-1.0, 1.0, 1.0])
EYES = np.array([[31.0, 30.0, 69.0, 15.4, 2.1]] * 2)
FULL = replace(DeformationConfig(), strength=(1.0, 1.0))
ONE_LENGTH = DeformationConfig(lengths_mm=(30.0,), spreads_mm=(1.5,), strength=(1.0, 1.0))
SEEDS = st.integers(0, 2**31)


def places(count: int, seed: int = 0) -> FloatArray:
    """(count, 3) anywhere on a head, more than 15 mm from the eyeballs."""
    points = np.random.default_rng(seed).uniform([-80.0, -120.0, -90.0], [80.0, 120.0, 100.0], (4 * count, 3))
    away = np.linalg.norm(points[:, None] - eye_centers(EYES), axis=2).min(axis=1)
    return np.asarray(points[away > 31.0][:count])


def drawn(points: FloatArray, config: DeformationConfig, seeds: int) -> FloatArray:
    """(seeds, N, 3) displacements of many draws."""
    return np.stack([displacements(points, EYES, Deformation(seed, config)) for seed in range(seeds)])


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_the_seed_decides(seed: int) -> None:
    points = places(50)
    first, again, other = (displacements(points, EYES, Deformation(k, FULL)) for k in (seed, seed, seed + 1))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (50, 3) and first.dtype == np.float32
    assert np.abs(first - other).max() > 0.1


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_a_place_moves_the_same_way_whatever_other_places_there_are(seed: int) -> None:
    points, deformation = places(60), Deformation(seed, FULL)
    together = displacements(points, EYES, deformation)
    np.testing.assert_allclose(displacements(points[::7], EYES, deformation), together[::7], atol=1e-4)


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_without_a_free_share_both_sides_move_alike(seed: int) -> None:
    points = np.concatenate([places(60), eye_centers(EYES) + [[3.0, 2.0, 14.0]]])
    symmetric = Deformation(seed, replace(FULL, free_share=0.0))
    left, right = (displacements(p, EYES, symmetric) for p in (points, points * MIRROR))
    np.testing.assert_allclose(right, left * MIRROR, atol=1e-4)
    free = Deformation(seed, replace(FULL, free_share=0.5))
    left, right = (displacements(p, EYES, free) for p in (points, points * MIRROR))
    assert np.abs(right - left * MIRROR).max() > 0.1


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.floats(0.0, 3.0))
def test_the_strength_scales_a_deformation(seed: int, strength: float) -> None:
    points = places(30)
    plain = displacements(points, EYES, Deformation(seed, FULL))
    scaled = displacements(points, EYES, Deformation(seed, replace(FULL, strength=(strength, strength))))
    np.testing.assert_allclose(scaled, strength * plain, atol=1e-4)


def test_strengths_are_drawn_evenly_from_their_range() -> None:
    points = places(1)
    ranged = drawn(points, replace(FULL, strength=(0.5, 2.0)), 250)[:, 0, 0]
    plain = np.empty(250)
    for seed in range(250):
        plain[seed] = displacements(points, EYES, Deformation(seed, FULL))[0, 0]
    # both draw the strength first, so that the rest is the same
    strength = ranged / plain
    assert strength.min() > 0.5 - 1e-3 and strength.max() < 2.0 + 1e-3
    assert np.mean(strength) == pytest.approx(1.25, abs=0.1) and np.std(strength) == pytest.approx(0.433, abs=0.06)


@pytest.mark.parametrize("free_share", [0.0, 0.3, 1.0])
def test_the_variance_is_that_of_the_kernels(free_share: float) -> None:
    # far from the middle, near it, and on it
    points = np.array([[75.0, -40.0, 0.0], [10.0, -60.0, 20.0], [0.0, -80.0, 60.0]])
    config = replace(ONE_LENGTH, free_share=free_share)
    found = drawn(points, config, 1500)
    assert np.abs(found.mean(axis=0)).max() < 0.2
    meets = np.exp(-np.square(2.0 * points[:, :1]) / (2.0 * 30.0**2))  # of a place and its mirror image
    wanted = 1.5**2 * ((1.0 - free_share) * (1.0 + meets * MIRROR) + free_share)
    np.testing.assert_allclose(found.var(axis=0), wanted, rtol=0.15, atol=1e-6)


def test_the_covariance_of_two_places_falls_with_their_distance() -> None:
    start = np.array([70.0, -40.0, 0.0])
    points = np.stack([start, start + [0.0, 15.0, 0.0], start + [0.0, 0.0, -30.0], start + [0.0, -90.0, 0.0]])
    found = drawn(points, replace(ONE_LENGTH, free_share=0.5), 1500)
    for k, distance in enumerate((0.0, 15.0, 30.0, 90.0)):
        wanted = np.exp(-(distance**2) / (2.0 * 30.0**2))
        for axis in range(3):
            found_here = np.corrcoef(found[:, 0, axis], found[:, k, axis])[0, 1]
            assert found_here == pytest.approx(wanted, abs=0.08)


def test_the_variances_of_several_lengths_add_up() -> None:
    points = np.array([[78.0, -90.0, -60.0]])
    found = drawn(points, FULL, 1200)
    assert found.var(axis=0).mean() == pytest.approx(np.square(FULL.spreads_mm).sum(), rel=0.15)


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_an_eyeball_moves_as_a_whole_with_the_lids_on_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ways = rng.normal(size=(200, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    depth = rng.uniform(0.0, EYES[0, 3] + 1.9, (200, 1))
    deformation = Deformation(seed, FULL)
    for center in eye_centers(EYES):
        moved = displacements(np.concatenate([center[None], center + depth * ways]), EYES, deformation)
        np.testing.assert_allclose(moved, np.tile(moved[0], (201, 1)), atol=1e-5)
        assert np.abs(moved).max() > 1e-3


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_eyeballs_elsewhere_change_nothing_farther_than_9_mm(seed: int) -> None:
    center, deformation = eye_centers(EYES)[0], Deformation(seed, FULL)
    ways = np.random.default_rng(seed).normal(size=(200, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    points = center + (EYES[0, 3] + 9.1) * ways
    away = EYES + [0.0, 0.0, 500.0, 0.0, 0.0]
    here, there = (displacements(points, eyes, deformation) for eyes in (EYES, away))
    np.testing.assert_allclose(here, there, atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_a_deformation_is_smooth(seed: int) -> None:
    points = np.concatenate([places(100), eye_centers(EYES)[0] + np.linspace(0.0, 30.0, 60)[:, None] * [0.0, 0.0, 1.0]])
    ways = np.random.default_rng(seed).normal(size=points.shape)
    ways *= 0.1 / np.linalg.norm(ways, axis=1, keepdims=True)
    change = np.subtract(*(displacements(p, EYES, Deformation(seed, FULL)) for p in (points + ways, points)))
    assert np.linalg.norm(change, axis=1).max() < 0.1


@pytest.mark.parametrize(
    "wrong",
    [{"lengths_mm": ()}, {"spreads_mm": (1.0,)}, {"lengths_mm": (60.0, 30.0, 15.0, 0.0)}, {"free_share": 1.1},
     {"free_share": -0.1}, {"features": 0}, {"strength": (float("nan"), 1.0)}, {"strength": (1.0, 0.5)},
     {"strength": (1.0,)}, {"strength": ("a", "b")}, {"spreads_mm": (-1.0, 1.0, 1.0, 1.0)},
     {"lengths_mm": (9.0,) * 1000, "spreads_mm": (1.0,) * 1000}],
)  # fmt: skip
def test_a_deformation_that_cannot_be_drawn_is_refused_in_one_line(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        DeformationConfig(**wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
