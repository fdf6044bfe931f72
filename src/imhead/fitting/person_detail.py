"""The region offsets of a person from several scans, with thin walls held.

As in a fit of one scan (`stages.py`), on the neutral head: walls are held there.

Shape legend: N points of all scans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from imhead.checkpoint import Model
from imhead.fitting.config import FitConfig
from imhead.fitting.gauss_newton import FitState, apply_motion
from imhead.fitting.objective import Codes, distances_mm
from imhead.fitting.person_step import offsets_step
from imhead.fitting.points import independent_noise_mm, offset_priors
from imhead.fitting.stages import on_skin
from imhead.fitting.start import pose_template
from imhead.fitting.walls import ThinPlaces, thin_places
from imhead.types import FloatArray

_MAX_REPEATS = 2  # with pierced walls held
_LEAST_NOISE_MM = 1e-3


def with_offsets(model: Model, states: Sequence[FitState], config: FitConfig) -> tuple[list[FitState], int]:
    """The states of a person's scans after the steps on the shared region offsets, and the number of steps."""
    noise = _joint_noise_mm(model, states)
    placed = np.concatenate([_skin_points(state) for state in states])
    prior = torch.from_numpy(offset_priors(pose_template(model), placed, noise, config)).to(states[0].points)
    before = [replace(state, offset_prior=prior) for state in states]
    thin = thin_places(model, _neutral(before)) if config.wall_weight > 0.0 else ThinPlaces.none()
    scales = config.detail_robust_mm
    after, steps = _steps(model, before, scales, thin, config)
    for _ in range(_MAX_REPEATS):
        torn = thin.with_torn(model, _neutral(after))
        if torn is None:
            break
        thin = torn
        after, more = _steps(model, before, scales, thin, config)
        steps += more
    return after, steps


def _steps(
    model: Model,
    states: list[FitState],
    scales: Sequence[float],
    thin: ThinPlaces,
    config: FitConfig,
) -> tuple[list[FitState], int]:
    """The states after one step for each scale, fewer once one promises little, and their number."""
    count = 0
    for scale in scales:
        neutral = _neutral(states)
        places = thin.to_hold(model, neutral, config)
        states = offsets_step(model.net, states, scale, config, neutral, places)
        count += 1
        if scale == scales[-1] and states[0].predicted_decrease < config.settled:
            break
    return states, count * len(states)


def _neutral(states: Sequence[FitState]) -> Codes:
    """The person's codes without expression."""
    codes = states[0].codes
    return replace(codes, weights=torch.zeros_like(codes.weights))


def _skin_points(state: FitState) -> FloatArray:
    """(N, 3) points of a scan on the skin, head frame, mm."""
    placed: FloatArray = apply_motion(state.points, state.motion)[on_skin(state)].double().cpu().numpy()
    return placed


def _residuals(model: Model, state: FitState) -> Tensor:
    """(N,) signed distances, mm, of all points of a scan."""
    return distances_mm(model.net, state.codes, apply_motion(state.points, state.motion))


def _joint_noise_mm(model: Model, states: Sequence[FitState]) -> float:
    """Standard deviation of the noise of one scan that would say as much as these do on the average."""
    precision = []
    for state in states:
        residual = _residuals(model, state)[: len(state.neighbour)]
        precision.append(max(independent_noise_mm(residual, state.neighbour), _LEAST_NOISE_MM) ** -2.0)
    return float(np.mean(precision) ** -0.5)
