"""Row `train`: one optimiser step of ours and of the peer, on the same points with the same loss."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imhead.benchmark.arithmetic import count_operations, time_floor
from imhead.benchmark.peer import PeerConfig, peer_decoder
from imhead.benchmark.settings import BenchConfig
from imhead.benchmark.timing import Task, interleaved, result_row
from imhead.checkpoint import Model
from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM, MODEL_UNIT_MM
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import extract_mesh
from imhead.model.head import HeadModel
from imhead.parallel import thread_count
from imhead.surfaces.sampling import sample_surface
from imhead.training.config import TrainConfig
from imhead.training.gradients import backward
from imhead.training.losses import distance_term, eikonal_term

Distance = Callable[[Tensor], Tensor]
"""Points (b, N, 3) → distances (b, N), model units."""
FieldOf = Callable[[slice], Distance]
"""Some heads of a batch → their field, where what is constant for a head is computed once."""

_MESH_RESOLUTION = 160
_NEAR_SHARES = ((0.5, 0.0), (0.17, 1.0), (0.17, 5.0), (0.08, 20.0))  # share, spread in mm; the rest lies far
_CODE_SPREAD = 0.8
_CHECKED = (2, 64)  # heads and points whose gradients are compared with those of the slow forward pass
_GRADIENT_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class TrainBatch:
    """Training points of both sides, model units."""

    x: Tensor
    """(B, N, 3), spread as in training: half on the surface, most of the rest near it."""
    distance: Tensor
    """(B, N) signed distances."""


class OptimiserStep:
    """A training step: distance and eikonal terms, backward pass, Adam.

    Args:
        field_of: the field that is trained.
        parameters: what is optimised.
        batch: training points.
        heads_at_once: heads in one graph, spread over threads; None for all.
    """

    def __init__(self, field_of: FieldOf, parameters: list[nn.Parameter], batch: TrainBatch, heads_at_once: int | None):
        self.field_of, self.batch, self.parameters = field_of, batch, parameters
        self.heads_at_once = heads_at_once or len(batch.x)
        self.optimizer = torch.optim.Adam(parameters, lr=1e-5, betas=(0.9, 0.99))

    def __call__(self) -> None:
        """Forward pass, backward pass, update."""
        self.optimizer.zero_grad(set_to_none=True)
        self.backward()
        self.optimizer.step()

    def backward(self) -> float:
        """The loss; its gradients are added to those of the parameters."""
        count, device = len(self.batch.x), self.batch.x.device
        total = 0.0
        for some in torch.arange(count).split(self.heads_at_once):
            parts = some.tensor_split(min(len(some), thread_count(device)))
            shares = [slice(int(part[0]), int(part[-1]) + 1) for part in parts]
            target, weight = self.batch.distance[some], len(some) / count

            def loss(predicted: Sequence[Tensor], target: Tensor = target, weight: float = weight) -> Tensor:
                sdf, gradient = predicted
                return step_loss(sdf, gradient, target) * weight

            total += float(backward(self.predict, shares, loss, self.parameters, device))
        return total

    def predict(self, heads: slice) -> Sequence[Tensor]:
        """Distances (b, N) of some heads at all points, and gradients (b, g, 3) at the first g of them."""
        x, field = self.batch.x[heads], self.field_of(heads)
        with_gradient = max(1, int(x.shape[1] * TrainConfig().gradient_fraction))
        probe = x[:, :with_gradient].clone().requires_grad_(True)
        probed = field(probe)
        (gradient,) = torch.autograd.grad(probed.sum(), probe, create_graph=True)
        return torch.cat([probed, field(x[:, with_gradient:])], dim=1), gradient


def step_loss(sdf: Tensor, gradient: Tensor, target: Tensor) -> Tensor:
    """The loss () of distances (b, N) with their targets (b, N), and of gradients (b, g, 3)."""
    weights, bound = TrainConfig().loss, torch.zeros_like(target, dtype=torch.bool)
    return weights.distance * distance_term(sdf, target, bound) + weights.eikonal * eikonal_term(gradient)


def train_rows(model: Model, config: BenchConfig, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """The row `train`: seconds per step and points per second."""
    batch = train_batch(model, config)
    ours, net = _our_step(model, batch, config.seed)
    theirs, peer = _peer_step(batch, config.seed)
    points = batch.distance.numel()
    progress(f"train: {config.runs} runs of a step of {points} points, ours and the peer's")
    timings = interleaved([Task("ours", ours), Task("peer", theirs)], config.runs, model.device)
    progress("train: counting")
    work = count_operations(ours.backward, net.fusion_net)
    row = result_row(
        "train",
        timings["ours"],
        timings["peer"],
        peer_description="decoder of NPHM's size, random weights; the same points, distance and eikonal terms, a code "
        f"of {PeerConfig().code_size} numbers for each head, Adam",
        evaluations=work.evaluations,
        equal_to_reference=gradient_error(model, batch, config.seed) < _GRADIENT_TOLERANCE,
        ours_points_per_second=points / timings["ours"].median,
        peer_points_per_second=points / timings["peer"].median,
        heads=len(batch.x),
        points=points,
        gradient_fraction=TrainConfig().gradient_fraction,
        peer_heads_at_once=theirs.heads_at_once,
        ours_parameters=sum(p.numel() for p in net.parameters()),
        peer_parameters=sum(p.numel() for p in peer.parameters()),
        floor=time_floor(work.flop, model.device, of="the matrix products of our forward and backward pass"),
    )
    return [row]


def train_batch(model: Model, config: BenchConfig) -> TrainBatch:
    """Points around the mean head with the model's signed distances, different points for each head of the batch."""
    field = HeadField(model, model.neutral())
    mesh = extract_mesh(field.sdf, min(_MESH_RESOLUTION, config.resolution))
    rng = np.random.default_rng([config.seed, 0x7B])
    total = config.batch_heads * config.batch_points
    shares, spreads = zip(*_NEAR_SHARES)
    kind = rng.choice(len(shares) + 1, size=total, p=[*shares, 1.0 - sum(shares)])
    points = sample_surface(mesh, total, seed=config.seed)[0]
    points = points + rng.normal(size=(total, 3)) * np.array([*spreads, 0.0])[kind, None] / np.sqrt(3.0)
    far = kind == len(shares)
    points[far] = rng.uniform(BOUNDS_MIN_MM, BOUNDS_MAX_MM, (int(far.sum()), 3))
    lengths = np.concatenate([points, field.sdf(points)[:, None]], axis=1) / MODEL_UNIT_MM
    columns = torch.from_numpy(lengths.astype(np.float32)).view(config.batch_heads, config.batch_points, 4)
    columns = columns.to(model.device)
    return TrainBatch(columns[..., :3].contiguous(), columns[..., 3].contiguous())


