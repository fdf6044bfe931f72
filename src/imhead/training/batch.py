"""The data of one step: which heads, which of their samples, seen mirrored or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from imhead.conventions import ARKIT_NAMES
from imhead.parallel import threads
from imhead.training.config import TrainConfig
from imhead.training.population import Population
from imhead.training.team import ALONE, Team
from imhead.types import BoolArray

_CANONICAL_CREASE_SHARE, _WARP_CREASE_SHARE = 0.25, 0.5


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's data, model units. The first heads, about half, also have posed samples."""

    heads: Tensor
    """(B,) rows of the code table."""
    flipped: Tensor
    """(B,) bool: the head is seen mirrored."""
    canonical: Tensor
    """(B, n, 11) columns as in Population."""
    posed: Tensor
    """(P, n, 11) of the first P heads."""
    expressions: Tensor
    """(P, 52)."""
    keypoints: Tensor
    """(B, 39, 3)."""

    @classmethod
    def joined(cls, shares: Sequence[Batch]) -> Batch:
        """The batch of all shares, one after the other; posed rows no longer belong to the first heads."""
        return cls(*(torch.cat([getattr(share, field.name) for share in shares]) for field in fields(cls)))

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


def draw_batch(
    population: Population, config: TrainConfig, mirror: Tensor, swap: Tensor, step: int, team: Team = ALONE
) -> Batch:
    """A process's share of the batch of one step; `swap` (52,) exchanges left and right ARKit weights.

    A quarter of the canonical samples lie where lids and lips meet: little surface, much looked at. In the steps of the
    warp, every head has posed samples, half of them there, and canonical ones are left out.
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
    expression = np.array([_pose(stream, poses, config.neutral_fraction) for stream in streams], dtype=np.int64)
    canonical = [] if of_warp else [(population.canonical[k], population.canonical_creases[k]) for k in heads]
    seen = [(population.posed[k, e], population.posed_creases[k, e]) for k, e in zip(posed, expression)]
    weights = population.expressions[posed, expression[: len(posed)]]
    keypoints = population.keypoints[heads]
    turned = keypoints[:, mirror] * torch.tensor([-1.0, 1.0, 1.0])
    return Batch(
        heads=torch.from_numpy(heads),
        flipped=flipped,
        canonical=_taken(canonical, streams, flipped, config.batch_points, _CANONICAL_CREASE_SHARE, surface_first=True),
        posed=_taken(seen, streams, flipped, config.batch_points, _WARP_CREASE_SHARE if of_warp else 0.0),
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
    """`draw_batch`, in as many shares as the device takes at once; each has at least one posed head."""
    posed_of_each = (config.batch_heads if step >= config.steps else config.batch_heads // 2) // team.size
    shares = team.divided(max(1, min(threads(device), posed_of_each)))
    return [draw_batch(population, config, mirror, swap, step, share).to(device) for share in shares]


def _pose(stream: np.random.Generator, poses: int, neutral_fraction: float) -> int:
    return 0 if poses == 1 or stream.random() < neutral_fraction else int(stream.integers(1, poses))


def _taken(
    rows: list[tuple[np.ndarray, BoolArray]],
    streams: list[np.random.Generator],
    flipped: Tensor,
    count: int,
    creased_share: float,
    surface_first: bool = False,
) -> Tensor:
    """(len(rows), count, 11) samples of each head, a share of them at creases, mirrored where asked."""
    picked = np.zeros((len(rows), count, 11), dtype=np.float32)
    for row, ((samples, creases), stream) in enumerate(zip(rows, streams)):
        chosen = stream.integers(len(samples), size=count)
        creased = np.flatnonzero(creases)
        few = int(creased_share * count) if len(creased) else 0
        if few:
            chosen[:few] = stream.choice(creased, size=few)
        drawn = samples[stream.permutation(chosen)]
        picked[row] = drawn[np.argsort(drawn[:, 3] != 0.0, kind="stable")] if surface_first else drawn
    sign = torch.ones(len(rows), 1, 11)
    flip = flipped[: len(rows)]
    sign[flip, :, 0] = sign[flip, :, 4] = sign[flip, :, 7] = -1.0
    return torch.from_numpy(picked) * sign


def arkit_swap() -> Tensor:
    """(52,) index that exchanges left and right ARKit weights. A mirrored head looks left where it looked right."""

    def other(name: str) -> str:
        if name.endswith("Left"):
            return name[:-4] + "Right"
        return name[:-5] + "Left" if name.endswith("Right") else name

    return torch.tensor([ARKIT_NAMES.index(other(name)) for name in ARKIT_NAMES])
