"""Projection onto a zero set: points end on it, within their limits, and independently of one another."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.template.projection import ProjectionConfig, gradient, onto_zero_set
from imhead.types import FloatArray


def sphere(points: FloatArray) -> FloatArray:
    """Signed distance to a sphere of 50 mm, 20 % too steep."""
    return 1.2 * (np.linalg.norm(points, axis=1) - 50.0)


def around(seed: int, spread_mm: float) -> tuple[FloatArray, FloatArray]:
    """Points near the sphere, and the sphere's normals there."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(200, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return normals * (50.0 + rng.uniform(-spread_mm, spread_mm, (200, 1))), normals


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_points_near_the_zero_set_end_on_it(seed: int) -> None:
    points, normals = around(seed, 1.8)
    assert np.abs(sphere(onto_zero_set(sphere, points, normals, np.ones(200)))).max() < 1e-3


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_no_point_moves_farther_than_the_reach(seed: int) -> None:
    points, normals = around(seed, 20.0)
    moved = onto_zero_set(sphere, points, normals, np.ones(200), ProjectionConfig(reach_mm=3.0))
    assert np.linalg.norm(moved - points, axis=1).max() <= 3.0


def test_a_point_stays_where_the_sheet_faces_the_other_way() -> None:
    points, normals = around(0, 1.0)
    assert np.array_equal(onto_zero_set(sphere, points, -normals, np.ones(200)), points)


def test_a_point_with_no_share_stays_and_its_field_is_not_evaluated() -> None:
    points, normals = around(0, 1.0)
    share = (np.arange(200) < 50).astype(float)

    def only_the_first(asked: FloatArray) -> FloatArray:
        assert len(asked) in (50, 200)
        return sphere(asked)

    assert np.array_equal(onto_zero_set(only_the_first, points, normals, share)[50:], points[50:])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 199))
def test_where_a_point_ends_does_not_depend_on_the_others(seed: int, count: int) -> None:
    points, normals = around(seed, 2.5)
    together = onto_zero_set(sphere, points, normals, np.ones(200))
    assert np.array_equal(onto_zero_set(sphere, points[:count], normals[:count], np.ones(count)), together[:count])


def test_the_value_and_the_gradient_of_a_plane_are_exact() -> None:
    slope = np.array([0.3, -0.8, 0.5])
    points = np.random.default_rng(0).normal(size=(20, 3))
    value, found = gradient(lambda p: p @ slope, points)
    np.testing.assert_allclose(value, points @ slope, atol=1e-9)
    np.testing.assert_allclose(found, np.tile(slope, (20, 1)), atol=1e-9)
