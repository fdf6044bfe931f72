"""Robust symmetric point-to-plane ICP of the template onto the scan, all poses of a batch at once.

Shape legend: K template points, B poses. Vectors are (3, B, K), one plane for each axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imhead.fitting.pose.cloud import NearestPoints
from imhead.fitting.pose.poses import Poses, concatenate_poses, cross, dot
from imhead.fitting.pose.template import TemplatePoints
from imhead.parallel import side_by_side, thread_count

__all__ = ["refine_poses"]

_LOG_SCALE_SIGMA = 0.08
"""Prior standard deviation of log(scale) of real heads about the mean head."""
_SCALE_COST_MM2 = 0.32
"""Squared residual, for each unit of weight, that a scale of one standard deviation costs."""
_MIN_COSINE = 0.3
"""Correspondences whose normals differ by more have no weight."""
_DAMPING = (25.0, 25.0, 25.0, 0.01, 0.01, 0.01, 25.0)
"""Of rotation, translation and log(scale): keeps directions along which the template can slide from running away."""
_MAX_TURN_RAD = 0.5
_MAX_LOG_SCALE_STEP = 0.1


def refine_poses(
    nearest: NearestPoints, template: TemplatePoints, poses: Poses, reaches_mm: tuple[float, ...]
) -> Poses:
    """Gauss-Newton steps that lay the template onto the scan, one step for each reach.

    Args:
        nearest: looks up the scan.
        template: K points that are laid onto the scan.
        poses: B initial poses.
        reaches_mm: a correspondence longer than this has no weight.
    """

    def steps(part: Poses) -> Poses:
        for reach in reaches_mm:
            part = _gauss_newton_step(nearest, template, part, reach)
        return part

    device = poses.scale.device
    shares = torch.arange(len(poses)).tensor_split(min(len(poses), thread_count(device)))
    return concatenate_poses(list(side_by_side(steps, [poses.take(rows) for rows in shares], device)))


@dataclass(frozen=True, eq=False)
class _Residuals:
    """Linearized residuals of B poses."""

    value: Tensor
    """(B, K) mm."""
    jacobian: Tensor
    """(B, 7, K) by rotation, translation and log(scale), about `center`."""
    weight: Tensor
    """(B, K) robust weights."""
    center: Tensor
    """(B, 3) mean of the placed template points, about which a step rotates and scales."""


def _residuals(nearest: NearestPoints, template: TemplatePoints, poses: Poses, reach_mm: float) -> _Residuals:
    points, normals = poses.apply(template.points), poses.rotate(template.normals)
    scan_points, scan_normals = nearest(points)
    cosine = dot(normals, scan_normals)
    gap = points - scan_points
    agreement = ((cosine.abs() - _MIN_COSINE) / (1.0 - _MIN_COSINE)).clamp_(min=0)
    weight = (1 - dot(gap, gap) / reach_mm**2).clamp_(min=0).square_() * agreement * (0.3 + template.relief)
    # along the sum of both normals, which widens the basin of convergence of plain point-to-plane
    direction = normals + torch.where(cosine < 0, -1.0, 1.0) * scan_normals
    direction = direction / dot(direction, direction).sqrt_().clamp_(min=1e-6)
    center = points.mean(2, keepdim=True)
    arm = points - center
    jacobian = torch.cat([cross(arm, direction), direction, dot(arm, direction)[None]]).transpose(0, 1)
    return _Residuals(dot(gap, direction), jacobian, weight, center[..., 0].T)


def _gauss_newton_step(nearest: NearestPoints, template: TemplatePoints, poses: Poses, reach_mm: float) -> Poses:
    residuals = _residuals(nearest, template, poses, reach_mm)
    weighted = residuals.jacobian * residuals.weight[:, None]
    hessian = weighted @ residuals.jacobian.transpose(1, 2)
    descent = -(weighted @ residuals.value[..., None])[..., 0]
    total_weight = residuals.weight.sum(1) + 1.0
    hessian = hessian + torch.diag(torch.tensor(_DAMPING)) * total_weight[:, None, None]
    scale_precision = total_weight * _SCALE_COST_MM2 / _LOG_SCALE_SIGMA**2
    hessian[:, 6, 6] += scale_precision
    descent[:, 6] -= scale_precision * torch.log(poses.scale)
    step = torch.linalg.solve(hessian, descent)
    growth = step[:, 6].clamp(-_MAX_LOG_SCALE_STEP, _MAX_LOG_SCALE_STEP).exp()
    rotation = _rotation_matrices(step[:, :3])
    center = residuals.center
    offset = torch.einsum("bij,bj->bi", rotation, poses.translation - center)
    translation = growth[:, None] * offset + center + step[:, 3:6]
    return Poses(poses.scale * growth, rotation @ poses.rotation, translation)


def _rotation_matrices(vectors: Tensor) -> Tensor:
    """(B, 3, 3) of rotation vectors (B, 3), each cut to at most `_MAX_TURN_RAD`."""
    angle = vectors.norm(dim=1, keepdim=True)
    vectors = vectors * (_MAX_TURN_RAD / angle.clamp(min=_MAX_TURN_RAD))
    x, y, z = vectors.unbind(1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)
    half = vectors.norm(dim=1)[:, None, None] / 2
    one = torch.eye(3, device=vectors.device)
    return one + torch.sinc(2 * half / torch.pi) * skew + torch.sinc(half / torch.pi).square() / 2 * skew @ skew
