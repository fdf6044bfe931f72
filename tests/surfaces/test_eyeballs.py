"""Eyeballs: exact distances to ball and cornea, mirrored alike, and fitted to vertices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.surfaces.eyeballs import (
    eye_centers,
    eyeball_distance,
    eyes_distance,
    eyes_gradient,
    fitted_eyes,
    near_eyes,
    on_eyeball,
)

MIRROR = np.array([-1.0, 1.0, 1.0])
EYE = np.array([31.0, 30.0, 69.0, 15.4, 2.1])
EYES = np.stack([EYE, EYE + [0.8, -0.5, 0.4, -0.6, 0.5]])
GAZE = np.array([0.11, 0.0, np.sqrt(1.0 - 0.11**2)])

EYEBALLS = st.builds(
    lambda place, radius, bulge: np.array([*place, radius, bulge]),
    st.tuples(st.floats(15.0, 45.0), st.floats(10.0, 50.0), st.floats(50.0, 90.0)),
    st.floats(9.0, 18.0),
    st.floats(0.3, 3.0),
)
SEEDS = st.integers(0, 2**31)


def directions(count: int, seed: int) -> np.ndarray:
    """Unit vectors (count, 3)."""
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def around(eyeball: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Points (count, 3) at most 15 mm from the surface of a left eyeball."""
    depth = np.random.default_rng([1, seed]).uniform(0.4 * eyeball[3], eyeball[3] + 15.0, count)
    return np.asarray(eyeball[:3] + depth[:, None] * directions(count, seed))


@settings(deadline=None, max_examples=50)
@given(EYEBALLS, SEEDS)
def test_behind_the_cornea_the_distance_is_that_to_the_ball(eyeball: np.ndarray, seed: int) -> None:
    points = around(eyeball, 200, seed)
    away = points - eyeball[:3]
    back = away @ GAZE < 0.2 * np.linalg.norm(away, axis=1)
    assert back.any()
    wanted = np.linalg.norm(away[back], axis=1) - eyeball[3]
    np.testing.assert_allclose(eyeball_distance(points[back], eyeball), wanted, atol=1e-9)


@settings(deadline=None, max_examples=50)
@given(EYEBALLS, st.floats(-1.0, 10.0))
def test_along_the_gaze_the_distance_is_that_to_the_tip_of_the_cornea(eyeball: np.ndarray, height: float) -> None:
    # with a low cornea, ball and cornea are joined as far as the tip
    tip = eyeball[:3] + (eyeball[3] + eyeball[4]) * GAZE
    found = eyeball_distance((tip + height * GAZE)[None], eyeball)[0]
    joined = 0.05 + 1.35 * eyeball[4]
    assert height - 0.25 * joined <= found <= height + 1e-3
    if eyeball[4] > joined:
        assert found == pytest.approx(height, abs=1e-3)


@settings(deadline=None, max_examples=50)
@given(EYEBALLS, SEEDS)
def test_a_distance_changes_no_faster_than_its_points_move(eyeball: np.ndarray, seed: int) -> None:
    # so it is never longer than the way to the surface
    one, other = around(eyeball, 300, seed), around(eyeball, 300, seed + 1)
    change = np.abs(eyeball_distance(one, eyeball) - eyeball_distance(other, eyeball))
    assert (change <= np.linalg.norm(one - other, axis=1) + 1e-9).all()


@settings(deadline=None, max_examples=50)
@given(EYEBALLS, SEEDS)
def test_a_union_is_never_smaller_than_the_ball_and_the_cornea(eyeball: np.ndarray, seed: int) -> None:
    points = around(eyeball, 300, seed)
    cornea = 0.51 * eyeball[3]
    center = eyeball[:3] + (eyeball[3] + eyeball[4] - cornea) * GAZE
    parts = [
        np.linalg.norm(points - eyeball[:3], axis=1) - eyeball[3],
        np.linalg.norm(points - center, axis=1) - cornea,
    ]
    nearer = np.minimum(*parts)
    found = eyeball_distance(points, eyeball)
    assert (found <= nearer + 1e-3).all()
    apart = np.abs(parts[0] - parts[1]) > 0.05 + 1.35 * eyeball[4]
    assert apart.any()
    np.testing.assert_allclose(found[apart], nearer[apart], atol=2e-3)


@settings(deadline=None, max_examples=50)
@given(EYEBALLS, SEEDS)
def test_near_the_surface_the_gradient_has_unit_length_and_points_outwards(eyeball: np.ndarray, seed: int) -> None:
    ways = directions(200, seed)
    points = on_eyeball(ways, eyeball) + 0.3 * ways
    eyes = np.stack([eyeball, eyeball + [500.0, 0.0, 0.0, 0.0, 0.0]])
    gradient = eyes_gradient(points, eyes)
    length = np.linalg.norm(gradient, axis=1)
    # where ball and cornea are joined it is a little shorter, nowhere longer
    assert length.max() < 1.0 + 1e-6 and length.min() > 0.9
    back = ways @ GAZE < 0.2
    np.testing.assert_allclose(gradient[back], ways[back], atol=1e-3)
    assert (gradient * ways).sum(axis=1).min() > 0.8
    landed = points - eyes_distance(points, eyes)[:, None] * gradient
    assert np.abs(eyes_distance(landed, eyes)).max() < 0.06


