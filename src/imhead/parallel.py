"""Work side by side: chunks of points on threads, and whole cases in forked processes.

Each thread works through whole chunks, and torch splits none of their operations. The networks are small: torch with
two threads is slower on a chunk than with one, and two chunks at once take half the time of one after the other
(docs/decisions/0022). A chunk's result does not depend on the thread that computed it.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

ROWS = 32
"""A value's rounding does not depend on how many are asked for, as long as products have whole multiples of so many."""
_MOST = 8192  # points of a chunk; more leave the processor's cache
_LEAST = 4096

Part = TypeVar("Part")
Result = TypeVar("Result")


def threads(device: torch.device) -> int:
    """Chunks that are worked on at once: on a CPU as many as torch is set to use threads, on a GPU one."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def chunks(rows: Tensor, least: int = _LEAST) -> tuple[Tensor, ...]:
    """Rows (N, …) in parts: multiples of `ROWS` but for the last, as many for one thread as for another.

    Args:
        least: rows of a part, while there are so many: of fewer the threads would spend more on taking turns than they
            save.
    """
    several = threads(rows.device)
    count = several * math.ceil(len(rows) / (several * _MOST))
    return rows.split(max(least, ROWS * math.ceil(len(rows) / (max(1, count) * ROWS))))


def side_by_side(function: Callable[[Part], Result], parts: Sequence[Part], device: torch.device) -> Iterator[Result]:
    """`function` of each part, in order: on as many threads as torch is set to use, on a GPU one after the other.

    Args:
        function: must not call `side_by_side` itself. A thread does not know whether its caller records gradients.
        parts: of about the same size, as `chunks` gives them.
    """
    several = threads(device)
    return map(function, parts) if several == 1 else _pool(several).map(function, parts)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    ready = threading.Barrier(threads + 1)

    def alone() -> None:
        torch.get_num_threads()  # a thread's first question sets it to the number of all; what is set after that stays
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads, "imhead", alone)
    for _ in range(threads):
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(threads)  # a thread's setting is also that of threads yet to come
    return pool


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads stay behind in a fork


def in_threads(work: Callable[[Part], Result], given: Iterable[Part], count: int) -> Iterator[Result]:
    """`work` on each thing given, in order, `count` at once. For libraries that release the interpreter's lock."""
    with ThreadPoolExecutor(count) as pool:
        yield from pool.map(work, given)


_forked: Callable[[int], Any] | None = None  # a fork inherits it; what is sent to a worker must be pickled


def _call_forked(index: int) -> Any:
    torch.set_num_threads(1)
    assert _forked is not None
    return _forked(index)


def in_processes(
    work: Callable[[int], Result], count: int, processes: int, *, ordered: bool = True, chunk: int = 1
) -> Iterator[Result]:
    """`work(0) … work(count - 1)` in forked processes, which share models and sources instead of receiving copies.

    Args:
        work: any callable, closures too; its result must be picklable.
        processes: how many; 1 or fewer runs everything in this process.
        ordered: results in order of their index, or as they are done.
        chunk: indices handed to a process at a time.
    """
    global _forked
    if processes <= 1:
        yield from map(work, range(count))
        return
    _forked = work
    try:
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            results = pool.imap if ordered else pool.imap_unordered
            yield from results(_call_forked, range(count), chunksize=chunk)
    finally:
        _forked = None
