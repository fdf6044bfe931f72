"""Bounds on a step: the identity within its limit, every ARKit weight in [0, 1], and 0 without evidence."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from imhead.conventions import ARKIT_NAMES
from imhead.fitting.config import FitConfig
from imhead.fitting.gauss_newton import expression_prior, held_at_bounds, step_within_limit, weight_within_limit

POSE, IDENTITY = 9, 24


def system(seed: int, pull: float) -> tuple[Tensor, Tensor, Tensor]:
    """A step's Hessian and gradient, with eigenvalues from 0.1 to 10 000, and where z_id stands."""
    generator = torch.Generator().manual_seed(seed)
    size = POSE + IDENTITY
    rows = torch.randn(size, size, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(rows)[0]
    values = 10.0 ** torch.linspace(-1.0, 4.0, size, dtype=torch.float64)
    return (
        (basis * values) @ basis.T,
        pull * torch.randn(size, generator=generator, dtype=torch.float64),
        torch.randn(IDENTITY, generator=generator, dtype=torch.float64),
    )


def length_after(hessian: Tensor, gradient: Tensor, z_id: Tensor, weight: float) -> float:
    """Root mean square of z_id after the step with a further weight on |z_id|², solved plainly."""
    more = torch.zeros(len(gradient), dtype=torch.float64)
    more[POSE:] = weight
    pulled = gradient.clone()
    pulled[POSE:] += weight * z_id
    step = -torch.linalg.solve(hessian + more.diag(), pulled)
    return float((z_id + step[POSE:]).square().mean().sqrt())


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(0.0, 100.0), st.floats(0.5, 2.0))
def test_a_step_takes_the_least_weight_that_keeps_the_identity_within_its_limit(
    seed: int, pull: float, limit: float
) -> None:
    hessian, gradient, z_id = system(seed, pull)
    weight = weight_within_limit(hessian, gradient, z_id, limit)
    length = length_after(hessian, gradient, z_id, weight)
    if weight == 0.0:
        assert length <= limit * (1.0 + 1e-6)
    else:
        assert weight > 0.0 and abs(length - limit) < 1e-6 * limit
        assert length_after(hessian, gradient, z_id, 0.0) > limit


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(0.0, 1000.0))
def test_a_step_ends_with_every_weight_in_bounds_and_the_rest_at_the_minimum_there(seed: int, pull: float) -> None:
    hessian, gradient, _ = system(seed, pull)
    first, count = 6, 12
    weights = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    held, pulled = held_at_bounds(hessian, gradient, weights, first)
    step = -torch.linalg.solve(held, pulled)
    ends = (weights + step[first : first + count]).numpy()
    assert ends.min() > -1e-9 and ends.max() < 1.0 + 1e-9
    free = np.ones(len(step), dtype=bool)
    free[first : first + count] = (ends > 1e-9) & (ends < 1.0 - 1e-9)
    slope = (hessian @ step + gradient).numpy()
    assert np.abs(slope[free]).max() < 1e-6 * (1.0 + pull)


def test_a_step_that_crosses_no_bound_stays_as_it_is() -> None:
    hessian, gradient, _ = system(3, 1e-3)
    held, pulled = held_at_bounds(hessian, gradient, torch.full((12,), 0.5, dtype=torch.float64), 6)
    assert torch.equal(held, hessian) and torch.equal(pulled, gradient)


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_an_expression_without_evidence_vanishes_in_one_step(seed: int) -> None:
    weights = torch.rand(len(ARKIT_NAMES), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    curvature, slope = expression_prior(weights, FitConfig())
    hessian, gradient = held_at_bounds(curvature.diag(), slope, weights, 0)
    step = -torch.linalg.solve(hessian, gradient)
    assert (weights + step).abs().max() < 1e-12


def test_a_small_false_expression_is_pulled_as_hard_as_a_large_true_one() -> None:
    seen = torch.tensor([not name.startswith("eyeLook") for name in ARKIT_NAMES])
    pulls = [expression_prior(torch.full((52,), weight), FitConfig())[1][seen] for weight in (0.01, 0.9)]
    assert torch.equal(*pulls) and (pulls[0] > 0.0).all()


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(0.0, 1000.0), st.floats(0.5, 2.0))
def test_a_step_leaves_no_region_far_beyond_the_limit_of_its_offsets_and_holds_no_other(
    seed: int, pull: float, limit: float
) -> None:
    hessian, gradient, code = system(seed, pull)
    hessian, gradient = hessian + 100.0 * torch.eye(len(gradient)), gradient * 10.0
    offsets = limit * (code / code.abs().max()).view(6, 4)
    plain = (offsets - torch.linalg.solve(hessian, gradient)[POSE:].view(6, 4)).square().mean(dim=1).sqrt()
    before = hessian.clone()
    step = step_within_limit(hessian, gradient, offsets, limit)
    assert torch.allclose(step, -torch.linalg.solve(hessian, gradient))
    size = (offsets + step[POSE:].view(6, 4)).square().mean(dim=1).sqrt()
    assert (size <= 1.05 * limit + 1e-9).all()
    if (plain <= limit).all():
        assert torch.equal(hessian, before)
