"""One damped Gauss-Newton step of a fit: on pose, expression and z_id, or on pose and region offsets.

Shape legend: N points, U unknowns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from imhead.conventions import ARKIT_NAMES
from imhead.fitting.config import FitConfig
from imhead.fitting.objective import Codes, PairJacobian, normal_equations, pair_jacobian
from imhead.fitting.points import independent_noise_mm, point_weights
from imhead.model.head import HeadModel
from imhead.surfaces.eyeballs import eyes_distance, near_eyes
from imhead.surfaces.transforms import matrix_of, rotation_of
from imhead.types import FloatArray

_GAZE = torch.tensor([name.startswith("eyeLook") for name in ARKIT_NAMES])
_GAZE_PRECISION = 1e8  # a scan hardly shows gaze
# to find the weights of offsets beyond their limit: solves, the first weight over the mean curvature, what is beyond
_MOST_SOLVES, _FIRST_WEIGHT, _LIMIT_MARGIN = 9, 0.01, 1.05
DAMPING = 1e-2
"""Share of the Hessian's diagonal that is added to it."""
_LOG_SIZE_SIGMA = 0.05
_MAX_TURN_DEG = 8.0
_MAX_SHIFT_MM = 15.0


@dataclass(frozen=True, eq=False)
class HeadPlaces:
    """Places in the head frame whose depth inside the head is known beside the scan. K places."""

    points: Tensor
    """(K, 3) mm."""
    depth_mm: Tensor
    """(K,) depth of each, 0 on the surface."""
    weight: Tensor
    """(K,) of its squared residual, per mm²."""
    deeper: Tensor
    """(K,) bool: it may lie deeper, and then has no weight."""


@dataclass(frozen=True, eq=False)
class FitState:
    """A fit between two steps."""

    points: Tensor
    """(N, 3) sampled points in the head frame, before `motion`."""
    normals: Tensor | None
    """(N, 3) unit, in the same frame; None for a scan without."""
    face: Tensor
    """(N,) bool: points on the face; they come first."""
    neighbour: Tensor
    """(F,) of the F points on the face, row of the nearest other one."""
    motion: FloatArray
    """(4, 4) refinement of the pose that the search found, applied after it."""
    scale_free: bool
    """Whether the unit is unknown, so that the size is fitted too."""
    codes: Codes
    """Current codes."""
    initial_z_id: Tensor
    """(256,) z_id of the first guess."""
    offset_prior: Tensor
    """(39,) weight of the L1 norm of each region's offsets."""
    predicted_decrease: float = math.inf
    """By how much the last step's quadratic model lowers the negative log posterior."""
    hair: Tensor | None = None
    """(N,) bool: points on hair, which say of the skin only that it lies below them; None of none."""


def gauss_newton_step(
    net: HeadModel,
    state: FitState,
    robust_mm: float,
    with_offsets: bool,
    config: FitConfig,
    places: HeadPlaces | None = None,
) -> FitState:
    """The state after one damped step on pose, ARKit weights and z_id or, `with_offsets`, on pose and region offsets.

    The ARKit weights are held beside free offsets: together, an expression would explain what is the person's own
    neutral mouth.

    Args:
        places: of the head, which enter beside the scan.
    """
    early = is_early(robust_mm, config)
    jacobian, by_pose, weight = linearized(net, state, robust_mm, with_offsets, config, places)
    pose_size = by_pose.shape[1]
    curvature, slope = _prior(state, early, with_offsets, pose_size, config)
    hessian, gradient = normal_equations(net, jacobian, by_pose, weight, with_offsets)
    gradient += slope
    hessian.diagonal().add_(curvature + DAMPING * hessian.diagonal())
    if not with_offsets:
        hessian, gradient = held_at_bounds(hessian, gradient, state.codes.weights.double(), pose_size)
    if not (early or with_offsets):
        extra = weight_within_limit(hessian, gradient, state.codes.z_id.double(), config.identity_limit)
        identity = slice(len(gradient) - len(state.codes.z_id), None)
        gradient[identity] += extra * state.codes.z_id
        hessian.diagonal()[identity] += extra
    if with_offsets:
        step = step_within_limit(hessian, gradient, state.codes.offsets.double(), config.offset_limit)
    else:
        step = newton_step(hessian, gradient)
    state = _updated(state, step.float(), pose_size, with_offsets)
    return replace(state, predicted_decrease=-0.5 * float(gradient @ step))


