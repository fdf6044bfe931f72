"""The same work on many cases, side by side."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import torch

Work = Callable[[int], dict[str, Any]]

_forked: Work | None = None


def _call_forked(index: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    assert _forked is not None
    return _forked(index)


def in_processes(work: Work, count: int, processes: int) -> Iterator[dict[str, Any]]:
    """`work(0) … work(count - 1)` in order; forked, so that the model and the source are shared, not sent."""
    global _forked
    if processes <= 1:
        yield from map(work, range(count))
        return
    _forked = work
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from pool.imap(_call_forked, range(count))
    _forked = None
