"""The loss of one step: predictions of the networks for each head, then the loss terms and their weighted sum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from imhead.model.head import HeadModel
from imhead.training import losses
from imhead.training.batch import Batch
from imhead.training.config import TrainConfig
from imhead.training.gradients import backward
from imhead.training.learner import Learner
from imhead.training.population import CREASED

_CREASED = list(CREASED)


class Predictions(NamedTuple):
    """Outputs of the networks for B heads, the first P of them also posed, each at n points; model units."""

    z_id: Tensor
    """(B, 256), mirrored where the head is."""
    z: Tensor
    """(B, 39, 64) region codes."""
    keypoints: Tensor
    """(B, 39, 3)."""
    sdf: Tensor
    """(B, n)."""
    gradient: Tensor
    """(B, g, 3) at the first g points."""
    posed_keypoints: Tensor
    """(P, 39, 3), detached."""
    canonical: Tensor
    """(P, n, 3) the posed points, warped into the canonical pose."""
    seal: Tensor
    """(P, n)."""
    posed_sdf: Tensor
    """(P, n)."""


class WarpPredictions(NamedTuple):
    """Outputs of the expression warp for P posed heads, each at n points; model units."""

    canonical: Tensor
    """(P, n, 3)."""
    seal: Tensor
    """(P, n)."""
    sdf: Tensor
    """(P, n)."""
    gradient: Tensor
    """(P, g, 3) at the first g points, in the observed pose."""
    keypoints: Tensor
    """(P, 39, 3), detached."""


def step_gradients(
    learner: Learner, shares: Sequence[Batch], config: TrainConfig, *, of_warp: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Add the gradients of a step's loss to the parameters that learn.

    Args:
        shares: the step's heads, one share for each thread; the loss does not depend on the division.
        of_warp: only the warp learns.

    Returns:
        The loss, and each of its terms, unweighted, by its name in LossWeights.
    """
    batch, terms = Batch.joined(shares), dict[str, Tensor]()

    def loss(columns: Sequence[Tensor]) -> Tensor:
        terms.update(
            warp_loss_terms(learner.model, WarpPredictions(*columns), batch)
            if of_warp
            else loss_terms(learner.model, Predictions(*columns), batch)
        )
        return weighted_sum(terms, config)

    def predict_share(share: Batch) -> Sequence[Tensor]:
        return predict_warp(learner, share, config) if of_warp else predict(learner, share, config)

    learning = [p for p in learner.parameters() if p.requires_grad]
    total = backward(predict_share, shares, loss, learning, learner.z_id.device)
    return total, {name: value.detach() for name, value in terms.items()}


def weighted_sum(terms: dict[str, Tensor], config: TrainConfig) -> Tensor:
    """The loss () from its terms."""
    parts: Iterable[Tensor] = (getattr(config.loss, name) * value for name, value in terms.items())
    return sum(parts, torch.zeros(()))


def predict(learner: Learner, batch: Batch, config: TrainConfig) -> Predictions:
    """Evaluate all networks at the canonical and the posed samples of a batch."""
    model, z_id = learner.model, _codes(learner, batch)
    regional = model.regional(z_id)
    x = batch.canonical[..., :3]
    count = _gradient_count(x, config)
    probe = x[:, :count].clone().requires_grad_(True)
    sdf_probe = model.canonical_sdf(probe, regional)
    (gradient,) = torch.autograd.grad(sdf_probe.sum(), probe, create_graph=True)
    sdf = torch.cat([sdf_probe, model.canonical_sdf(x[:, count:], regional)], dim=1)
    half = len(batch.posed)
    canonical, seal = model.canonical(batch.posed[..., :3], z_id[:half], model.warp.code(batch.expressions))
    front = type(regional)(regional.z[:half], regional.keypoints[:half], [f[:half] for f in regional.folded])
    posed_sdf = model.canonical_sdf(canonical, front) - seal
    posed_keypoints = front.keypoints.detach()
    return Predictions(z_id, regional.z, regional.keypoints, sdf, gradient, posed_keypoints, canonical, seal, posed_sdf)