def is_early(robust_mm: float, config: FitConfig) -> bool:
    """Whether a robust loss of this scale is wider than that of the last steps."""
    return robust_mm > config.robust_mm[-1]


def linearized(
    net: HeadModel,
    state: FitState,
    robust_mm: float,
    with_offsets: bool,
    config: FitConfig,
    places: HeadPlaces | None = None,
) -> tuple[PairJacobian, Tensor, Tensor]:
    """Residuals of a scan's points, then of `places`, and their Jacobian; by the pose (N, 6 or 7); weights (N,).

    Without `with_offsets` the weights are those of a step on pose, ARKit weights and z_id.
    """
    early = is_early(robust_mm, config)
    # points on the face and off it both come in random order, so every k-th is a random subset
    rows = slice(None, None, max(1, len(state.points) // config.early_points) if early else 1)
    points = apply_motion(state.points[rows], state.motion)
    count = len(points)
    everywhere = pair_jacobian(net, state.codes, points if places is None else torch.cat([points, places.points]))
    jacobian = replace(everywhere, sdf_mm=everywhere.sdf_mm[:count], point=everywhere.point[:count])
    if not early:
        # a robust loss narrower than the noise would take the whole scan for outliers
        noise = independent_noise_mm(jacobian.sdf_mm[: len(state.neighbour)], state.neighbour)
        robust_mm = max(robust_mm, config.robust_noise * noise)
    weight = point_weights(jacobian.sdf_mm, state.face[rows], robust_mm, config, with_offsets)
    weight = weight * _on_skin(net, state.codes, points, jacobian.sdf_mm)
    if state.hair is not None:
        weight = weight * (~state.hair[rows] | (jacobian.sdf_mm < 0.0))
    if state.normals is not None:
        weight = weight * _normals_agree(state.normals[rows], state.motion, jacobian.point, config.normal_gate)
    by_pose = torch.cat([torch.linalg.cross(points, jacobian.point), jacobian.point], dim=1)
    if state.scale_free:
        by_pose = torch.cat([by_pose, (points * jacobian.point).sum(dim=1, keepdim=True)], dim=1)
    pose_size = by_pose.shape[1]
    residual = jacobian.sdf_mm
    if places is not None:
        # they move with the head, not with the scan
        lacking = everywhere.sdf_mm[count:] + places.depth_mm
        residual = torch.cat([residual, lacking])
        weight = torch.cat([weight, places.weight * ((lacking > 0.0) | ~places.deeper)])
        by_pose = torch.cat([by_pose, by_pose.new_zeros(len(lacking), pose_size)])
    return replace(everywhere, sdf_mm=residual), by_pose, weight


def _on_skin(net: HeadModel, codes: Codes, points: Tensor, skin_mm: Tensor) -> Tensor:
    """(N,) bool: points (N, 3) nearer to the skin, at distances (N,), than to an eyeball; those on eyes say nothing of
    the skin."""
    eyes = net.eye_net(codes.z_id[None], net.identity_parity)[0].double().cpu().numpy()
    places = points.double().cpu().numpy()
    near = near_eyes(places, eyes)
    on_skin = torch.ones(len(points), dtype=torch.bool, device=points.device)
    rows = torch.from_numpy(near).to(points.device)
    on_skin[rows] = skin_mm[rows] <= torch.from_numpy(eyes_distance(places[near], eyes)).to(skin_mm)
    return on_skin


def _normals_agree(normals: Tensor, motion: FloatArray, sdf_gradient: Tensor, least_cosine: float) -> Tensor:
    """(N,) bool: whether normals (N, 3) under the motion agree with the field's gradients (N, 3)."""
    rotated = normals @ torch.from_numpy(rotation_of(motion)).to(normals).T
    cosine = torch.nn.functional.cosine_similarity(sdf_gradient, rotated, dim=1)
    # the normals of an inside-out scan all point inwards; the majority decides on the sign
    return (-cosine if cosine.sum() < 0 else cosine) > least_cosine


def held_at_bounds(hessian: Tensor, gradient: Tensor, weights: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Hessian (U, U) and gradient (U,) of the step with every ARKit weight in [0, 1]: an active set method.

    A weight that a step would take out of [0, 1] ends at the bound, and the other unknowns are solved for again.

    Args:
        hessian: (U, U) positive definite.
        gradient: (U,).
        weights: (52,) current ARKit weights.
        first: row of the first of them among the unknowns.
    """
    rows = slice(first, first + len(weights))
    fixed_step = torch.zeros_like(gradient)
    held = torch.zeros_like(gradient, dtype=torch.bool)
    while True:
        free = (~held).to(hessian)
        system = hessian * free[:, None] * free + torch.diag(1.0 - free)
        slope = torch.where(held, -fixed_step, gradient + hessian @ fixed_step)
        ends = weights + newton_step(system, slope)[rows]
        out = ~held[rows] & ((ends < 0.0) | (ends > 1.0))
        if not out.any():
            return system, slope
        fixed_step[rows] = torch.where(out, ends.clamp(0.0, 1.0) - weights, fixed_step[rows])
        held[rows] |= out


def weight_within_limit(hessian: Tensor, gradient: Tensor, z_id: Tensor, limit: float) -> float:
    """Least extra weight of |z_id|² for the step to end within `limit` standard deviations.

    Eliminating the other unknowns (Schur complement S) leaves S dz = -g for the step dz of z_id. With an extra weight w
    it ends at z + dz = (S + w)⁻¹ (S z - g), which is shorter the larger w is.

    Args:
        hessian: (U, U) positive definite; z_id comes last among the unknowns.
        gradient: (U,).
        z_id: (256,) current identity code.
        limit: of the root mean square of z_id.
    """
    others = len(gradient) - len(z_id)
    if _root_mean_square(z_id + newton_step(hessian, gradient)[others:]) <= limit:
        return 0.0
    cross = hessian[:others, others:]
    eliminated = torch.cholesky_solve(
        torch.cat([cross, gradient[:others, None]], dim=1), torch.linalg.cholesky(hessian[:others, :others])
    )
    values, basis = torch.linalg.eigh(hessian[others:, others:] - cross.T @ eliminated[:, :-1])
    goal = values * (basis.T @ z_id) - basis.T @ (gradient[others:] - cross.T @ eliminated[:, -1])

    def excess(weight: float) -> float:
        return _root_mean_square(goal / (values + weight)) - limit

    from scipy.optimize import brentq  # a fifth of a second to import, for heads as unusual as this one

    # all eigenvalues are positive, so this weight is more than enough
    return brentq(excess, 0.0, _root_mean_square(goal) / limit) if excess(0.0) > 0.0 else 0.0


def step_within_limit(hessian: Tensor, gradient: Tensor, offsets: Tensor, limit: float) -> Tensor:
    """The step (U,), with weights on the squared offsets of those regions that it would take beyond a limit.

    Args:
        hessian: (U, U) positive definite; the offsets come last among the unknowns. The weights are added to it.
        gradient: (U,). Theirs is added to it.
        offsets: (39, 64) current region offsets.
        limit: of the root mean square of each region's offsets; they end about there at most.
    """
    first = len(gradient) - offsets.numel()
    stiffness = hessian.diagonal()[first:].view_as(offsets).mean(dim=1)
    weight = torch.zeros_like(stiffness)
    for solve in range(_MOST_SOLVES):
        step = newton_step(hessian, gradient)
        size = (offsets + step[first:].view_as(offsets)).square().mean(dim=1).sqrt()
        over = size > _LIMIT_MARGIN * limit
        if not over.any() or solve == _MOST_SOLVES - 1:
            break
        grown = torch.maximum((size / limit) ** 2 * 2.0 * weight, _FIRST_WEIGHT * stiffness)
        more = torch.where(over, grown - weight, 0.0)[:, None].expand_as(offsets)
        weight = torch.where(over, grown, weight)
        hessian.diagonal()[first:] += more.flatten()
        gradient[first:] += (more * offsets).flatten()
    return step


def _root_mean_square(code: Tensor) -> float:
    return float(code.square().mean().sqrt())


def newton_step(hessian: Tensor, gradient: Tensor) -> Tensor:
    """(U,) minimum of the quadratic with this Hessian (U, U), positive definite, and gradient (U,)."""
    return -torch.cholesky_solve(gradient[:, None], torch.linalg.cholesky(hessian))[:, 0]


def _prior(
    state: FitState, early: bool, with_offsets: bool, pose_size: int, config: FitConfig
) -> tuple[Tensor, Tensor]:
    """Curvature (U,) and slope (U,) of a quadratic majorizer of the prior: never below it, and touching it here."""
    codes = state.codes
    parts = [pose_prior(codes.z_id, pose_size)]
    if with_offsets:
        parts.append(offsets_prior(codes.offsets, state.offset_prior))
    else:
        identity = identity_prior(codes.z_id, state.initial_z_id, early, config)
        parts += [expression_prior(codes.weights, config), identity]
    curvatures, slopes = zip(*parts)
    return torch.cat(curvatures).double(), torch.cat(slopes).double()


def pose_prior(like: Tensor, pose_size: int) -> tuple[Tensor, Tensor]:
    """Curvature and slope (6 or 7,) of the prior of a step of the pose: next to none, but for the scale."""
    curvature = like.new_full((pose_size,), 1e-6)
    if pose_size == 7:
        curvature[6] = _LOG_SIZE_SIGMA**-2.0
    return curvature, like.new_full((pose_size,), 0.0)


def offsets_prior(offsets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Curvature and slope (39·64,) of the L1 norm of offsets (39, 64), times the weights (39,) of the regions."""
    curvature = weight[:, None] / (offsets.abs() + 0.1)
    return curvature.flatten(), (curvature * offsets).flatten()


def identity_prior(z_id: Tensor, initial: Tensor, early: bool, config: FitConfig) -> tuple[Tensor, Tensor]:
    """Curvature and slope (256,) of the prior of z_id (256,): early about the first guess (256,), then about 0."""
    curvature = z_id.new_full((len(z_id),), config.early_prior if early else config.identity_prior)
    return curvature, curvature * (z_id - initial if early else z_id)


def expression_prior(weights: Tensor, config: FitConfig) -> tuple[Tensor, Tensor]:
    """Curvature (52,) and slope (52,) of the prior of ARKit weights (52,): their L1 norm, with gaze held at 0.

    Weights are never negative, so the norm is linear: it pulls a small weight as hard as a large one, down to 0. The
    curvature is not the prior's; it keeps the steps of small weights short.
    """
    gaze = _GAZE.to(weights.device)
    slope = torch.where(gaze, _GAZE_PRECISION * weights, config.expression_prior)
    return torch.where(gaze, _GAZE_PRECISION, config.expression_prior / (weights.abs() + 0.05)), slope


def _updated(state: FitState, step: Tensor, pose_size: int, with_offsets: bool) -> FitState:
    """The state after a step (U,), each part of it limited."""
    codes, rest = state.codes, step[pose_size:]
    if with_offsets:
        codes = replace(codes, offsets=changed_offsets(codes.offsets, rest))
    else:
        weight_step, identity_step = rest.split([len(codes.weights), len(codes.z_id)])
        weights = (codes.weights + weight_step).clamp(0.0, 1.0)
        codes = replace(codes, weights=weights, z_id=changed_identity(codes.z_id, identity_step))
    return replace(state, motion=moved(state.motion, step[:pose_size]), codes=codes)


def changed_offsets(offsets: Tensor, step: Tensor) -> Tensor:
    """Offsets (39, 64) after a step (39·64,), which is limited."""
    return offsets + step.view_as(offsets).clamp(-2.0, 2.0)


def changed_identity(z_id: Tensor, step: Tensor) -> Tensor:
    """z_id (256,) after a step (256,), which is limited."""
    return z_id + step.clamp(-1.5, 1.5)


def moved(motion: FloatArray, step: Tensor) -> FloatArray:
    """A motion (4, 4) after a step of the pose (6 or 7,), which is limited."""
    return _motion(step.double().cpu().numpy()) @ motion


def _motion(twist: FloatArray) -> FloatArray:
    """(4, 4) of a twist (6,) or, with log(scale), (7,), shortened to at most 8 degrees and 15 mm."""
    angle, shift = np.linalg.norm(twist[:3]), np.linalg.norm(twist[3:6])
    share = min(1.0, np.radians(_MAX_TURN_DEG) / max(float(angle), 1e-12), _MAX_SHIFT_MM / max(float(shift), 1e-12))
    scale = np.exp(share * twist[6]) if len(twist) == 7 else 1.0
    return matrix_of(scale * Rotation.from_rotvec(share * twist[:3]).as_matrix(), share * twist[3:6])


def apply_motion(points: Tensor, motion: FloatArray) -> Tensor:
    """Points (N, 3) under a motion (4, 4)."""
    matrix = torch.from_numpy(motion).to(points)
    return points @ matrix[:3, :3].T + matrix[:3, 3]
