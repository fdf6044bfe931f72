"""The same work on a Ray cluster: one item for a core, tried again when its process or its machine dies.

Results lie in files that every machine sees, so the driver holds no more than who does what, and may die too.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch

from imhead.api.workers import WORKER_BYTES, Lost, Processes, Workers, limit_memory
from imhead.errors import InputError, one_line
from imhead.version import __version__

_TRIES = 10  # of an item after its process died; a scan that kills each of them is given up then
_ITEMS = 200  # of a process, before a fresh one takes its place
_WAITING = 2  # items for each core that wait at their machine
_LOOK_S = 5.0  # between looks at how many cores there are
_ANSWER_S = 10.0  # for a cluster to answer

Result = TypeVar("Result")


@contextmanager
def workers_at(
    ray: str | None, jobs: int, out: Path, shared: Sequence[Path | None], memory_bytes: int | None
) -> Iterator[Workers]:
    """This process, others of this machine, or a cluster.

    Args:
        ray: address of a Ray cluster, or None.
        jobs: processes on this machine; 1 works in this one.
        out: folder for the results; made for a cluster, whose machines look for it.
        shared: what else all machines of a cluster must see.
        memory_bytes: what each process may allocate; None for no limit on this machine.

    Raises:
        InputError: both are asked for, or the cluster cannot be used.
    """
    if ray is None:
        yield Processes(jobs, memory_bytes)
        return
    if jobs > 1:
        raise InputError("a cluster works on all of its cores; leave the number of jobs out")
    out.mkdir(parents=True, exist_ok=True)
    seen = [out, *(path for path in shared if path is not None)]
    with cluster_at(ray, seen, memory_bytes or WORKER_BYTES) as workers:
        yield workers


@dataclass(frozen=True, eq=False)
class Cluster:
    """The workers of a Ray cluster. Its machines have imhead installed, and see files under the same paths."""

    ray: Any
    """The package, connected."""
    shared: tuple[Path, ...]
    """Files and folders that a machine must see to take part."""
    memory_bytes: int
    """What one item may allocate. A machine works on as many items as it has cores, and memory for."""

    def __call__(self, work: Callable[[int], Result], count: int, /) -> Iterator[tuple[int, Result | Lost]]:
        """`work(0) … work(count - 1)`: (item, result) as they are done.

        Args:
            work: must be picklable, and its results.

        Raises:
            InputError: a machine of the cluster cannot do the work.
        """
        return _done(self, work, count)


@contextmanager
def cluster_at(address: str, shared: Sequence[Path] = (), memory_bytes: int = WORKER_BYTES) -> Iterator[Cluster]:
    """Connect to a running Ray cluster.

    Args:
        address: `HOST:PORT`, or `auto` for the cluster of which this machine is a part.
        shared: files and folders that a machine must see to take part.
        memory_bytes: what one item may allocate.

    Raises:
        InputError: Ray is not installed, no cluster answers, or no machine of it has room for an item.
    """
    ray, own = _connected(address)
    try:
        _check_room(ray, address, memory_bytes)
        yield Cluster(ray, tuple(shared), memory_bytes)
    finally:
        if own:
            ray.shutdown()


def _done(cluster: Cluster, work: Callable[[int], Result], count: int) -> Iterator[tuple[int, Result | Lost]]:
    ray = cluster.ray
    sent = [ray.put(work)]  # in a list: each process opens it once, not for each item
    place = (os.getcwd(), tuple(str(path.absolute()) for path in cluster.shared), __version__)
    task = ray.remote(num_cpus=1, memory=cluster.memory_bytes, max_retries=_TRIES, max_calls=_ITEMS, name="imhead")(_do)
    items, running = deque(range(count)), dict[Any, int]()
    room, looked = 0, -math.inf
    try:
        while items or running:
            if time.monotonic() > looked + _LOOK_S:  # machines come and go
                room = max(1, _WAITING * int(ray.cluster_resources().get("CPU", 0)))
                looked = time.monotonic()
            while items and len(running) < room:
                item = items.popleft()
                running[task.remote(sent, place, cluster.memory_bytes, item)] = item
            done, _ = ray.wait(list(running), timeout=_LOOK_S)
            for reference in done:
                yield running.pop(reference), _result(ray, reference)
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _result(ray: Any, reference: Any) -> Any:
    try:
        result = ray.get(reference)
    except ray.exceptions.RayTaskError as error:  # the work itself raises nothing: the machine cannot do it
        raise InputError(f"a machine of the cluster cannot do the work: {error.cause or error}") from error
    except ray.exceptions.RayError as error:
        first = str(error).strip().partition("\n")[0]
        return Lost(one_line(f"its process died {_TRIES + 1} times on the cluster ({first})", 300))
    if isinstance(result, _Unfit):
        raise InputError(result.reason)
    return result


@dataclass(frozen=True)
class _Unfit:
    """Why a machine cannot take part."""

    reason: str


_opened: dict[str, Callable[[int], Any]] = {}  # in a process of the cluster: the work of its driver


def _do(sent: list[Any], place: tuple[str, tuple[str, ...], str], memory_bytes: int, item: int) -> Any:
    """In a process of the cluster: one item."""
    reference = sent[0]
    if reference.hex() not in _opened:
        folder, shared, version = place
        here = f"the machine {socket.gethostname()} of the cluster"
        if version != __version__:
            return _Unfit(f"{here} has imhead {__version__}, and this one {version}; install the same")
        unseen = [path for path in (folder, *shared) if not os.path.exists(path)]
        if unseen:
            return _Unfit(f"{here} does not see {unseen[0]}; put scans and results on a disk that all machines share")
        os.chdir(folder)  # paths are as they were given
        torch.set_num_threads(1)
        limit_memory(memory_bytes)
        _opened.clear()
        _opened[reference.hex()] = import_module("ray").get(reference)
    return _opened[reference.hex()](item)


def _check_room(ray: Any, address: str, memory_bytes: int) -> None:
    machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
    if not any(k.get("CPU", 0) >= 1 and k.get("memory", 0) >= memory_bytes for k in machines):
        most = max((k.get("memory", 0) for k in machines), default=0)
        raise InputError(
            f"{address}: no machine of this cluster has a core and {memory_bytes / 2**30:.1f} GiB; the largest offers "
            f"{most / 2**30:.1f} GiB, so ask for less"
        )


def _connected(address: str) -> tuple[Any, bool]:
    """Ray, and whether this call connected it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anyone
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of what it will do one day
    try:
        ray = import_module("ray")
    except ImportError as error:
        raise InputError("a cluster needs Ray; run: pip install 'imhead[cluster]'") from error
    if ray.is_initialized():
        return ray, False
    advice = "start one with `ray start --head`, or check the address"
    host, _, port = address.rpartition(":")
    if port.isdigit() and host and "/" not in host:  # Ray itself would wait for minutes
        try:
            socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
        except (OSError, OverflowError) as error:
            raise InputError(f"{address}: no Ray cluster answers there ({error}); {advice}") from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", namespace="imhead")
    except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
        reason = str(error).strip() or type(error).__name__
        raise InputError(f"{address}: cannot be used as a Ray cluster ({reason}); {advice}") from error
    return ray, True
