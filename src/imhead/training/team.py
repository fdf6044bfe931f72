"""Several processes on one training run: each takes its share of the heads of a step, and gradients are averaged.

torch.distributed does what Fabric would be fetched for, and is there wherever torch is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Team:
    """A process among those that train together."""

    rank: int = 0
    """Which one this is; 0 writes checkpoints."""
    size: int = 1
    """How many there are."""

    def divided(self, parts: int) -> list[Team]:
        """This member in so many parts: teams whose shares make up this one's."""
        return [Team(self.rank + self.size * part, self.size * parts) for part in range(parts)]

    def average(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its mean over the team; a gradient that one process lacks counts as zero there."""
        if self.size == 1:
            return
        learning = [p for p in parameters if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learning])
        dist.all_reduce(flat)
        flat /= self.size
        for parameter, part in zip(learning, flat.split([p.numel() for p in learning])):
            parameter.grad = part.view_as(parameter)


ALONE = Team()


def join(rank: int, size: int, meeting: Path) -> Team:
    """Meet the other processes; `meeting` is a file that does not exist yet, the same for all."""
    dist.init_process_group("gloo", init_method=meeting.resolve().as_uri(), rank=rank, world_size=size)
    return Team(rank, size)


def leave(team: Team) -> None:
    """Part again."""
    if team.size > 1:
        dist.destroy_process_group()
