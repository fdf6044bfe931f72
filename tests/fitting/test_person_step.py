"""Joint steps: the arrow's solution is that of the whole system, and a person of one scan takes a single fit's step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.fitting.config import FitConfig
from imhead.fitting.gauss_newton import FitState, gauss_newton_step
from imhead.fitting.objective import Codes
from imhead.fitting.person_step import ScanBlock, bounded_step, identity_step, offsets_step
from imhead.fitting.points import nearest_neighbours
from imhead.regions import CENTERS_MM, REGION_COUNT

POSE, WEIGHTS, SHARED = 6, 10, 12
CONFIG = FitConfig(early_points=150)


def arrow(seed: int, scans: int, pull: float) -> tuple[list[ScanBlock], Tensor, Tensor]:
    """Blocks of scans, and the whole system (U, U), (U,) that they are parts of: own unknowns first, then shared."""
    generator = torch.Generator().manual_seed(seed)
    own = POSE + WEIGHTS
    size = scans * own + SHARED
    hessian, gradient = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    blocks = []
    shared = slice(scans * own, None)
    for k in range(scans):
        rows = torch.randn(80, own + SHARED, generator=generator, dtype=torch.float64)
        part = rows.T @ rows + 0.1 * torch.eye(own + SHARED, dtype=torch.float64)
        slope = pull * torch.randn(own + SHARED, generator=generator, dtype=torch.float64)
        blocks.append(ScanBlock(part[:own, :own], slope[:own], part[:own, own:], part[own:, own:], slope[own:]))
        here = slice(k * own, (k + 1) * own)
        hessian[here, here], gradient[here] = part[:own, :own], slope[:own]
        hessian[here, shared], hessian[shared, here] = part[:own, own:], part[own:, :own]
        hessian[shared, shared] += part[own:, own:]
        gradient[shared] += slope[own:]
    hessian.diagonal()[shared] += 1.0
    return blocks, hessian, gradient


def solved(blocks: list[ScanBlock], weights: list[Tensor]) -> Tensor:
    """(U,) the arrow's step, own unknowns first."""
    prior = torch.ones(SHARED, dtype=torch.float64), torch.zeros(SHARED, dtype=torch.float64)
    bounded, step = bounded_step(blocks, weights, prior, None)
    return torch.cat([*(block.own_step(step) for block in bounded), step])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 5))
def test_eliminating_each_scan_gives_the_step_of_the_whole_system(seed: int, scans: int) -> None:
    blocks, hessian, gradient = arrow(seed, scans, pull=1e-3)
    weights = [torch.full((WEIGHTS,), 0.5, dtype=torch.float64)] * scans
    expected = -torch.linalg.solve(hessian, gradient)
    torch.testing.assert_close(solved(blocks, weights), expected, rtol=1e-8, atol=1e-10)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 4), st.floats(1.0, 300.0))
def test_every_scans_weights_end_in_bounds_and_the_rest_at_the_minimum_there(
    seed: int, scans: int, pull: float
) -> None:
    blocks, hessian, gradient = arrow(seed, scans, pull)
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.rand(WEIGHTS, generator=generator, dtype=torch.float64) for _ in range(scans)]
    step = solved(blocks, weights)
    own = POSE + WEIGHTS
    free = np.ones(len(step), dtype=bool)
    for k, start in enumerate(weights):
        rows = slice(k * own + POSE, (k + 1) * own)
        ends = (start + step[rows]).numpy()
        assert ends.min() > -1e-9 and ends.max() < 1.0 + 1e-9
        free[rows] = (ends > 1e-9) & (ends < 1.0 - 1e-9)
    slope = (hessian @ step + gradient).numpy()
    assert np.abs(slope[free]).max() < 1e-6 * (1.0 + pull)


@pytest.fixture
def state(model: Model) -> FitState:
    """A scan of 300 random points near the regions of a small model, in the middle of a fit."""
    config, rng = model.net.config, np.random.default_rng(3)
    points = CENTERS_MM[rng.integers(REGION_COUNT, size=300)] + 10.0 * rng.normal(size=(300, 3))
    face = np.arange(300) < 200
    codes = Codes(
        torch.from_numpy(0.5 * rng.normal(size=config.identity_size)).float(),
        torch.from_numpy(rng.uniform(0.1, 0.9, len(ARKIT_NAMES))).float(),
        torch.from_numpy(0.1 * rng.normal(size=(REGION_COUNT, config.region_code_size))).float(),
    )
    return FitState(
        torch.from_numpy(points).float(), None, torch.from_numpy(face),
        torch.from_numpy(nearest_neighbours(points[face])), np.eye(4), True, codes, codes.z_id,
        torch.ones(REGION_COUNT),
    )  # fmt: skip


def assert_same_place(one: FitState, other: FitState) -> None:
    np.testing.assert_allclose(one.motion, other.motion, atol=1e-5)
    for got, wanted in zip(vars(one.codes).values(), vars(other.codes).values()):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("robust_mm", [5.0, 1.5])
def test_a_person_of_one_scan_takes_the_step_of_a_fit_of_that_scan(
    model: Model, state: FitState, robust_mm: float
) -> None:
    (joint,), _ = identity_step(model.net, [state], robust_mm, CONFIG)
    assert_same_place(joint, gauss_newton_step(model.net, state, robust_mm, False, CONFIG))


def test_the_offsets_of_one_scan_are_those_of_a_fit_of_that_scan(model: Model, state: FitState) -> None:
    neutral = replace(state.codes, weights=torch.zeros(len(ARKIT_NAMES)))
    (joint,) = offsets_step(model.net, [state], 1.5, CONFIG, neutral, None)
    assert_same_place(joint, gauss_newton_step(model.net, state, 1.5, True, CONFIG))


def test_what_a_scan_says_of_the_identity_is_at_rest_where_the_joint_fit_is(model: Model, state: FitState) -> None:
    states = [state]
    for _ in range(12):
        states, (said,) = identity_step(model.net, states, 1.5, CONFIG)
    pull = said.slope + CONFIG.identity_prior * states[0].codes.z_id.double()
    curvature = said.hessian.diagonal() + CONFIG.identity_prior
    assert float((pull.abs() / curvature).max()) < 0.2  # steps left to go, in standard deviations of the population


def test_two_scans_share_one_identity_and_keep_their_own_expressions(model: Model, state: FitState) -> None:
    other = replace(state, codes=replace(state.codes, weights=0.5 * state.codes.weights))
    (one, two), said = identity_step(model.net, [state, other], 1.5, CONFIG)
    assert torch.equal(one.codes.z_id, two.codes.z_id) and len(said) == 2
    assert not torch.equal(one.codes.weights, two.codes.weights)
