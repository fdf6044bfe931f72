"""One damped Gauss-Newton step of a fit: pose, expression, and z_id or the region offsets, never both."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from imhead.conventions import ARKIT_NAMES
from imhead.fitting.config import FitConfig
from imhead.fitting.objective import Codes, normal_equations, sensitivity
from imhead.fitting.points import point_weights
from imhead.model.head import HeadModel
from imhead.types import FloatArray

_GAZE_PRECISION = 1e8  # a scan hardly shows gaze: its weights stay


@dataclass(frozen=True, eq=False)
class State:
    """Where a fit stands between two steps."""

    points: Tensor
    """(N, 3) sampled points in the head frame, before `motion`."""
    normals: Tensor | None
    """(N, 3) unit, as the points; None for a scan without."""
    face: Tensor
    """(N,) bool: points on the face."""
    motion: FloatArray
    """(4, 4) refinement of the pose, applied after the search's."""
    scale_free: bool
    """Whether the unit is a guess, so that the size is fitted too."""
    codes: Codes
    """What is sought."""
    first_z_id: Tensor
    """(256,) where z_id started."""
    identity_prior: float
    """Weight of |z_id|² in this iteration."""
    damping: float
    """Share of the Hessian's diagonal that is added to it."""
    promised: float
    """What the last step promised to lower the negative log posterior by."""
    offset_prior: Tensor
    """(39,) weight of the L1 norm of each region's offsets."""


def step(net: HeadModel, state: State, robust_mm: float, with_offsets: bool, config: FitConfig) -> State:
    """The state after one step on pose, expression and z_id, or, `with_offsets`, the region offsets in its place."""
    early = robust_mm > config.robust_mm[-1]
    # both the points on the face and the others come in random order, so a stride is a fair share
    rows = slice(None, None, max(1, len(state.points) // config.early_points) if early else 1)
    points = moved(state.points[rows], state.motion)
    line = sensitivity(net, state.codes, points)
    trusted = point_weights(line.sdf_mm, state.face[rows], robust_mm, config, with_offsets)
    if state.normals is not None:
        normals = state.normals[rows] @ torch.from_numpy(_rotation(state.motion)).to(state.normals).T
        cosine = torch.nn.functional.cosine_similarity(line.point, normals, dim=1)
        # an inverted scan has every normal turned; the sign of the majority decides
        if cosine.sum() < 0:
            cosine = -cosine
        trusted = trusted * (cosine > config.normal_gate)
    twist = torch.cat([torch.linalg.cross(points, line.point), line.point], dim=1)
    if state.scale_free:
        twist = torch.cat([twist, (points * line.point).sum(dim=1, keepdim=True)], dim=1)
    prior, value = _prior(state, early, with_offsets, twist.shape[1], config)
    hessian, gradient = normal_equations(net, line, twist, trusted, with_offsets)
    gradient += prior * value
    hessian.diagonal().add_(prior + state.damping * hessian.diagonal())
    move = -torch.cholesky_solve(gradient[:, None], torch.linalg.cholesky(hessian))[:, 0].float()
    state = replace(
        _advance(state, move, twist.shape[1], with_offsets), promised=-0.5 * float(gradient @ move.double())
    )
    if early or with_offsets:
        return state
    length = float(state.codes.z_id.square().mean().sqrt()) / config.identity_limit
    weight = max(config.identity_prior, state.identity_prior * min(max(length, 0.7), 1.6) ** 2)
    return replace(state, identity_prior=weight)


def _prior(state: State, early: bool, with_offsets: bool, pose_size: int, config: FitConfig) -> tuple[Tensor, Tensor]:
    """Diagonal of the prior's Hessian and the value that each unknown departs from zero by."""
    codes = state.codes
    new = codes.z_id.new_full
    parts = [new((pose_size,), 1e-6), codes.weights.new_tensor(_expression_precision(config))]
    values = [new((pose_size,), 0.0), codes.weights]
    if pose_size == 7:
        parts[0][6] = 0.05**-2.0
    if with_offsets:
        # L1 by reweighting: the quadratic that touches |δ| where it stands
        parts.append((state.offset_prior[:, None] / (codes.offsets.abs() + 0.1)).flatten())
        values.append(codes.offsets.flatten())
    else:
        parts.append(new((len(codes.z_id),), config.early_prior if early else state.identity_prior))
        values.append(codes.z_id - state.first_z_id if early else codes.z_id)
    return torch.cat(parts).double(), torch.cat(values).double()


def _expression_precision(config: FitConfig) -> list[float]:
    return [_GAZE_PRECISION if name.startswith("eyeLook") else config.expression_sigma**-2.0 for name in ARKIT_NAMES]


def _advance(state: State, move: Tensor, pose_size: int, with_offsets: bool) -> State:
    codes = state.codes
    of_weights, rest = move[pose_size:].split([len(codes.weights), len(move) - pose_size - len(codes.weights)])
    weights = (codes.weights + of_weights).clamp(0.0, 1.0)
    if with_offsets:
        codes = replace(codes, weights=weights, offsets=codes.offsets + rest.view_as(codes.offsets).clamp(-2.0, 2.0))
    else:
        codes = replace(codes, weights=weights, z_id=codes.z_id + rest.clamp(-1.5, 1.5))
    return replace(state, motion=_motion(move[:pose_size].double().cpu().numpy()) @ state.motion, codes=codes)


def _motion(twist: FloatArray) -> FloatArray:
    """(4, 4) of a twist (6 or 7), at most 8 degrees and 15 mm of it."""
    angle, way = np.linalg.norm(twist[:3]), np.linalg.norm(twist[3:6])
    limit = min(1.0, np.radians(8.0) / max(float(angle), 1e-12), 15.0 / max(float(way), 1e-12))
    motion: FloatArray = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(limit * twist[:3]).as_matrix()
    motion[:3, :3] *= np.exp(limit * twist[6]) if len(twist) == 7 else 1.0
    motion[:3, 3] = limit * twist[3:6]
    return motion


def _rotation(motion: FloatArray) -> FloatArray:
    return motion[:3, :3] / np.cbrt(np.linalg.det(motion[:3, :3]))


def moved(points: Tensor, motion: FloatArray) -> Tensor:
    """Points (N, 3) under a motion (4, 4)."""
    matrix = torch.from_numpy(motion).to(points)
    return points @ matrix[:3, :3].T + matrix[:3, 3]
