"""One damped Gauss-Newton step of a fit: the pose, and either expression and z_id or the region offsets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.spatial.transform import Rotation
from torch import Tensor

from imhead.conventions import ARKIT_NAMES
from imhead.fitting.config import FitConfig
from imhead.fitting.objective import Codes, normal_equations, sensitivity
from imhead.fitting.points import independent_noise_mm, point_weights
from imhead.model.head import HeadModel
from imhead.surfaces.transforms import matrix_of, rotation_of
from imhead.types import FloatArray

_GAZE = torch.tensor([name.startswith("eyeLook") for name in ARKIT_NAMES])
_GAZE_PRECISION = 1e8  # a scan hardly shows gaze


@dataclass(frozen=True, eq=False)
class State:
    """Where a fit stands between two steps."""

    points: Tensor
    """(N, 3) sampled points in the head frame, before `motion`."""
    normals: Tensor | None
    """(N, 3) unit, as the points; None for a scan without."""
    face: Tensor
    """(N,) bool: points on the face; they come first."""
    neighbour: Tensor
    """(points on the face,) row of the nearest other one."""
    motion: FloatArray
    """(4, 4) refinement of the pose, applied after the search's."""
    scale_free: bool
    """Whether the unit is a guess, so that the size is fitted too."""
    codes: Codes
    """What is sought."""
    first_z_id: Tensor
    """(256,) where z_id started."""
    damping: float
    """Share of the Hessian's diagonal that is added to it."""
    promised: float
    """What the last step promised to lower the negative log posterior by."""
    offset_prior: Tensor
    """(39,) weight of the L1 norm of each region's offsets."""