def gradient_error(model: Model, batch: TrainBatch, seed: int) -> float:
    """Relative difference between the gradients of our step and of the same step on the slow forward pass."""
    heads, points = _CHECKED
    small = TrainBatch(batch.x[:heads, :points], batch.distance[:heads, :points])
    gradients = []
    for slow in (False, True):
        step, net = _our_step(model, small, seed, slow)
        step.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    return float((gradients[0] - gradients[1]).norm() / gradients[1].norm())


def _our_step(model: Model, batch: TrainBatch, seed: int, slow: bool = False) -> tuple[OptimiserStep, HeadModel]:
    net = copy.deepcopy(model.net).train().requires_grad_(True)
    generator = torch.Generator().manual_seed(seed)
    codes = _CODE_SPREAD * torch.randn(len(batch.x), net.config.identity_size, generator=generator)
    z_id = nn.Parameter(codes.to(model.device))
    forward = net.canonical_sdf_reference if slow else net.canonical_sdf

    def field_of(heads: slice) -> Distance:
        regional = net.regional(z_id[heads])
        return lambda x: forward(x, regional)

    return OptimiserStep(field_of, [z_id, *net.parameters()], batch, None), net


def _peer_step(batch: TrainBatch, seed: int) -> tuple[OptimiserStep, nn.Module]:
    device = batch.x.device
    net = peer_decoder(seed, device)
    generator = torch.Generator().manual_seed(seed)
    codes = nn.Parameter(torch.randn(len(batch.x), net.config.code_size, generator=generator).to(device))
    # its graph of a whole batch takes many gigabytes, and a few heads at a time are no slower
    at_once = thread_count(device) if device.type == "cpu" else 4
    return OptimiserStep(lambda heads: lambda x: net(x, codes[heads]), [codes, *net.parameters()], batch, at_once), net