def predict_warp(learner: Learner, batch: Batch, config: TrainConfig) -> WarpPredictions:
    """Evaluate the warp at the posed samples of a batch; identity and canonical field have no gradient."""
    model = learner.model
    with torch.no_grad():
        z_id = _codes(learner, batch)
        regional = model.regional(z_id)
    x = batch.posed[..., :3]
    count = _gradient_count(x, config)
    probe = x[:, :count].clone().requires_grad_(True)
    z_exp = model.warp.code(batch.expressions)
    places = [model.canonical(part, z_id, z_exp) for part in (probe, x[:, count:])]
    sdf = [model.canonical_sdf(place, regional) - seal for place, seal in places]
    (gradient,) = torch.autograd.grad(sdf[0].sum(), probe, create_graph=True)
    canonical, seal = (torch.cat(part, dim=1) for part in zip(*places))
    return WarpPredictions(canonical, seal, torch.cat(sdf, dim=1), gradient, regional.keypoints)


def loss_terms(model: HeadModel, predicted: Predictions, batch: Batch) -> dict[str, Tensor]:
    """Every term of the loss; `warp` and `seal` come from the posed heads, `distance` from both."""
    x, distance, normal, _, bound = _columns(batch.canonical)
    _, posed_distance, _, target, posed_bound = _columns(batch.posed)
    distance = _target_distance(model, distance, x, predicted.keypoints)
    posed_target = _target_distance(model, posed_distance, predicted.canonical, predicted.posed_keypoints)
    count = predicted.gradient.shape[1]
    crease = losses.crease_weight(target, predicted.posed_keypoints[:, _CREASED], model.radius[_CREASED])
    return {
        "distance": losses.distance_term(
            losses.first_order_distance(predicted.sdf, distance, predicted.gradient), distance, bound
        )
        + losses.posed_distance_term(predicted.posed_sdf, posed_target, posed_bound, crease),
        "normal": losses.normal_term(predicted.gradient, normal[:, :count], distance[:, :count]),
        "eikonal": losses.eikonal_term(predicted.gradient),
        "warp": losses.warp_term(predicted.canonical, target, posed_distance, crease),
        "seal": losses.seal_term(predicted.seal),
        "keypoint": losses.keypoint_term(predicted.keypoints, batch.keypoints),
        "symmetry": losses.symmetry_term(predicted.z, model.mirror, model.region_parity),
        "code": losses.code_term(predicted.z_id),
    }


def warp_loss_terms(model: HeadModel, predicted: WarpPredictions, batch: Batch) -> dict[str, Tensor]:
    """The terms of the steps in which only the warp learns: place, distance and normal of posed samples."""
    _, distance, normal, target, bound = _columns(batch.posed)
    count, even = predicted.gradient.shape[1], torch.ones_like(distance)
    posed_target = _target_distance(model, distance, predicted.canonical, predicted.keypoints)
    return {
        "distance": losses.posed_distance_term(predicted.sdf, posed_target, bound, even),
        "normal": losses.normal_term(predicted.gradient, normal[:, :count], distance[:, :count]),
        "warp": losses.warp_term(predicted.canonical, target, distance, even),
        "seal": losses.seal_term(predicted.seal),
    }


def _target_distance(model: HeadModel, distance: Tensor, x: Tensor, keypoints: Tensor) -> Tensor:
    if model.config.blend == "paper":  # every region's weight is positive everywhere
        return distance
    return losses.outside_where_uncovered(distance, x.detach(), keypoints.detach(), model.radius)


def _codes(learner: Learner, batch: Batch) -> Tensor:
    z_id = learner.z_id[batch.heads]
    return torch.where(batch.flipped[:, None], z_id * learner.model.identity_parity, z_id)


def _gradient_count(x: Tensor, config: TrainConfig) -> int:
    return max(1, int(x.shape[1] * config.gradient_fraction))


def _columns(samples: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    # point, distance, normal, canonical target, bound
    return samples[..., :3], samples[..., 3], samples[..., 4:7], samples[..., 7:10], samples[..., 10] > 0.5