@settings(deadline=None, max_examples=50)
@given(EYEBALLS, SEEDS)
def test_the_gradient_is_the_slope_of_the_distance(eyeball: np.ndarray, seed: int) -> None:
    eyes = np.stack([eyeball, eyeball + [1.0, -1.0, 0.5, 0.3, -0.2]])
    points = around(eyeball, 50, seed) * MIRROR ** (np.arange(50)[:, None] % 2)  # every other one on the right
    step = 1e-2 * directions(50, seed + 1)
    change = eyes_distance(points + step, eyes) - eyes_distance(points - step, eyes)
    slope = (eyes_gradient(points, eyes) * 2.0 * step).sum(axis=1)
    # as far from one eyeball as from the other, the distance has a kink
    each = eyeball_distance(points, eyes[0]), eyeball_distance(points * MIRROR, eyes[1])
    smooth = np.abs(each[0] - each[1]) > 0.05
    assert smooth.any()
    np.testing.assert_allclose(slope[smooth], change[smooth], atol=1e-4)


@settings(deadline=None, max_examples=50)
@given(EYEBALLS, EYEBALLS, SEEDS)
def test_mirrored_eyes_have_the_mirrored_distances_bit_for_bit(left: np.ndarray, right: np.ndarray, seed: int) -> None:
    eyes = np.stack([left, right])
    points = around(left, 100, seed) * MIRROR ** (np.arange(100)[:, None] % 2)
    np.testing.assert_array_equal(eyes_distance(points * MIRROR, eyes[::-1]), eyes_distance(points, eyes))
    np.testing.assert_allclose(eye_centers(eyes[::-1]), eye_centers(eyes)[::-1] * MIRROR)


def test_the_nearer_of_two_eyes_counts() -> None:
    centers = eye_centers(EYES)
    np.testing.assert_allclose(eyes_distance(centers, EYES), -EYES[:, 3], atol=1e-9)
    points = around(EYE, 100, 0)
    np.testing.assert_array_equal(eyes_distance(points, EYES), eyeball_distance(points, EYES[0]))


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_a_distance_is_rounded_alike_however_many_points_are_asked_for(seed: int) -> None:
    points = around(EYE, 101, seed)
    together = eyes_distance(points, EYES)
    for count in (1, 2, 7, 64):
        np.testing.assert_array_equal(eyes_distance(points[-count:], EYES), together[-count:])


@settings(deadline=None, max_examples=50)
@given(EYEBALLS, SEEDS)
def test_points_on_an_eyeball_have_distance_0_and_lie_in_their_direction(eyeball: np.ndarray, seed: int) -> None:
    ways = np.concatenate([directions(100, seed), GAZE[None]])
    points = on_eyeball(ways, eyeball)
    np.testing.assert_allclose(eyeball_distance(points, eyeball), 0.0, atol=1e-8)
    away = points - eyeball[:3]
    np.testing.assert_allclose(away, np.linalg.norm(away, axis=1, keepdims=True) * ways, atol=1e-9)
    assert np.linalg.norm(away, axis=1).min() > eyeball[3] - 1e-6


@settings(deadline=None, max_examples=25)
@given(EYEBALLS, EYEBALLS, SEEDS)
def test_fitted_eyes_are_those_that_the_vertices_were_taken_from(
    left: np.ndarray, right: np.ndarray, seed: int
) -> None:
    ways = directions(300, seed)
    vertices = on_eyeball(ways, left), on_eyeball(ways[::-1], right) * MIRROR
    np.testing.assert_allclose(fitted_eyes(*vertices), np.stack([left, right]), atol=1e-3)


def test_vertices_of_a_plain_ball_give_an_eyeball_that_hardly_bulges() -> None:
    ball = EYE[:3] + 12.0 * directions(400, 3)
    left, right = fitted_eyes(ball, ball * MIRROR)
    np.testing.assert_allclose(left, right, atol=1e-6)
    np.testing.assert_allclose(left[:3], EYE[:3], atol=0.1)
    assert left[3] == pytest.approx(12.0, abs=0.1) and 0.0 <= left[4] < 0.3


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.floats(0.0, 30.0))
def test_every_point_within_reach_is_among_those_near_the_eyes(seed: int, reach: float) -> None:
    points = np.random.default_rng(seed).uniform([-90.0, -30.0, 10.0], [90.0, 90.0, 130.0], (500, 3))
    rows = near_eyes(points, EYES, reach)
    assert np.isin(np.flatnonzero(eyes_distance(points, EYES) < reach - 1e-6), rows).all()
    far = np.delete(points, rows, axis=0)
    assert (np.linalg.norm(far[:, None] - eye_centers(EYES), axis=2) > reach + EYES[:, 3]).all()


def test_no_point_is_near_no_points() -> None:
    assert len(near_eyes(np.zeros((0, 3)), EYES)) == 0
    assert eyes_distance(np.zeros((0, 3)), EYES).shape == (0,)
    assert eyes_gradient(np.zeros((0, 3)), EYES).shape == (0, 3)
