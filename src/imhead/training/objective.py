"""The loss of one step, term by term."""

from __future__ import annotations

import torch
from torch import Tensor

from imhead.config import TrainConfig
from imhead.training import losses
from imhead.training.batch import Batch
from imhead.training.learner import Learner
from imhead.training.population import CREASED

_CREASED = list(CREASED)


def _columns(samples: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    # point, distance, normal, canonical target, bound
    return samples[..., :3], samples[..., 3], samples[..., 4:7], samples[..., 7:10], samples[..., 10] > 0.5


def batch_loss(learner: Learner, batch: Batch, config: TrainConfig) -> dict[str, Tensor]:
    """Every term of the loss, unweighted, by its name in LossWeights; `warp` and `posed` come from the posed half."""
    model = learner.model
    z_id = learner.z_id[batch.heads]
    z_id = torch.where(batch.flipped[:, None], z_id * model.identity_parity, z_id)
    regional = model.regional(z_id)
    x, distance, normal, _, bound = _columns(batch.canonical)
    with_gradient = max(1, int(x.shape[1] * config.gradient_fraction))
    probe = x[:, :with_gradient].clone().requires_grad_(True)
    sdf_probe = model.canonical_sdf(probe, regional)
    (gradient,) = torch.autograd.grad(sdf_probe.sum(), probe, create_graph=True)
    sdf = torch.cat([sdf_probe, model.canonical_sdf(x[:, with_gradient:], regional)], dim=1)

    half = len(batch.posed)
    observed, posed_distance, _, target, posed_bound = _columns(batch.posed)
    z_exp = model.warp.code(batch.expressions)
    canonical, seal = model.canonical(observed, z_id[:half], z_exp)
    front = type(regional)(regional.z[:half], regional.keypoints[:half], [f[:half] for f in regional.folded])
    posed_sdf = model.canonical_sdf(canonical, front) - seal
    crease = losses.crease_weight(target, regional.keypoints.detach()[:half, _CREASED], model.radius[_CREASED])
    return {
        "distance": losses.distance_term(sdf, distance, bound)
        + losses.posed_distance_term(posed_sdf, posed_distance, posed_bound, crease),
        "normal": losses.normal_term(gradient, normal[:, :with_gradient], distance[:, :with_gradient]),
        "eikonal": losses.eikonal_term(gradient),
        "warp": losses.warp_term(canonical, target, posed_distance, crease),
        "seal": losses.seal_term(seal),
        "keypoint": losses.keypoint_term(regional.keypoints, batch.keypoints),
        "symmetry": losses.symmetry_term(regional.z, model.mirror, model.region_parity),
        "code": losses.code_term(z_id),
    }


def warp_loss(learner: Learner, batch: Batch, config: TrainConfig) -> dict[str, Tensor]:
    """The terms of the steps in which only the warp learns: place, distance and normal of posed samples."""
    model = learner.model
    with torch.no_grad():
        z_id = learner.z_id[batch.heads]
        z_id = torch.where(batch.flipped[:, None], z_id * model.identity_parity, z_id)
        regional = model.regional(z_id)
    x, distance, normal, target, bound = _columns(batch.posed)
    with_gradient = max(1, int(x.shape[1] * config.gradient_fraction))
    probe = x[:, :with_gradient].clone().requires_grad_(True)
    z_exp = model.warp.code(batch.expressions)
    places = [model.canonical(part, z_id, z_exp) for part in (probe, x[:, with_gradient:])]
    sdf = [model.canonical_sdf(place, regional) - seal for place, seal in places]
    (gradient,) = torch.autograd.grad(sdf[0].sum(), probe, create_graph=True)
    even = torch.ones_like(distance)
    return {
        "distance": losses.posed_distance_term(torch.cat(sdf, dim=1), distance, bound, even),
        "normal": losses.normal_term(gradient, normal[:, :with_gradient], distance[:, :with_gradient]),
        "warp": losses.warp_term(torch.cat([place for place, _ in places], dim=1), target, distance, even),
        "seal": losses.seal_term(torch.cat([seal for _, seal in places], dim=1)),
    }
