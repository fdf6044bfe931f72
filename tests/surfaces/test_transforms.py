"""Similarities: what a matrix does to points, and what is recovered from points."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from imhead.surfaces.transforms import aligned, matrix_of, rotation_of, transform_directions, transform_points
from imhead.types import FloatArray

SEED = st.integers(0, 10_000)
SCALE = st.floats(0.01, 100.0)
SHIFT = st.tuples(*[st.floats(-500.0, 500.0)] * 3).map(np.array)


def rotation(seed: int) -> FloatArray:
    return np.asarray(Rotation.random(random_state=seed).as_matrix())


def cloud(seed: int, count: int = 40) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(count, 3)) * [60.0, 90.0, 80.0]


@settings(deadline=None, max_examples=50)
@given(seed=SEED, scale=SCALE, shift=SHIFT)
def test_a_matrix_scales_rotates_and_shifts_points_but_does_not_shift_directions(
    seed: int, scale: float, shift: FloatArray
) -> None:
    turn, points = rotation(seed), cloud(seed)
    matrix = matrix_of(scale * turn, shift)
    wanted = np.stack([scale * turn @ point for point in points])
    np.testing.assert_allclose(transform_directions(matrix, points), wanted, atol=1e-9 * scale * 500.0)
    np.testing.assert_allclose(transform_points(matrix, points), wanted + shift, atol=1e-9 * scale * 500.0 + 1e-9)
    np.testing.assert_allclose(rotation_of(matrix), turn, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(seed=SEED, scale=SCALE, shift=SHIFT)
def test_a_product_of_matrices_does_what_they_do_in_turn_and_the_inverse_undoes_it(
    seed: int, scale: float, shift: FloatArray
) -> None:
    first, second = matrix_of(scale * rotation(seed), shift), matrix_of(rotation(seed + 1) / scale, -shift)
    points = cloud(seed)
    in_turn = transform_points(second, transform_points(first, points))
    np.testing.assert_allclose(transform_points(second @ first, points), in_turn, atol=1e-6)
    there_and_back = transform_points(np.linalg.inv(first), transform_points(first, points))
    np.testing.assert_allclose(there_and_back, points, atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(seed=SEED, scale=SCALE, shift=SHIFT, weighted=st.booleans())
def test_a_known_scale_and_rotation_are_recovered(seed: int, scale: float, shift: FloatArray, weighted: bool) -> None:
    turn, source = rotation(seed), cloud(seed)
    weights = np.random.default_rng(seed).dirichlet(np.ones(len(source))) if weighted else None
    found_scale, found = aligned(source, transform_points(matrix_of(scale * turn, shift), source), weights)
    np.testing.assert_allclose(found_scale, scale, rtol=1e-9)
    np.testing.assert_allclose(found, turn, atol=1e-8)


@settings(deadline=None, max_examples=25)
@given(seed=SEED)
def test_a_mirror_image_is_aligned_by_a_rotation_and_not_by_a_reflection(seed: int) -> None:
    source = cloud(seed)
    _, found = aligned(source, source * [-1.0, 1.0, 1.0])
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(found) > 0.0


def test_points_of_weight_zero_do_not_count() -> None:
    source = cloud(0)
    target = transform_points(matrix_of(2.0 * rotation(1), np.array([1.0, 2.0, 3.0])), source)
    target[:10] += 300.0
    weights = np.where(np.arange(len(source)) < 10, 0.0, 1.0 / (len(source) - 10))
    scale, found = aligned(source, target, weights)
    np.testing.assert_allclose(scale, 2.0)
    np.testing.assert_allclose(found, rotation(1), atol=1e-9)
