"""Parallel work: chunks of points on threads, whole cases in forked processes.

Each thread works through whole chunks, on which torch uses that one thread. The networks are small: two threads of
torch are slower on one chunk than one thread is, while two chunks at a time take half as long as one after the other
(docs/decisions/0022). A chunk's result does not depend on the thread that computed it.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

ROWS = 32
"""Matrix products are given multiples of this many rows: then a value's rounding does not depend on their number."""
_MOST_ROWS = 8192  # of a chunk; more do not fit into the processor's cache
_LEAST_ROWS = 4096

Part = TypeVar("Part")
Result = TypeVar("Result")


def thread_count(device: torch.device) -> int:
    """Number of chunks to work on at once: on a CPU torch's number of threads, on a GPU one."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def chunks(rows: Tensor, least: int = _LEAST_ROWS) -> tuple[Tensor, ...]:
    """Rows (N, …) split into chunks of equal size, a multiple of `ROWS`; the last may be shorter.

    Args:
        least: rows of a chunk, at least; for smaller ones switching threads costs more than it saves.
    """
    threads = thread_count(rows.device)
    count = threads * math.ceil(len(rows) / (threads * _MOST_ROWS))
    return rows.split(max(least, ROWS * math.ceil(len(rows) / (max(1, count) * ROWS))))


def side_by_side(function: Callable[[Part], Result], parts: Sequence[Part], device: torch.device) -> Iterator[Result]:
    """`function` of each part, in order: on `thread_count` threads, on a GPU one part after the other.

    Args:
        function: must not call `side_by_side`, and must set torch's gradient mode itself: threads do not inherit it.
        parts: of about the same size, as from `chunks`.
    """
    threads = thread_count(device)
    return map(function, parts) if threads == 1 else _pool(threads).map(function, parts)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    ready = threading.Barrier(threads + 1)

    def use_one_thread() -> None:
        torch.get_num_threads()  # a thread's first call resets its setting to the global one; a later setting stays
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads, "imhead", use_one_thread)
    for _ in range(threads):
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(threads)  # restore the global setting, which each thread's own setting has overwritten
    return pool


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a fork has none of its parent's threads


def can_fork() -> bool:
    """Whether processes may be forked from one that has threads: on Linux, unless the program chose otherwise.

    It chooses with `multiprocessing.set_start_method`.
    """
    return sys.platform == "linux" and multiprocessing.get_start_method(allow_none=True) in (None, "fork")


def in_threads(work: Callable[[Part], Result], items: Iterable[Part], count: int) -> Iterator[Result]:
    """`work` of each item, in order, on `count` threads. For libraries that release the interpreter's lock."""
    with ThreadPoolExecutor(count) as pool:
        yield from pool.map(work, items)


_forked: Callable[[int], Any] | None = None  # forks inherit it; an argument would have to be pickled


def _call_forked(index: int) -> Any:
    torch.set_num_threads(1)
    assert _forked is not None
    return _forked(index)


def in_processes(
    work: Callable[[int], Result], count: int, processes: int, *, ordered: bool = True, chunk: int = 1
) -> Iterator[Result]:
    """`work(0) … work(count - 1)` in forked processes, which share models and sources instead of receiving copies.

    Args:
        work: any callable, also a closure; its result must be picklable.
        processes: number of processes; 1 or fewer runs everything in this one, as does a system that cannot fork.
        ordered: yield results in order of their index; else as they finish.
        chunk: indices handed to a process at a time.
    """
    global _forked
    if processes <= 1 or not can_fork():
        yield from map(work, range(count))
        return
    _forked = work
    try:
        # Ctrl-C reaches every process; this one ends the others, which would each print a traceback
        ignoring = (signal.SIGINT, signal.SIG_IGN)
        with multiprocessing.get_context("fork").Pool(processes, signal.signal, ignoring) as pool:
            results = pool.imap if ordered else pool.imap_unordered
            yield from results(_call_forked, range(count), chunksize=chunk)
    finally:
        _forked = None
