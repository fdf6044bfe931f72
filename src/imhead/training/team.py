"""Several processes on one training run: each takes a share of a step's heads, and their gradients are averaged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Team:
    """A process's place among those that train together."""

    rank: int = 0
    """Its number; process 0 writes checkpoints."""
    size: int = 1
    """Number of processes."""

    def divided(self, parts: int) -> list[Team]:
        """`parts` teams whose shares together are this one's share."""
        return [Team(self.rank + self.size * part, self.size * parts) for part in range(parts)]

    def average(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its mean over the processes; a missing gradient counts as zero."""
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
    """Connect the processes; all name the same file `meeting`, which does not exist yet."""
    dist.init_process_group("gloo", init_method=meeting.resolve().as_uri(), rank=rank, world_size=size)
    return Team(rank, size)


def leave(team: Team) -> None:
    """Disconnect the processes."""
    if team.size > 1:
        dist.destroy_process_group()
