"""Work in processes that stay warm. A process that dies costs the item that it had, not the others."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from imhead.parallel import can_fork

try:
    import resource
except ImportError:  # not a Unix
    resource = None  # type: ignore[assignment]

WORKER_BYTES = 4 << 30
"""What a process of a curation or a cluster may allocate, unless it is said otherwise."""
_LOOK_S = 1.0  # between looks at processes whose death no pipe tells, because a process of theirs still holds it
_PATIENCE_S = 5.0  # for a process that was asked to end

Result = TypeVar("Result")


@dataclass(frozen=True)
class Lost:
    """What stands for the result of an item whose process died."""

    reason: str
    """What is known of its death."""

    def __str__(self) -> str:
        return self.reason


class Workers(Protocol):
    """What does `work(0) … work(count - 1)` elsewhere: (item, result) as they are done."""

    def __call__(self, work: Callable[[int], Result], count: int, /) -> Iterator[tuple[int, Result | Lost]]:
        """Do the work."""
        ...


@dataclass(frozen=True)
class Processes:
    """Processes of this machine, as `in_workers` starts them."""

    count: int
    """How many at once; 1 works in this process, with all its threads."""
    memory_bytes: int | None = None
    """What each may allocate; None for no limit."""

    def __call__(self, work: Callable[[int], Result], count: int, /) -> Iterator[tuple[int, Result | Lost]]:
        """Do the work."""
        if self.count == 1:
            return ((item, work(item)) for item in range(count))
        return in_workers(work, count, self.count, self.memory_bytes)


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    item: int


def in_workers(
    work: Callable[[int], Result], count: int, processes: int, memory_bytes: int | None = None
) -> Iterator[tuple[int, Result | Lost]]:
    """`work(0) … work(count - 1)` in processes of one thread each: (item, result) as they are done.

    Each process works on one item at a time. They end with the iterator, and when this process dies. A system that
    cannot fork starts them, and sends them the work; work that cannot be pickled is then done in this process.

    Args:
        work: any callable; its result must be picklable.
        processes: how many at once.
        memory_bytes: what each may allocate beyond what this one has; None for no limit.
    """
    if not can_fork() and not _can_be_sent(work):
        yield from ((item, work(item)) for item in range(count))
        return
    items = deque(range(count))
    workers: list[_Worker] = []
    try:
        while items or workers:
            while items and len(workers) < processes:
                others = [worker.pipe for worker in workers]
                workers.append(_started(work, items.popleft(), others, memory_bytes))
            ready = wait([worker.pipe for worker in workers], _LOOK_S)
            for worker in list(workers):
                if worker.pipe not in ready and worker.process.is_alive():
                    continue
                result, alive = _received(worker)
                yield worker.item, result
                if alive and items:
                    worker.item = items.popleft()
                    with suppress(OSError):  # if it just died, the next look finds it dead
                        worker.pipe.send(worker.item)
                else:
                    workers.remove(worker)
                    _end([worker])
    finally:
        _end(workers)


def _can_be_sent(work: Callable[[int], Any]) -> bool:
    try:
        pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError):  # a closure is refused by one of these
        return False
    return True


def _started(
    work: Callable[[int], Any], item: int, others: list[Connection], memory_bytes: int | None
) -> _Worker:  # fmt: skip
    ours, theirs = multiprocessing.Pipe()
    process: BaseProcess
    if can_fork():
        words = (work, theirs, [*others, ours], memory_bytes)
        process = multiprocessing.get_context("fork").Process(target=_serve, args=words)
    else:  # it inherits no pipes
        process = multiprocessing.get_context("spawn").Process(target=_serve, args=(work, theirs, [], memory_bytes))
    process.start()
    theirs.close()
    with suppress(OSError):  # it may have died at once
        ours.send(item)
    return _Worker(process, ours, item)


def _received(worker: _Worker) -> tuple[Any, bool]:
    """The result, and whether the process lives."""
    try:
        if worker.pipe.poll():
            return worker.pipe.recv(), True
    except (EOFError, OSError):
        pass
    worker.process.join(_PATIENCE_S)
    return Lost(_death(worker.process.exitcode or 0)), False


def _death(exit_code: int) -> str:
    if exit_code >= 0:
        return f"its process ended with code {exit_code}"
    with suppress(ValueError):
        return f"its process was ended by {signal.Signals(-exit_code).name}"
    return f"its process was ended by signal {-exit_code}"


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.pipe.close()
        worker.process.terminate()
    for worker in workers:
        worker.process.join(_PATIENCE_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def limit_memory(more_bytes: int) -> None:
    """From now on, an allocation of this process by which it would have so much more than now fails; Linux only."""
    status = Path("/proc/self/statm")
    if resource is None or not status.exists():
        return
    data = int(status.read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    top = math.inf if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_DATA, (int(min(data + more_bytes, top)), hard))


def _serve(
    work: Callable[[int], Any], pipe: Connection, inherited: list[Connection], memory_bytes: int | None
) -> None:  # fmt: skip
    for other in inherited:  # with a copy of their ends left open, no process would learn that the parent has died
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends this one
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # unwinds: no half-written file stays
    torch.set_num_threads(1)
    if memory_bytes is not None:
        limit_memory(memory_bytes)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is gone
        while True:
            item = pipe.recv()
            pipe.send(work(item))
