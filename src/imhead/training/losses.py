"""The terms of the training loss, each a pure function of tensors. Lengths are model units."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from imhead.conventions import MODEL_UNIT_MM
from imhead.model.fusion import COVERAGE_FLOOR, coverage

_NEAR = 10.0 / MODEL_UNIT_MM  # a distance at which an error counts half
_WARP_REACH = 3.0 / MODEL_UNIT_MM  # farther away, the nearest surface may belong to the other lip
_CREASE = 4.0
_LEAST_SLOPE = 0.1
_UNCOVERED_DISTANCE = 12.0 / MODEL_UNIT_MM  # beyond the reach of the normal term
_POSED_REACH = 5.0 / MODEL_UNIT_MM  # a warped field is a distance only near its zero set


def distance_error(predicted: Tensor, distance: Tensor, bound: Tensor) -> Tensor:
    """Absolute error (…,) of signed distances; where `bound` is true, `distance` is an upper bound."""
    error = predicted - distance
    return torch.where(bound, F.relu(error), error.abs())


def first_order_distance(predicted: Tensor, distance: Tensor, gradient: Tensor) -> Tensor:
    """Field values (…, N), at points of the surface divided by the length of the gradient (…, g, 3).

    The quotient is the distance to the zero set, to first order (Taubin 1991). Without it a field can lower its error
    on the surface by a smaller slope. Only the first g points have a gradient; `distance` (…, N) is 0 on the surface.
    """
    count = gradient.shape[-2]
    slope = torch.linalg.vector_norm(gradient, dim=-1).clamp(min=_LEAST_SLOPE)
    first = torch.where(distance[..., :count] == 0.0, predicted[..., :count] / slope, predicted[..., :count])
    return torch.cat([first, predicted[..., count:]], dim=-1)


def outside_where_uncovered(distance: Tensor, x: Tensor, keypoints: Tensor, radius: Tensor) -> Tensor:
    """Distances (B, N), raised to at least 12 mm where no region's ball covers a point.

    There the field depends on no code. A head whose bust leaves its balls would put a sheet behind all other heads.

    Args:
        distance: (B, N) true distances at x (B, N, 3).
        keypoints: (B, 39, 3).
        radius: (39,) of their balls.
    """
    return torch.where(
        coverage(x, keypoints, radius) < 3.0 * COVERAGE_FLOOR, distance.clamp(min=_UNCOVERED_DISTANCE), distance
    )


def distance_term(predicted: Tensor, distance: Tensor, bound: Tensor) -> Tensor:
    """Mean `distance_error`, weighted towards the surface."""
    weight = _NEAR / (_NEAR + distance.abs())
    return (distance_error(predicted, distance, bound) * weight).mean()


def crease_weight(canonical: Tensor, keypoints: Tensor, radius: Tensor) -> Tensor:
    """Weight (B, N) of posed points: more where lips and lids meet, since the warp is discontinuous there.

    Args:
        canonical: (B, N, 3) the points in the canonical pose.
        keypoints: (B, K, 3) of the regions of mouth and eyes.
        radius: (K,) of their balls.
    """
    near = (torch.cdist(canonical, keypoints) < 0.6 * radius).any(dim=-1)
    return 1.0 + (_CREASE - 1.0) * near.float()


def posed_distance_term(predicted: Tensor, distance: Tensor, bound: Tensor, crease: Tensor) -> Tensor:
    """`distance_term` through the expression warp, with `crease_weight`s.

    Farther than 5 mm from the surface only the sign counts: in the middle of an open mouth there is no correspondence,
    and an unconstrained warp may fold a lip into it.
    """
    near = distance.abs() < _POSED_REACH
    sided = F.relu(0.5 * _POSED_REACH - predicted * distance.sign())
    error = torch.where(near, distance_error(predicted, distance, bound), sided)
    return (error * crease).sum() / (near * crease).sum().clamp(min=1.0)


def seal_term(seal: Tensor) -> Tensor:
    """Mean absolute seal (…,), the part of the posed field that the warp does not explain."""
    return seal.abs().mean()


def normal_term(gradient: Tensor, normal: Tensor, distance: Tensor) -> Tensor:
    """One minus the cosine between the field's gradient and the true one, both (…, 3), near the surface."""
    weight = (distance.abs() < _NEAR).float()
    cosine = F.cosine_similarity(gradient, normal, dim=-1, eps=1e-6)
    return ((1.0 - cosine) * weight).sum() / weight.sum().clamp(min=1.0)


def eikonal_term(gradient: Tensor) -> Tensor:
    """Squared deviation of the gradient's length (…, 3) from one."""
    return (torch.linalg.vector_norm(gradient, dim=-1) - 1.0).square().mean()


def warp_term(canonical: Tensor, target: Tensor, distance: Tensor, crease: Tensor) -> Tensor:
    """Mean distance between warped points and their correspondences (…, 3), weighted towards surface and creases."""
    weight = torch.exp(-(distance / _WARP_REACH).square()) * crease
    return ((canonical - target).square().sum(dim=-1) + 1e-10).sqrt().mul(weight).sum() / weight.sum()


def keypoint_term(keypoints: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of keypoints (B, 39, 3)."""
    return (keypoints - target).square().sum(dim=-1).mean()


def symmetry_term(z: Tensor, mirror: Tensor, parity: Tensor) -> Tensor:
    """Mean squared difference between region codes (B, 39, 64) and those of the mirrored head."""
    return (z - z[:, mirror] * parity).square().mean()


def code_term(z_id: Tensor) -> Tensor:
    """Mean squared code (B, 256): its negative log density under N(0, 1), up to constants."""
    return z_id.square().mean()
