"""Agreement of repeats, against published figures and known truths."""

from __future__ import annotations

import numpy as np
import pytest

from imhead.cohort.repeats import repeatability, vertex_errors

# the worked example of Shrout and Fleiss 1979: six targets, four judges
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=np.float64
)


def test_the_correlation_is_that_of_shrout_and_fleiss() -> None:
    found = repeatability(list(SHROUT_FLEISS))
    assert found is not None
    assert found.icc == pytest.approx(0.17, abs=0.005)
    # their interval for ICC(1,1)
    assert found.icc_low == pytest.approx(-0.13, abs=0.01) and found.icc_high == pytest.approx(0.72, abs=0.01)


def test_the_technical_error_of_pairs_is_dahlbergs() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.normal(100.0, 8.0, (400, 1)) + rng.normal(0.0, 0.7, (400, 2))
    found = repeatability(list(pairs))
    assert found is not None
    difference = pairs[:, 1] - pairs[:, 0]
    assert found.tem == pytest.approx(np.sqrt((difference**2).sum() / (2 * 400)))
    assert found.tem == pytest.approx(0.7, rel=0.1) and found.tem_percent == pytest.approx(0.7, rel=0.1)
    assert found.icc == pytest.approx(64.0 / (64.0 + 0.49), abs=0.01)
    assert found.icc_low < found.icc < found.icc_high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.7 * np.sqrt(2.0), rel=0.1)


def test_a_second_sitting_that_reads_higher_shows_as_bias() -> None:
    found = repeatability([np.array([k, k + 2.0]) for k in (50.0, 60.0, 75.0)])
    assert found is not None and found.bias == pytest.approx(2.0) and found.low == found.high == pytest.approx(2.0)


def test_people_who_were_measured_once_do_not_count() -> None:
    twice = [np.array([50.0, 51.0]), np.array([60.0, 60.5])]
    assert repeatability([*twice, np.array([90.0]), np.array([])]) == repeatability(twice)
    assert repeatability([np.array([50.0]), np.array([60.0])]) is None


def test_the_error_of_a_vertex_is_the_spread_within_people() -> None:
    rng = np.random.default_rng(0)
    sigma = np.array([0.2, 1.0, 3.0])
    heights = [rng.normal(10.0 * k, sigma, (3, 3)) for k in range(300)] + [np.zeros((1, 3))]
    np.testing.assert_allclose(vertex_errors(heights), sigma, rtol=0.1)
