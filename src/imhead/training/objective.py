"""The loss of one step, term by term: what the networks say of each head, and then what all of it costs."""

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


class Seen(NamedTuple):
    """What the networks say of B heads, the first P of them also posed, each at n points; model units."""

    z_id: Tensor
    """(B, 256), mirrored where the head is."""
    z: Tensor
    """(B, 39, 64) region codes."""
    keypoints: Tensor
    """(B, 39, 3)."""
    sdf: Tensor
    """(B, n)."""
    gradient: Tensor
    """(B, g, 3) of the first g of them."""
    posed_keypoints: Tensor
    """(P, 39, 3), without gradient."""
    canonical: Tensor
    """(P, n, 3) where posed points lie in the canonical pose."""
    seal: Tensor
    """(P, n)."""
    posed_sdf: Tensor
    """(P, n)."""


class SeenPosed(NamedTuple):
    """What the warp makes of P posed heads, each at n points; model units."""

    canonical: Tensor
    """(P, n, 3)."""
    seal: Tensor
    """(P, n)."""
    sdf: Tensor
    """(P, n)."""
    gradient: Tensor
    """(P, g, 3) of the first g of them, in the observed pose."""
    keypoints: Tensor
    """(P, 39, 3), without gradient."""


def step_gradients(
    learner: Learner, shares: Sequence[Batch], config: TrainConfig, *, of_warp: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Put the gradients of a step's loss into what learns.

    Args:
        shares: the step's heads, shared out to threads; how does not matter to the loss.
        of_warp: only the warp learns.

    Returns:
        The loss, and every term of it, unweighted, by its name in LossWeights.
    """
    batch, kept = Batch.joined(shares), dict[str, Tensor]()

    def loss(predicted: Sequence[Tensor]) -> Tensor:
        kept.update(
            warp_terms(learner.model, SeenPosed(*predicted), batch)
            if of_warp
            else terms(learner.model, Seen(*predicted), batch)
        )
        return weighted(kept, config)

    def predict(share: Batch) -> Sequence[Tensor]:
        return see_posed(learner, share, config) if of_warp else see(learner, share, config)

    learning = [p for p in learner.parameters() if p.requires_grad]
    total = backward(predict, shares, loss, learning, learner.z_id.device)
    return total, {name: value.detach() for name, value in kept.items()}


def weighted(values: dict[str, Tensor], config: TrainConfig) -> Tensor:
    """The loss () from its terms."""
    parts: Iterable[Tensor] = (getattr(config.loss, name) * value for name, value in values.items())
    return sum(parts, torch.zeros(()))


def see(learner: Learner, batch: Batch, config: TrainConfig) -> Seen:
    """Ask the networks about heads, canonical and posed."""
    model, z_id = learner.model, _codes(learner, batch)
    regional = model.regional(z_id)
    x = batch.canonical[..., :3]
    with_gradient = _with_gradient(x, config)
    probe = x[:, :with_gradient].clone().requires_grad_(True)
    sdf_probe = model.canonical_sdf(probe, regional)
    (gradient,) = torch.autograd.grad(sdf_probe.sum(), probe, create_graph=True)
    sdf = torch.cat([sdf_probe, model.canonical_sdf(x[:, with_gradient:], regional)], dim=1)
    half = len(batch.posed)
    canonical, seal = model.canonical(batch.posed[..., :3], z_id[:half], model.warp.code(batch.expressions))
    front = type(regional)(regional.z[:half], regional.keypoints[:half], [f[:half] for f in regional.folded])
    posed_sdf = model.canonical_sdf(canonical, front) - seal
    known = front.keypoints.detach()
    return Seen(z_id, regional.z, regional.keypoints, sdf, gradient, known, canonical, seal, posed_sdf)


def see_posed(learner: Learner, batch: Batch, config: TrainConfig) -> SeenPosed:
    """Ask the warp about posed heads; all else is as it is."""
    model = learner.model
    with torch.no_grad():
        z_id = _codes(learner, batch)
        regional = model.regional(z_id)
    x = batch.posed[..., :3]
    with_gradient = _with_gradient(x, config)
    probe = x[:, :with_gradient].clone().requires_grad_(True)
    z_exp = model.warp.code(batch.expressions)
    places = [model.canonical(part, z_id, z_exp) for part in (probe, x[:, with_gradient:])]
    sdf = [model.canonical_sdf(place, regional) - seal for place, seal in places]
    (gradient,) = torch.autograd.grad(sdf[0].sum(), probe, create_graph=True)
    canonical, seal = (torch.cat(part, dim=1) for part in zip(*places))
    return SeenPosed(canonical, seal, torch.cat(sdf, dim=1), gradient, regional.keypoints)


def terms(model: HeadModel, seen: Seen, batch: Batch) -> dict[str, Tensor]:
    """Every term of the loss; `warp` and `posed` come from the posed half."""
    x, distance, normal, _, bound = _columns(batch.canonical)
    _, posed_distance, _, target, posed_bound = _columns(batch.posed)
    distance = _held(model, distance, x, seen.keypoints)
    posed_goal = _held(model, posed_distance, seen.canonical, seen.posed_keypoints)
    count = seen.gradient.shape[1]
    crease = losses.crease_weight(target, seen.posed_keypoints[:, _CREASED], model.radius[_CREASED])
    return {
        "distance": losses.distance_term(losses.residual(seen.sdf, distance, seen.gradient), distance, bound)
        + losses.posed_distance_term(seen.posed_sdf, posed_goal, posed_bound, crease),
        "normal": losses.normal_term(seen.gradient, normal[:, :count], distance[:, :count]),
        "eikonal": losses.eikonal_term(seen.gradient),
        "warp": losses.warp_term(seen.canonical, target, posed_distance, crease),
        "seal": losses.seal_term(seen.seal),
        "keypoint": losses.keypoint_term(seen.keypoints, batch.keypoints),
        "symmetry": losses.symmetry_term(seen.z, model.mirror, model.region_parity),
        "code": losses.code_term(seen.z_id),
    }


def warp_terms(model: HeadModel, seen: SeenPosed, batch: Batch) -> dict[str, Tensor]:
    """The terms of the steps in which only the warp learns: place, distance and normal of posed samples."""
    _, distance, normal, target, bound = _columns(batch.posed)
    count, even = seen.gradient.shape[1], torch.ones_like(distance)
    return {
        "distance": losses.posed_distance_term(
            seen.sdf, _held(model, distance, seen.canonical, seen.keypoints), bound, even
        ),
        "normal": losses.normal_term(seen.gradient, normal[:, :count], distance[:, :count]),
        "warp": losses.warp_term(seen.canonical, target, distance, even),
        "seal": losses.seal_term(seen.seal),
    }


def _held(model: HeadModel, distance: Tensor, x: Tensor, keypoints: Tensor) -> Tensor:
    if model.config.blend == "paper":  # every region is heard everywhere
        return distance
    return losses.held_distance(distance, x.detach(), keypoints.detach(), model.radius)


def _codes(learner: Learner, batch: Batch) -> Tensor:
    z_id = learner.z_id[batch.heads]
    return torch.where(batch.flipped[:, None], z_id * learner.model.identity_parity, z_id)


def _with_gradient(x: Tensor, config: TrainConfig) -> int:
    return max(1, int(x.shape[1] * config.gradient_fraction))


def _columns(samples: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    # point, distance, normal, canonical target, bound
    return samples[..., :3], samples[..., 3], samples[..., 4:7], samples[..., 7:10], samples[..., 10] > 0.5
