"""The stages of a fit: wide scales of the robust loss, the narrowest, then the region offsets.

Shape legend: N points of a state, S samples of a scan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from imhead.checkpoint import Model
from imhead.fitting.config import FitConfig
from imhead.fitting.figures import seen_from_outside
from imhead.fitting.gauss_newton import FitState, apply_motion, gauss_newton_step
from imhead.fitting.hair import Hair, SeenRows
from imhead.fitting.objective import Codes, distances_mm
from imhead.fitting.points import independent_noise_mm, offset_priors
from imhead.fitting.shut_eyes import with_shut_eyes
from imhead.fitting.start import pose_template
from imhead.fitting.walls import ThinPlaces, thin_places
from imhead.types import FloatArray, Mesh, Scan

_MAX_REPEATS = 2  # of the offsets, with pierced walls held


def _stages(config: FitConfig) -> list[tuple[tuple[float, ...], bool]]:
    """Scales of the robust loss, and whether the region offsets are free: wide, narrowest, with offsets."""
    wide = tuple(scale for scale in config.robust_mm if scale > config.robust_mm[-1])
    stages = [(wide, False), (config.robust_mm[len(wide) :], False)]
    return [*stages, (config.detail_robust_mm, True)] if config.detail else stages


def optimized(
    model: Model,
    state: FitState,
    hair_with: Callable[[Codes, FloatArray], Hair],
    config: FitConfig,
    progress: Callable[[str, float], None],
) -> tuple[FitState, Hair, int]:
    """The state after all stages, the hair that was left out, and the number of steps.

    Args:
        hair_with: the hair of the scan on a head of given codes and motion (4, 4).
    """
    stages = _stages(config)
    planned, done = sum(len(scales) for scales, _ in stages), 0

    def show(with_offsets: bool) -> None:
        nonlocal done
        done += 1
        progress("detail" if with_offsets else "codes", 0.2 + 0.6 * min(1.0, done / planned))

    hair, start = Hair.none(), state
    for number, (scales, with_offsets) in enumerate(stages):
        if not with_offsets:
            state = _after_stage(model, state, scales, None, config, lambda: show(False))
            if number == 0:
                hair = hair_with(state.codes, state.motion)
                state = start = with_hair(state, hair)
                continue
            sure = hair.confirmed(model, state.codes, state.motion)
            if sure is not hair:
                # some of it was rough skin, which now enters
                hair, start = sure, with_hair(start, sure)
                state = _after_stage(model, with_hair(state, hair), scales, None, config, lambda: show(False))
            if config.try_shut_eyes:
                step = partial(_after_stage, scales=scales, thin=None, config=config, show_step=lambda: show(False))
                state = with_shut_eyes(model, state, start, partial(step, model))
            continue
        before = replace(state, offset_prior=_offset_prior(model, state, config))
        thin = thin_places(model, before.codes) if config.wall_weight > 0.0 else ThinPlaces.none()
        state = _after_stage(model, before, scales, thin, config, lambda: show(True))
        for _ in range(_MAX_REPEATS):
            torn = thin.with_torn(model, state.codes)
            if torn is None:
                break
            # some walls are pierced: the offsets are fitted again, and the walls near them are held
            thin = torn
            state = _after_stage(model, before, scales, thin, config, lambda: show(True))
    return state, hair, done


def seen_rows(scan: Scan, samples: FloatArray) -> SeenRows | None:
    """Whether samples (S, 3) of a scan are seen from outside; None for a cloud."""
    if scan.faces is None:
        return None
    mesh = Mesh(scan.points, scan.faces)
    return lambda rows: seen_from_outside(mesh, samples[rows])


def with_hair(state: FitState, hair: Hair) -> FitState:
    covered = hair.covers(state.points.double().cpu().numpy())
    return replace(state, hair=torch.from_numpy(covered).to(state.face.device) if covered.any() else None)


def on_skin(state: FitState) -> Tensor:
    """(N,) bool: points that do not lie on hair."""
    return torch.ones_like(state.face) if state.hair is None else ~state.hair


def _after_stage(
    model: Model,
    state: FitState,
    scales: tuple[float, ...],
    thin: ThinPlaces | None,
    config: FitConfig,
    show_step: Callable[[], None],
) -> FitState:
    """The state after a stage, on offsets where `thin` is given. It ends early once a step promises little."""
    for scale in scales:
        places = None if thin is None else thin.to_hold(model, state.codes, config)
        state = gauss_newton_step(model.net, state, scale, thin is not None, config, places)
        show_step()
        if scale == scales[-1] and state.predicted_decrease < config.settled:
            break
    return state


def _offset_prior(model: Model, state: FitState, config: FitConfig) -> Tensor:
    """(39,) weights of the offsets' prior, from the state before the offsets are freed."""
    points = apply_motion(state.points, state.motion)
    residual = distances_mm(model.net, state.codes, points[: len(state.neighbour)])
    noise = independent_noise_mm(residual, state.neighbour)
    placed = points[on_skin(state)].double().cpu().numpy()
    return torch.from_numpy(offset_priors(pose_template(model), placed, noise, config)).to(points)
