"""The encoder's input."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.encoding.features import REACH_MM, basis_features

RNG = np.random.default_rng(0)
BASIS = RNG.normal(0.0, 60.0, (50, 3))


@given(seed=st.integers(0, 1000), count=st.integers(1, 300))
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_points_does_not_matter(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(0.0, 60.0, (count, 3))
    assert np.allclose(basis_features(points, BASIS), basis_features(rng.permutation(points), BASIS), atol=1e-6)


@given(seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_a_mirrored_scan_and_basis_give_mirrored_vectors(seed: int) -> None:
    flip = np.array([-1.0, 1.0, 1.0])
    points = np.random.default_rng(seed).normal(0.0, 60.0, (200, 3))
    mirrored = basis_features(points * flip, BASIS * flip)
    assert np.allclose(mirrored * [-1.0, 1.0, 1.0, 1.0], basis_features(points, BASIS), atol=1e-6)


def test_a_basis_point_without_a_scan_point_near_it_is_marked_and_has_no_vector() -> None:
    features = basis_features(BASIS[:1] + [0.0, 0.0, REACH_MM - 1.0], BASIS)
    alone = np.linalg.norm(BASIS - BASIS[0] - [0.0, 0.0, REACH_MM - 1.0], axis=1) >= REACH_MM
    assert features[0, 3] == 1.0 and features[0, 2] * REACH_MM == np.float32(REACH_MM - 1.0)
    assert alone.any() and not features[alone].any()


def test_a_scan_without_points_has_no_features() -> None:
    assert not basis_features(np.zeros((0, 3)), BASIS).any()


def test_vectors_to_a_dense_scan_end_on_its_surface() -> None:
    plane = np.stack(np.meshgrid(np.arange(-40.0, 40.0), np.arange(-40.0, 40.0)), axis=-1).reshape(-1, 2)
    points = np.column_stack([plane, np.full(len(plane), 3.0)])
    basis = np.column_stack([RNG.uniform(-20, 20, (30, 2)), np.zeros(30)])
    step = basis_features(points, basis)[:, :3] * REACH_MM
    assert np.abs(step[:, 2] - 3.0).max() < 1e-3 and np.abs(step[:, :2]).max() < 1.0
