"""Several processes on one training run: each takes a share of a step's heads, and their gradients are averaged.

The first process starts the others on its own machine, or torchrun starts all of them, on one machine or several.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from imhead.errors import InputError

_PREPARATION = timedelta(days=2)  # while process 0 draws the samples or writes the model, the others wait
_STEP = timedelta(minutes=30)
_SEEN_S = 60.0  # until a file that one machine wrote is seen by the others


@dataclass(frozen=True)
class Team:
    """A process's place among those that train together."""

    rank: int = 0
    """Its number; process 0 writes checkpoints."""
    size: int = 1
    """Number of processes."""
    group: Any = None
    """Those that average, of torch.distributed; None for all."""

    def divided(self, parts: int) -> list[Team]:
        """`parts` teams whose shares together are this one's share."""
        return [Team(self.rank + self.size * part, self.size * parts) for part in range(parts)]

    def average(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its mean over the processes; a missing gradient counts as zero."""
        if self.size == 1:
            return
        learning = [p for p in parameters if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learning])
        total = flat.cpu()  # the same on a CPU
        dist.all_reduce(total, group=self.group)
        flat = total.to(flat.device) / self.size
        for parameter, part in zip(learning, flat.split([p.numel() for p in learning])):
            parameter.grad = part.view_as(parameter)


ALONE = Team()


def join(rank: int, size: int, meeting: Path) -> Team:
    """Connect the processes; all name the same file `meeting`, which does not exist yet."""
    dist.init_process_group("gloo", init_method=meeting.resolve().as_uri(), rank=rank, world_size=size)
    return Team(rank, size)


def launched() -> bool:
    """Whether torchrun started this process, with others."""
    return dist.is_torchelastic_launched() and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def launched_team() -> Iterator[Team | None]:
    """The processes that torchrun started, on one machine or several, connected; None without torchrun.

    They end together: torchrun takes a machine whose process has ended as done, and ends the others' after minutes.
    """
    if not launched():
        yield None
        return
    dist.init_process_group("gloo", timeout=_PREPARATION)
    team = Team(dist.get_rank(), dist.get_world_size(), dist.new_group(timeout=_STEP, backend="gloo"))
    yield team
    dist.barrier()  # not after an error: the others learn of it when this process ends
    leave(team)


def launched_device(device: torch.device) -> torch.device:
    """A GPU of its own for each process that torchrun started on a machine; a CPU is shared.

    Raises:
        InputError: there are more processes than GPUs.
    """
    if device.type != "cuda":
        return device
    place, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if place >= count:
        raise InputError(
            f"this machine has {count} GPUs; start at most as many processes on it: --nproc-per-node {count}"
        )
    return torch.device("cuda", place)


def await_first(run: Path) -> None:
    """Wait until process 0 has prepared the folder of a run, which all machines share.

    Raises:
        InputError: it is not seen here.
    """
    dist.barrier()
    deadline = time.monotonic() + _SEEN_S
    while not (run / "latest.json").is_file():
        if time.monotonic() > deadline:
            raise InputError(f"{run}: holds no run here; name a folder on a disk that all machines share")
        time.sleep(0.5)


def leave(team: Team) -> None:
    """Disconnect the processes."""
    if team.size > 1:
        dist.destroy_process_group()
