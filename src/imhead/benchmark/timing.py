"""Timing: tasks take turns, so that a busy machine slows all of them alike, and medians of several runs are kept."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Task:
    """One side of a comparison."""

    name: str
    """Key of its timing."""
    work: Callable[[], object]
    """The timed call."""
    warm_up: Callable[[], object] | None = None
    """A call before, not timed; None for the work itself."""


@dataclass(frozen=True)
class Timing:
    """Seconds of each run of one task."""

    seconds: tuple[float, ...]
    """Wall time."""
    cpu_seconds: tuple[float, ...]
    """Processor time of all threads."""
    warm_up_seconds: float
    """Wall time of the warm-up."""

    @property
    def median(self) -> float:
        """Median wall time."""
        return statistics.median(self.seconds)

    @property
    def median_cpu(self) -> float:
        """Median processor time."""
        return statistics.median(self.cpu_seconds)


def interleaved(tasks: Sequence[Task], runs: int, device: torch.device) -> dict[str, Timing]:
    """Timings of tasks by their names, from `runs` rounds after one warm-up of each.

    The order of the tasks is reversed in every other round.
    """
    warm = {task.name: _seconds_of(task.warm_up or task.work, device)[0] for task in tasks}
    clocks: dict[str, list[tuple[float, float]]] = {task.name: [] for task in tasks}
    for k in range(runs):
        for task in tasks if k % 2 == 0 else reversed(tasks):
            clocks[task.name].append(_seconds_of(task.work, device))
    return {
        name: Timing(tuple(wall for wall, _ in pairs), tuple(cpu for _, cpu in pairs), warm[name])
        for name, pairs in clocks.items()
    }


def pooled(timings: Sequence[Timing]) -> Timing:
    """The runs of several tasks as those of one, whose median is over tasks and runs."""
    return Timing(
        tuple(s for t in timings for s in t.seconds),
        tuple(s for t in timings for s in t.cpu_seconds),
        statistics.median(t.warm_up_seconds for t in timings),
    )


def medians(timings: Sequence[Timing]) -> Timing:
    """One timing with one run for each task, its median."""
    warm = statistics.median(t.warm_up_seconds for t in timings)
    return Timing(tuple(t.median for t in timings), tuple(t.median_cpu for t in timings), warm)


def result_row(
    name: str,
    ours: Timing,
    peer: Timing,
    *,
    peer_description: str,
    evaluations: int,
    equal_to_reference: bool | None,
    peer_scale: float = 1.0,
    **more: Any,
) -> dict[str, Any]:
    """A row of results.

    Args:
        name: name of the row.
        ours: time of our side.
        peer: time of the peer.
        peer_description: what the peer is and does.
        evaluations: points at which our field is evaluated.
        equal_to_reference: whether the timed result equals that of a slow reference; None if not checked.
        peer_scale: all of the peer's work as a multiple of what was timed.
        more: further entries of the row.
    """
    peer_seconds = peer.median * peer_scale
    return {
        "name": name,
        "ours_seconds": ours.median,
        "peer_seconds": peer_seconds,
        "peer": peer_description,
        "ratio": peer_seconds / ours.median,
        "evaluations": evaluations,
        "equal_to_reference": equal_to_reference,
        "ours_cpu_seconds": ours.median_cpu,
        "peer_cpu_seconds": peer.median_cpu * peer_scale,
        "ours_seconds_all": list(ours.seconds),
        "peer_seconds_all": [s * peer_scale for s in peer.seconds],
        "warm_up_seconds": ours.warm_up_seconds,
        **more,
    }


def conditions(device: torch.device) -> dict[str, Any]:
    """The machine and the settings that timings depend on."""
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None}
    return {
        "threads": torch.get_num_threads(), "torch": torch.__version__, "device": device.type, "chip": chip, **machine,
    }  # fmt: skip


def _seconds_of(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    _synchronize(device)
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    _synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def _synchronize(device: torch.device) -> None:
    # kernels run asynchronously
    if device.type == "cuda":
        torch.cuda.synchronize(device)
