"""Shut eyes of a scan: a fit that begins with open eyes does not find them.

Points on a shut lid lie about as near to the eyeball as to the open lid's skin, so no step shuts the lid. Unless the
scan's eyes are explained well, the fit is tried once more from shut eyes.

Shape legend: N points of a state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.fitting.gauss_newton import FitState, apply_motion
from imhead.fitting.objective import distances_mm
from imhead.surfaces.eyeballs import eye_centers, eyes_distance
from imhead.template.lid_margins import SHUT
from imhead.types import BoolArray, FloatArray

_BLINKS = [ARKIT_NAMES.index(name) for name in ("eyeBlinkLeft", "eyeBlinkRight")]
_FRONT_MM, _RADIUS_MM = np.array([0.0, 0.0, 10.0]), 15.0  # a ball that holds the opening of the lids
_ROBUST_MM = 1.0
_CLEAR = 0.03  # mean robust misfit of an eye below which its lids are surely right
_BETTER = 0.02  # by which the misfit of an eye falls
_LEAST_BLINK = 0.4  # weight of one that is taken over
_LEAST_POINTS = 30  # of an eye that says whether it is shut


def with_shut_eyes(model: Model, state: FitState, start: FitState, refit: Callable[[FitState], FitState]) -> FitState:
    """The state, or that of a fit that starts with shut eyes if it explains the scan's eyes better.

    Args:
        model: the model.
        state: of the fit that began with open eyes.
        start: from which it came.
        refit: the state after the steps from another start.
    """
    with_open = _misfits(model, state)
    if not (with_open > _CLEAR).any():
        return state
    shut = np.ones(2, dtype=bool)
    for _ in range(2):  # both eyes, then the one that was better so
        tried = refit(_with_blinks(start, shut, 1.0))
        weights = tried.codes.weights[_BLINKS].double().cpu().numpy()
        better = shut & (_misfits(model, tried) < with_open - _BETTER) & (weights > _LEAST_BLINK)
        if not better.any():
            return state
        if (better == shut).all():
            break
        shut = better
    # the prior of the weights, and points that lie on the eyeball, leave a slit
    return _with_blinks(tried, better & (weights < SHUT), SHUT)


def _with_blinks(state: FitState, eyes: BoolArray, weight: float) -> FitState:
    """The state with the blinks of some eyes (2,) set to a weight."""
    weights = state.codes.weights.clone()
    weights[[row for row, chosen in zip(_BLINKS, eyes) if chosen]] = weight
    return replace(state, codes=replace(state.codes, weights=weights))


def _misfits(model: Model, state: FitState) -> FloatArray:
    """(2,) mean robust misfit, 0 to 1, of the points at each eye to skin and eyeball; NaN of an eye with few points."""
    points = apply_motion(state.points, state.motion)
    eyes = model.net.eye_net(state.codes.z_id[None], model.net.identity_parity)[0].double().cpu().numpy()
    places = points.double().cpu().numpy()
    misfit = np.full(2, np.nan)
    for side, center in enumerate(eye_centers(eyes) + _FRONT_MM):
        near = np.flatnonzero(np.linalg.norm(places - center, axis=1) < _RADIUS_MM)
        if len(near) >= _LEAST_POINTS:
            skin = distances_mm(model.net, state.codes, points[torch.from_numpy(near).to(points.device)])
            distance = np.minimum(skin.double().cpu().numpy(), eyes_distance(places[near], eyes))
            misfit[side] = np.mean(distance**2 / (distance**2 + _ROBUST_MM**2))
    return misfit
