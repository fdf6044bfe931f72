"""Work in processes that stay: everything is done once, in few processes, and a death costs one item."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from imhead.api.workers import Lost, in_workers


def test_every_item_is_done_once_by_a_few_processes_that_stay() -> None:
    results = dict(in_workers(lambda k: (k * k, os.getpid()), 20, 2))
    assert {k: square for k, (square, _) in results.items()} == {k: k * k for k in range(20)}
    used = {process for _, process in results.values()}
    assert len(used) <= 2 and os.getpid() not in used
    assert multiprocessing.active_children() == []


def test_no_items_start_no_process() -> None:
    assert list(in_workers(lambda k: k, 0, 4)) == []


@pytest.mark.parametrize("death", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: os._exit(3)])
def test_a_process_that_dies_costs_the_item_that_it_had(death: Callable[[], None]) -> None:
    def work(k: int) -> int:
        if k == 2:
            death()
        return k

    results = dict(in_workers(work, 6, 2))
    lost = results.pop(2)
    assert isinstance(lost, Lost) and ("SIGKILL" in str(lost) or "code 3" in str(lost))
    assert results == {k: k for k in (0, 1, 3, 4, 5)}


def test_a_death_is_noticed_while_a_grandchild_holds_the_pipe() -> None:
    def work(k: int) -> int:
        if k == 0 and os.fork() == 0:
            time.sleep(20)
            os._exit(0)
        if k == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return k

    began = time.monotonic()
    results = dict(in_workers(work, 3, 1))
    assert isinstance(results[0], Lost) and (results[1], results[2]) == (1, 2)
    assert time.monotonic() - began < 19.0


def test_a_process_takes_no_more_memory_than_it_may() -> None:
    def work(k: int) -> str:
        try:
            return f"{len(bytearray(k << 20))} bytes"
        except MemoryError:
            return "too much"

    assert dict(in_workers(lambda k: work(400 * k), 2, 2, 256 << 20)) == {0: "0 bytes", 1: "too much"}


def test_whoever_stops_listening_ends_the_processes() -> None:
    results = in_workers(lambda k: time.sleep(0.01 if k == 0 else 60), 4, 2)
    next(results)
    began = time.monotonic()
    results.close()
    assert multiprocessing.active_children() == [] and time.monotonic() - began < 30.0


def test_ctrl_c_is_left_to_the_parent() -> None:
    def work(k: int) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return k

    assert dict(in_workers(work, 2, 2)) == {0: 0, 1: 1}


def test_processes_end_when_their_parent_is_killed() -> None:
    code = """
import os, time
from imhead.api.workers import in_workers
def work(k):
    print(os.getpid(), flush=True)
    time.sleep(1.0)
list(in_workers(work, 1000, 2))
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = {int(parent.stdout.readline()) for _ in range(2)}
    parent.kill()
    parent.wait()
    for _ in range(600):
        if not any(os.path.exists(f"/proc/{child}") for child in children):
            return
        time.sleep(0.1)
    pytest.fail("a process outlived its parent")
