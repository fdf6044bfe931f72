"""The constants of the certainty are learnt so that intervals hold what they say on draws that were not learnt from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.evaluation.calibration import TrueSurface, balanced, held, learned
from imhead.evaluation.certainty import surface_rows
from imhead.fitting.certainty import Calibration

TRUTH = Calibration(
    floor_mm=0.15, noise_share=0.4, misfit_share=0.5, codes_share=1.3, left_share=0.1, reach_mm=10.0,
    unusual_power=0.5, landmark_mm=0.6, factor_95=2.0,
)  # fmt: skip


def drawn(seed: int, count: int = 800, seen: float = 0.5) -> TrueSurface:
    """A scan whose errors are normal, with the sizes that the true constants give."""
    rng = np.random.default_rng(seed)
    distance = np.where(rng.random(count) < seen, rng.uniform(0.0, 3.0, count), rng.uniform(4.0, 80.0, count))
    codes, noise, misfit = rng.uniform(0.3, 3.0, count), float(rng.uniform(0.0, 0.6)), float(rng.uniform(0.0, 0.2))
    unusual = float(rng.uniform(1.0, 2.0))
    empty = TrueSurface(f"scan {seed}", "drawn", distance, 0.0, distance, codes, distance < 3.5, noise, misfit, unusual)
    error = np.abs(rng.normal(size=count)) * empty.sigma_mm(TRUTH)
    return TrueSurface(empty.name, "drawn", error, 0.0, distance, codes, empty.measured, noise, misfit, unusual)


def test_learnt_intervals_hold_other_draws_as_often_as_they_say() -> None:
    found = learned([drawn(seed) for seed in range(12)], [], ())
    others = [drawn(seed) for seed in range(100, 112)]
    for seen in (True, False):
        over, weight = balanced(others, found, seen)
        assert held(over, weight, 1.0) == pytest.approx(0.68, abs=0.03)
        assert held(over, weight, found.factor_95) == pytest.approx(0.95, abs=0.02)
    assert found.reach_mm == pytest.approx(TRUTH.reach_mm, rel=0.3)


def test_intervals_of_other_constants_do_not_hold_them() -> None:
    over, weight = balanced([drawn(seed) for seed in range(5)], TRUTH, False)
    assert held(2.0 * over, weight, 1.0) < 0.5


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 2000), st.integers(1, 2000))
def test_every_scan_weighs_the_same_however_many_points_it_has(a: int, b: int) -> None:
    _, weight = balanced([drawn(1, a, seen=1.0), drawn(2, b, seen=1.0)], TRUTH, True)
    assert weight[:a].sum() == pytest.approx(1.0) and weight[a:].sum() == pytest.approx(1.0)


def test_a_row_is_given_for_what_is_seen_and_for_what_is_not() -> None:
    rows = surface_rows([drawn(3), drawn(4, seen=1.0)], TRUTH)
    parts = [(row["kind"], row["part"]) for row in rows]
    assert parts == [("drawn", "measured"), ("drawn", "inferred"), ("all", "measured"), ("all", "inferred")]
    assert all(row["within_68"] < row["within_95"] <= 1.0 and not row["calibrated"] for row in rows)
