"""What the codes leave over of several scans of one person.

What all scans show in the same way, the codes explain partly by an expression of each; it belongs to the neutral head.
Where the scans differ too little for expressions, these are dropped: poses and residual are then found in turns.

Shape legend: S scans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from imhead.checkpoint import Model
from imhead.fitting.config import FitConfig
from imhead.fitting.gauss_newton import FitState
from imhead.fitting.pose_scan import posed
from imhead.fitting.residual import ResidualConfig, residual_of
from imhead.fitting.scan_points import ScanPoints
from imhead.isosurface.field import code_of_weights
from imhead.surfaces.transforms import transform_directions, transform_points
from imhead.types import Head, Residual

_TURNS = 2  # of places on the head, and the head from the places
_ROBUST_MM = (1.5, 1.5, 1.5, 1.5)
# in scans that show no expression: the largest weight of each beyond those that all share, and the median of these
_STILL, _STILL_MEDIAN = 0.5, 0.3
_STAY = 1e5  # precision that keeps ARKit weights: what expressions could explain is left to the head


def with_residual(
    model: Model, head: Head, states: Sequence[FitState], points: Sequence[ScanPoints | None], config: FitConfig
) -> tuple[Residual | None, list[FitState]]:
    """The residual of a person's scans, and the states of their fits on the head with it.

    Args:
        model: of the head.
        head: the neutral head of the codes.
        states: S, with its codes.
        points: of each scan those that show skin, in the frame of its state's points; None of hardly any.
        config: settings.
    """
    still = show_no_expression([state.codes.weights for state in states])
    placed = [_at_rest(state) for state in states] if still else list(states)
    turns = _TURNS if still else 0
    for turn in range(turns + 1):
        shown = [
            (_expressed(model, head, state), _moved(own, state))
            for state, own in zip(placed, points)
            if own is not None
        ]
        found = residual_of(model, shown, ResidualConfig() if turn == turns else ResidualConfig(turns=1))
        if found is None or turn == turns:
            break
        placed = [_placed(model, state, found, config) for state in placed]
    return found, [replace(state, codes=replace(state.codes, residual=found)) for state in placed]


def show_no_expression(weights: Sequence[Tensor]) -> bool:
    """Whether no scan shows much beyond what all of them show, by the ARKit weights (52,) of two scans or more.

    Small weights that differ are noise of the scans; small ones that all share are how the person looks at rest. A
    broad smile in all of them is an expression, and so are shut eyes.
    """
    if len(weights) < 2:
        return False
    all_scans = torch.stack(list(weights))
    shared = all_scans.min(dim=0).values
    most = (all_scans - shared).max(dim=1).values
    return float(torch.cat([most, shared]).max()) <= _STILL and float(most.median()) <= _STILL_MEDIAN


def _at_rest(state: FitState) -> FitState:
    return replace(state, codes=replace(state.codes, weights=torch.zeros_like(state.codes.weights)))


def _placed(model: Model, state: FitState, residual: Residual, config: FitConfig) -> FitState:
    """The state of a scan in its best pose on the head with the residual."""
    there = replace(state, codes=replace(state.codes, residual=residual))
    return posed(model, there, _ROBUST_MM, config, (state.codes.weights, _STAY))


def _expressed(model: Model, head: Head, state: FitState) -> Head:
    return replace(head, z_exp=code_of_weights(model, state.codes.weights.cpu().numpy()))


def _moved(points: ScanPoints, state: FitState) -> ScanPoints:
    """Points of a scan where its fit has moved them."""
    normals = transform_directions(state.motion, points.normals)
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-30)
    return replace(points, points=transform_points(state.motion, points.points), normals=normals)
