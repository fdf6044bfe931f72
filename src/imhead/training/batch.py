"""The data of one step: its heads, each as it is or mirrored, and samples of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from imhead.conventions import ARKIT_NAMES
from imhead.parallel import thread_count
from imhead.training.config import TrainConfig
from imhead.training.population import Population
from imhead.training.team import ALONE, Team
from imhead.types import BoolArray

_CANONICAL_CREASE_SHARE, _WARP_CREASE_SHARE = 0.25, 0.5


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's data, model units. The first P of B heads, about half of them, also have posed samples."""

    heads: Tensor
    """(B,) rows of the code table."""
    flipped: Tensor
    """(B,) bool: the head is mirrored."""
    canonical: Tensor
    """(B, n, 11) columns as in Population."""
    posed: Tensor
    """(P, n, 11) samples of the first P heads in an expression, the same columns."""
    expressions: Tensor
    """(P, 52) ARKit weights of the posed samples."""
    keypoints: Tensor
    """(B, 39, 3) true keypoints."""

    @classmethod
    def joined(cls, shares: Sequence[Batch]) -> Batch:
        """The shares concatenated; the posed rows then no longer belong to the first heads."""
        return cls(*(torch.cat([getattr(share, field.name) for share in shares]) for field in fields(cls)))

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


def draw_batch(
    population: Population, config: TrainConfig, mirror: Tensor, swap: Tensor, step: int, team: Team = ALONE
) -> Batch:
    """A process's share of the batch of one step.

    A quarter of the canonical samples lie where lids and lips meet, a small but conspicuous part of the surface. In
    warp steps every head has posed samples, half of them there, and there are no canonical ones.

    Args:
        mirror: (39,) index of each region's mirror region.
        swap: `arkit_swap()`.
        team: the process's place among those that share the step.
    """
    rng = np.random.default_rng([config.seed, 0xBA, step])
    everyone = rng.permutation(len(population.canonical))[: config.batch_heads]
    mine = np.arange(team.rank, len(everyone), team.size)
    heads, of_warp = everyone[mine], step >= config.steps
    posed = heads if of_warp else heads[mine < len(everyone) // 2]
    # a head's samples do not depend on the process that draws them
    streams = [np.random.default_rng([config.seed, 0xBB, step, int(head)]) for head in heads]
    flipped = torch.tensor([bool(stream.random() < 0.5) for stream in streams])
    poses = population.posed.shape[1]
    expression = np.array(
        [_drawn_expression(stream, poses, config.neutral_fraction) for stream in streams], dtype=np.int64
    )
    canonical = [] if of_warp else [(population.canonical[k], population.canonical_creases[k]) for k in heads]
    in_expression = [(population.posed[k, e], population.posed_creases[k, e]) for k, e in zip(posed, expression)]
    weights = population.expressions[posed, expression[: len(posed)]]
    keypoints = population.keypoints[heads]
    turned = keypoints[:, mirror] * torch.tensor([-1.0, 1.0, 1.0])
    return Batch(
        heads=torch.from_numpy(heads),
        flipped=flipped,
        canonical=_drawn_samples(
            canonical, streams, flipped, config.batch_points, _CANONICAL_CREASE_SHARE, surface_first=True
        ),
        posed=_drawn_samples(
            in_expression, streams, flipped, config.batch_points, _WARP_CREASE_SHARE if of_warp else 0.0
        ),
        expressions=torch.where(flipped[: len(posed), None], weights[:, swap], weights),
        keypoints=torch.where(flipped[:, None, None], turned, keypoints),
    )


def draw_shares(
    population: Population,
    config: TrainConfig,
    mirror: Tensor,
    swap: Tensor,
    step: int,
    device: torch.device,
    team: Team = ALONE,
) -> list[Batch]:
    """`draw_batch`, in one share for each thread of the device; each share has at least one posed head."""
    posed_of_each = (config.batch_heads if step >= config.steps else config.batch_heads // 2) // team.size
    shares = team.divided(max(1, min(thread_count(device), posed_of_each)))
    return [draw_batch(population, config, mirror, swap, step, share).to(device) for share in shares]


def _drawn_expression(stream: np.random.Generator, poses: int, neutral_fraction: float) -> int:
    return 0 if poses == 1 or stream.random() < neutral_fraction else int(stream.integers(1, poses))


def _drawn_samples(
    rows: list[tuple[np.ndarray, BoolArray]],
    streams: list[np.random.Generator],
    flipped: Tensor,
    count: int,
    crease_share: float,
    surface_first: bool = False,
) -> Tensor:
    """(len(rows), count, 11) samples of each head, `crease_share` of them at creases, mirrored where `flipped`."""
    drawn = np.zeros((len(rows), count, 11), dtype=np.float32)
    for row, ((samples, creases), stream) in enumerate(zip(rows, streams)):
        chosen = stream.integers(len(samples), size=count)
        creased = np.flatnonzero(creases)
        few = int(crease_share * count) if len(creased) else 0
        if few:
            chosen[:few] = stream.choice(creased, size=few)
        own = samples[stream.permutation(chosen)]
        drawn[row] = own[np.argsort(own[:, 3] != 0.0, kind="stable")] if surface_first else own
    sign = torch.ones(len(rows), 1, 11)
    flip = flipped[: len(rows)]
    sign[flip, :, 0] = sign[flip, :, 4] = sign[flip, :, 7] = -1.0
    return torch.from_numpy(drawn) * sign


def arkit_swap() -> Tensor:
    """(52,) index that exchanges left and right ARKit weights."""

    def mirrored(name: str) -> str:
        if name.endswith("Left"):
            return name[:-4] + "Right"
        return name[:-5] + "Left" if name.endswith("Right") else name

    return torch.tensor([ARKIT_NAMES.index(mirrored(name)) for name in ARKIT_NAMES])
