"""Sums of splines equal those of the formula, and the most likely displacement that of a direct solution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, random_array

from imhead.fitting.residual import ResidualConfig, _Heights, _most_likely
from imhead.fitting.splines import Splines, product_of
from imhead.types import FloatArray

SPACINGS, FACTORS = (24.0, 12.0), (4.0, 2.0)


def some_places(count: int) -> FloatArray:
    return np.random.default_rng(5).uniform(-40.0, 40.0, (count, 3))


def spline(t: FloatArray) -> FloatArray:
    """The quadratic B-spline at t spacings from its node."""
    away = np.abs(t)
    return np.where(away < 0.5, 0.75 - away**2, np.where(away < 1.5, 0.5 * (1.5 - away) ** 2, 0.0))


def test_the_values_are_those_of_the_formula() -> None:
    places = some_places(60)
    splines = Splines.at(places, SPACINGS, FACTORS)
    spacing = np.array(SPACINGS)[splines.nodes[:, 0]][:, None]
    each = (
        spline(places[:, None] / spacing - splines.nodes[:, 1:]).prod(axis=2) * np.array(FACTORS)[splines.nodes[:, 0]]
    )
    assert np.abs(splines.values.toarray() - each).max() < 1e-12
    assert each.sum(axis=1) == pytest.approx(np.full(60, sum(FACTORS))), "no node that reaches a place is left out"


def test_products_and_their_transposes_are_those_of_the_dense_matrix() -> None:
    rng = np.random.default_rng(1)
    splines = Splines.at(some_places(60), SPACINGS, FACTORS)
    dense = splines.values.toarray()
    coefficients, values = rng.normal(size=(dense.shape[1], 3)), rng.normal(size=(60, 3))
    assert np.abs(splines.summed(coefficients) - dense @ coefficients).max() < 1e-12
    assert np.abs(splines.gathered(values) - dense.T @ values).max() < 1e-12
    assert np.abs(splines.squared(values) - (dense**2).T @ values).max() < 1e-12


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_product_is_that_of_scipy_on_any_number_of_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = csr_array(random_array((101, 40), density=0.2, rng=np.random.default_rng(2)))
    right = np.random.default_rng(3).normal(size=(40, 3))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        fast = product_of(matrix)(right)
    finally:
        torch.set_num_threads(before)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert np.abs(fast - product_of(matrix)(right)).max() < 1e-12


def test_the_most_likely_displacement_is_that_of_a_direct_solution() -> None:
    rng = np.random.default_rng(4)
    places, normals = some_places(80), rng.normal(size=(80, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    heights = _Heights(places, normals, rng.normal(0.0, 0.3, 80), np.full(80, 0.2**2))
    config = ResidualConfig(spacing_mm=SPACINGS, sigma_mm=FACTORS, most_sigma=100.0, iterations=2000, tolerance=1e-9)
    found = _most_likely(heights, config)
    dense = Splines.at(places, SPACINGS, FACTORS).values.toarray()
    rows = (dense[:, :, None] * normals[:, None]).reshape(80, -1)
    system = rows.T @ rows / heights.variance[0] + np.eye(rows.shape[1])
    direct = np.linalg.solve(system, rows.T @ heights.height_mm / heights.variance[0]).reshape(-1, 3)
    direct *= np.array(FACTORS)[found.nodes[:, 0], None]
    # kept as numbers of 11 bits
    assert np.abs(found.values.astype(np.float64) - direct).max() < 1e-3 * np.abs(direct).max()
