"""Clocks: two sides take turns, so that a busy machine slows both, and medians of several runs are kept."""

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
    work: Callable[[], object]
    """What is timed."""
    warm_up: Callable[[], object] | None = None
    """What runs once before, untimed; None for the work itself."""


@dataclass(frozen=True)
class Timing:
    """Seconds of each run of one task."""

    seconds: tuple[float, ...]
    """By the clock on the wall."""
    cpu_seconds: tuple[float, ...]
    """Of all threads of the process together."""
    warm_up_seconds: float
    """Of the untimed run, by the clock on the wall."""

    @property
    def median(self) -> float:
        """Median by the clock on the wall."""
        return statistics.median(self.seconds)

    @property
    def median_cpu(self) -> float:
        """Median processor time."""
        return statistics.median(self.cpu_seconds)


def interleaved(tasks: Sequence[Task], runs: int, device: torch.device) -> dict[str, Timing]:
    """Time the tasks in turns, `runs` rounds of them, forwards and backwards by turns; by the tasks' names.

    No task runs twice in a row except at the ends of a round, and each has run once before it is timed.
    """
    warm = {task.name: _clocked(task.warm_up or task.work, device)[0] for task in tasks}
    clocks: dict[str, list[tuple[float, float]]] = {task.name: [] for task in tasks}
    for k in range(runs):
        for task in tasks if k % 2 == 0 else reversed(tasks):
            clocks[task.name].append(_clocked(task.work, device))
    return {
        name: Timing(tuple(wall for wall, _ in taken), tuple(cpu for _, cpu in taken), warm[name])
        for name, taken in clocks.items()
    }


def pooled(timings: Sequence[Timing]) -> Timing:
    """The runs of several tasks as one: its median is over tasks and runs."""
    return Timing(
        tuple(s for t in timings for s in t.seconds),
        tuple(s for t in timings for s in t.cpu_seconds),
        statistics.median(t.warm_up_seconds for t in timings),
    )


def medians(timings: Sequence[Timing]) -> Timing:
    """One run for each task, its median."""
    warm = statistics.median(t.warm_up_seconds for t in timings)
    return Timing(tuple(t.median for t in timings), tuple(t.median_cpu for t in timings), warm)


def result_row(
    name: str,
    ours: Timing,
    peer: Timing,
    *,
    peer_words: str,
    evaluations: int,
    equal_to_reference: bool | None,
    peer_scale: float = 1.0,
    **more: Any,
) -> dict[str, Any]:
    """A row of the result.

    Args:
        peer_words: what the peer is and what it did.
        evaluations: points at which our field was asked.
        equal_to_reference: whether what was timed gives what the slow, obvious way gives; None where not checked.
        peer_scale: how many times the peer's timed work makes up all of its work.
        more: what else the row says.
    """
    peer_seconds = peer.median * peer_scale
    return {
        "name": name,
        "ours_seconds": ours.median,
        "peer_seconds": peer_seconds,
        "peer": peer_words,
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
    """What the figures depend on besides the work."""
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    return {
        "threads": torch.get_num_threads(), "torch": torch.__version__, "device": device.type, "chip": chip, **machine,
    }  # fmt: skip


def _clocked(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    _settle(device)
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    _settle(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def _settle(device: torch.device) -> None:
    # kernels are only queued; the clock waits for them
    if device.type == "cuda":
        torch.cuda.synchronize(device)
