"""Smooth heights of a mesh that explain scan points."""

from __future__ import annotations

import numpy as np
import trimesh
from scipy.sparse import csr_matrix

from imhead.registration.smooth import HeightField, matern_precision
from imhead.types import FloatArray

BALL = trimesh.creation.icosphere(4, radius=50.0)
VERTICES, FACES = np.asarray(BALL.vertices), np.asarray(BALL.faces)
NORMALS = VERTICES / 50.0
TRUE = 0.5 * np.sin(VERTICES[:, 0] / 15.0)


def at_vertices() -> csr_matrix:
    """Rows of heights measured at the vertices."""
    count = len(VERTICES)
    return csr_matrix((NORMALS.ravel(), np.arange(3 * count), 3 * np.arange(count + 1)), shape=(count, 3 * count))


def found(height: FloatArray, sigma_mm: float, length_mm: float = 20.0) -> FloatArray:
    field = HeightField(VERTICES, NORMALS, FACES, length_mm, 0.5)
    weight = np.full(len(VERTICES), sigma_mm**-2.0)
    return np.einsum("vc,vc->v", field.explaining(at_vertices(), height, weight), NORMALS)


def test_exact_points_are_followed() -> None:
    assert np.abs(found(TRUE, 0.01) - TRUE).max() < 0.02


def test_noise_is_not_followed() -> None:
    noise = np.random.default_rng(0).normal(0.0, 1.0, len(VERTICES))
    left = found(TRUE + noise, 1.0) - TRUE
    assert left.std() < 0.3 and np.abs(found(noise, 1.0)).mean() < 0.2


def test_without_points_nothing_moves() -> None:
    field = HeightField(VERTICES, NORMALS, FACES, 20.0, 0.5)
    assert not field.explaining(at_vertices(), TRUE, np.zeros(len(VERTICES))).any()


def test_heights_far_from_all_points_return_to_rest() -> None:
    field = HeightField(VERTICES, NORMALS, FACES, 10.0, 0.5)
    weight = np.where(VERTICES[:, 2] > 40.0, 1e4, 0.0)
    moved = np.linalg.norm(field.explaining(at_vertices(), np.ones(len(VERTICES)), weight), axis=1)
    assert moved[VERTICES[:, 2] > 45.0].min() > 0.9 and moved[VERTICES[:, 2] < 0.0].max() < 0.01


def test_the_prior_has_the_stated_standard_deviation_and_length() -> None:
    covariance = np.linalg.inv(matern_precision(VERTICES, FACES, 15.0, 0.5).toarray())
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), 0.5, rtol=0.1)
    away = np.arccos(np.clip(NORMALS @ NORMALS[0], -1.0, 1.0)) * 50.0
    near = np.abs(away - 15.0) < 1.5
    assert 0.05 < (covariance[0, near] / covariance[0, 0]).mean() < 0.25
