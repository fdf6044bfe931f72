"""Whether each of several scans shows the person whom the others show.

Leave one out: what the other scans say of z_id is a quadratic that the joint fit already has, so their head costs one
small solve. The scan then takes its best pose and expression on that head, and the distance that is left is compared
with that to the head fitted to it alone.

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
from imhead.fitting.gauss_newton import FitState, apply_motion, newton_step, weight_within_limit
from imhead.fitting.objective import distances_mm
from imhead.fitting.person_step import Said
from imhead.fitting.pose_scan import LeaveOneOut, posed

EXCESS_MM = 0.5
"""Beyond this excess a scan shows somebody else; `imhead eval --suite people` says how often that errs."""
_SCALES_MM = (4.0, 3.0, 2.5, 2.0, 2.0)  # wide ones, which take few points
_MOST_POINTS = 2000
_LEAST_FACE = 200  # points; a scan with fewer on the face is judged on all of them
_REACH_MM = 10.0


def judged(
    model: Model, states: Sequence[FitState], own_mm: Sequence[float], said: Sequence[Said], config: FitConfig
) -> list[tuple[LeaveOneOut, Tensor]]:
    """The evidence on each scan, and z_id (256,) of the head of the others.

    Args:
        model: of the heads.
        states: S, at least two, with the z_id of a joint fit.
        own_mm: (S,) `face_distance_mm` of each scan's own fit.
        said: of each scan at that z_id.
        config: settings.
    """
    z_id = states[0].codes.z_id.double()
    prior = config.identity_prior
    eye = torch.eye(len(z_id), dtype=torch.float64, device=z_id.device)
    hessian = torch.stack([part.hessian for part in said]).sum(dim=0) + prior * eye
    slope = torch.stack([part.slope for part in said]).sum(dim=0) + prior * z_id
    found = []
    for state, own, part in zip(states, own_mm, said):
        rest, rest_slope = hessian - part.hessian, slope - part.slope
        extra = weight_within_limit(rest, rest_slope, z_id, config.identity_limit)
        step = newton_step(rest + extra * eye, rest_slope + extra * z_id)
        others = (z_id + step).float()
        codes = replace(state.codes, z_id=others)
        at_others = posed(model, replace(state, codes=codes), _SCALES_MM, config)
        apart = face_distance_mm(model, at_others)
        alone = -float(part.slope @ newton_step(part.hessian + prior * eye, part.slope))
        ratio = alone - float(rest_slope @ step)
        excess = float(np.sqrt(max(0.0, apart**2 - own**2)))
        found.append((LeaveOneOut(own, apart, excess, ratio), others))
    return found


def face_distance_mm(model: Model, state: FitState) -> float:
    """Median |signed distance|, mm, of a scan's points on the face, without hair, to the head of its state."""
    kept = torch.ones_like(state.face) if state.hair is None else ~state.hair
    face = kept & state.face
    rows = torch.nonzero(face if int(face.sum()) >= _LEAST_FACE else kept)[:, 0]
    rows = rows[:: max(1, len(rows) // _MOST_POINTS)]
    distance = distances_mm(model.net, state.codes, apply_motion(state.points[rows], state.motion)).abs()
    near = distance[distance < _REACH_MM]
    return float(near.median()) if len(near) else _REACH_MM


def within(model: Model, state: FitState, reach_mm: float) -> float:
    """Share of a scan's points, without hair, nearer than this to the head of its state, by signed distance."""
    kept = torch.ones_like(state.face) if state.hair is None else ~state.hair
    rows = torch.nonzero(kept)[:, 0]
    rows = rows[:: max(1, len(rows) // _MOST_POINTS)]
    if not len(rows):
        return 0.0
    distance = distances_mm(model.net, state.codes, apply_motion(state.points[rows], state.motion)).abs()
    return float((distance < reach_mm).float().mean())