def step(net: HeadModel, state: State, robust_mm: float, with_offsets: bool, config: FitConfig) -> State:
    """The state after one step on pose, expression and z_id or, `with_offsets`, on pose and region offsets.

    An expression that is free beside offsets takes what a neutral mouth has of its own.
    """
    early = robust_mm > config.robust_mm[-1]
    # both the points on the face and the others come in random order, so a stride is a fair share
    rows = slice(None, None, max(1, len(state.points) // config.early_points) if early else 1)
    points = moved(state.points[rows], state.motion)
    line = sensitivity(net, state.codes, points)
    face = state.face[rows]
    if not early:
        # a robust loss narrower than the noise takes the scan for outliers
        noise = independent_noise_mm(line.sdf_mm[: len(state.neighbour)], state.neighbour)
        robust_mm = max(robust_mm, config.robust_noise * noise)
    trusted = point_weights(line.sdf_mm, face, robust_mm, config, with_offsets)
    if state.normals is not None:
        normals = state.normals[rows] @ torch.from_numpy(rotation_of(state.motion)).to(state.normals).T
        cosine = torch.nn.functional.cosine_similarity(line.point, normals, dim=1)
        # an inverted scan has every normal turned; the sign of the majority decides
        if cosine.sum() < 0:
            cosine = -cosine
        trusted = trusted * (cosine > config.normal_gate)
    twist = torch.cat([torch.linalg.cross(points, line.point), line.point], dim=1)
    if state.scale_free:
        twist = torch.cat([twist, (points * line.point).sum(dim=1, keepdim=True)], dim=1)
    curvature, pull = _prior(state, early, with_offsets, twist.shape[1], config)
    hessian, gradient = normal_equations(net, line, twist, trusted, with_offsets)
    gradient += pull
    hessian.diagonal().add_(curvature + state.damping * hessian.diagonal())
    if not with_offsets:
        hessian, gradient = held_at_bounds(hessian, gradient, state.codes.weights.double(), twist.shape[1])
    if not (early or with_offsets):
        more = weight_within_limit(hessian, gradient, state.codes.z_id.double(), config.identity_limit)
        identity = slice(len(gradient) - len(state.codes.z_id), None)
        gradient[identity] += more * state.codes.z_id
        hessian.diagonal()[identity] += more
    move = _solution(hessian, gradient)
    state = _advance(state, move.float(), twist.shape[1], with_offsets)
    return replace(state, promised=-0.5 * float(gradient @ move))


def held_at_bounds(hessian: Tensor, gradient: Tensor, weights: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Hessian (U, U) and gradient (U,) of the same step with ARKit weights that would leave [0, 1] held at its bounds.

    Args:
        hessian: (U, U) positive definite.
        gradient: (U,).
        weights: (52,), the unknowns from `first` on.
    """
    here = slice(first, first + len(weights))
    way = torch.zeros_like(gradient)
    held = torch.zeros_like(gradient, dtype=torch.bool)
    while True:
        free = (~held).to(hessian)
        system = hessian * free[:, None] * free + torch.diag(1.0 - free)
        pulled = torch.where(held, -way, gradient + hessian @ way)
        ends = weights + _solution(system, pulled)[here]
        out = ~held[here] & ((ends < 0.0) | (ends > 1.0))
        if not out.any():
            return system, pulled
        way[here] = torch.where(out, ends.clamp(0.0, 1.0) - weights, way[here])
        held[here] |= out


def weight_within_limit(hessian: Tensor, gradient: Tensor, z_id: Tensor, limit: float) -> float:
    """Least weight that |z_id|² needs on top of its prior's for the step to end within `limit` standard deviations.

    Eliminating the other unknowns leaves S dz = -g for the step dz of z_id. With a further weight w it ends at
    z + dz = (S + w)⁻¹ (S z - g), which is the shorter the larger w.

    Args:
        hessian: (U, U) positive definite, of the step's unknowns, those of z_id last.
        gradient: (U,).
    """
    others = len(gradient) - len(z_id)
    if _spread(z_id + _solution(hessian, gradient)[others:]) <= limit:
        return 0.0
    cross = hessian[:others, others:]
    eliminated = torch.cholesky_solve(
        torch.cat([cross, gradient[:others, None]], dim=1), torch.linalg.cholesky(hessian[:others, :others])
    )
    values, basis = torch.linalg.eigh(hessian[others:, others:] - cross.T @ eliminated[:, :-1])
    goal = values * (basis.T @ z_id) - basis.T @ (gradient[others:] - cross.T @ eliminated[:, -1])

    def excess(weight: float) -> float:
        return _spread(goal / (values + weight)) - limit

    # all values are positive, so this weight is more than enough
    return brentq(excess, 0.0, _spread(goal) / limit) if excess(0.0) > 0.0 else 0.0


def _spread(code: Tensor) -> float:
    return float(code.square().mean().sqrt())


def _solution(hessian: Tensor, gradient: Tensor) -> Tensor:
    return -torch.cholesky_solve(gradient[:, None], torch.linalg.cholesky(hessian))[:, 0]


def _prior(state: State, early: bool, with_offsets: bool, pose_size: int, config: FitConfig) -> tuple[Tensor, Tensor]:
    """Curvature of a quadratic that lies nowhere below the prior and touches it here, and its slope; one of each
    unknown."""
    codes = state.codes
    new = codes.z_id.new_full
    parts = [(new((pose_size,), 1e-6), new((pose_size,), 0.0))]
    if pose_size == 7:
        parts[0][0][6] = 0.05**-2.0
    if with_offsets:
        curvature = state.offset_prior[:, None] / (codes.offsets.abs() + 0.1)
        parts.append((curvature.flatten(), (curvature * codes.offsets).flatten()))
    else:
        curvature = new((len(codes.z_id),), config.early_prior if early else config.identity_prior)
        away = codes.z_id - state.first_z_id if early else codes.z_id
        parts += [expression_prior(codes.weights, config), (curvature, curvature * away)]
    curvatures, slopes = zip(*parts)
    return torch.cat(curvatures).double(), torch.cat(slopes).double()


def expression_prior(weights: Tensor, config: FitConfig) -> tuple[Tensor, Tensor]:
    """Curvature (52,) and slope (52,) of the prior of ARKit weights (52,): their L1 norm, with gaze held at 0.

    No weight is negative, so the norm is a plane: it pulls a small weight as hard as a large one, down to its bound at
    0. The curvature is no part of it; it keeps the step of a small weight short.
    """
    gaze = _GAZE.to(weights.device)
    slope = torch.where(gaze, _GAZE_PRECISION * weights, config.expression_prior)
    return torch.where(gaze, _GAZE_PRECISION, config.expression_prior / (weights.abs() + 0.05)), slope


def _advance(state: State, move: Tensor, pose_size: int, with_offsets: bool) -> State:
    codes, rest = state.codes, move[pose_size:]
    if with_offsets:
        codes = replace(codes, offsets=codes.offsets + rest.view_as(codes.offsets).clamp(-2.0, 2.0))
    else:
        of_weights, of_identity = rest.split([len(codes.weights), len(codes.z_id)])
        weights = (codes.weights + of_weights).clamp(0.0, 1.0)
        codes = replace(codes, weights=weights, z_id=codes.z_id + of_identity.clamp(-1.5, 1.5))
    return replace(state, motion=_motion(move[:pose_size].double().cpu().numpy()) @ state.motion, codes=codes)


def _motion(twist: FloatArray) -> FloatArray:
    """(4, 4) of a twist (6 or 7), at most 8 degrees and 15 mm of it."""
    angle, way = np.linalg.norm(twist[:3]), np.linalg.norm(twist[3:6])
    limit = min(1.0, np.radians(8.0) / max(float(angle), 1e-12), 15.0 / max(float(way), 1e-12))
    scale = np.exp(limit * twist[6]) if len(twist) == 7 else 1.0
    return matrix_of(scale * Rotation.from_rotvec(limit * twist[:3]).as_matrix(), limit * twist[3:6])


def moved(points: Tensor, motion: FloatArray) -> Tensor:
    """Points (N, 3) under a motion (4, 4)."""
    matrix = torch.from_numpy(motion).to(points)
    return points @ matrix[:3, :3].T + matrix[:3, 3]
