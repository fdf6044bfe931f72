"""Curations on a local Ray cluster of two workers that die at random moments: the same result to the byte?

    python tools/curation_kills.py SCANS [--kills 20] [--seed 0] [--quick]

Curates SCANS in two processes, then on Ray, and says how long both took. Then it kills a worker or the driver again and
again; a dead driver is started anew. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imhead.curation.config import CurationConfig
from imhead.fitting.config import FitConfig

QUICK = CurationConfig(fit=FitConfig(points=1200, early_points=500, detail=False, resolution=64), turns=0)
"""Settings that are good enough to be killed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, help="of the driver that this program starts")
    parser.add_argument("--ray")
    asked = parser.parse_args()
    if asked.out is not None:
        drive(asked.scans, asked.out, asked.ray, asked.quick)
        return
    with tempfile.TemporaryDirectory(prefix="kills-") as folder, local_ray(2) as (address, ray):
        print(json.dumps(trial(asked.scans, Path(folder), address, ray, asked.kills, asked.seed, asked.quick)))


def drive(scans: Path, out: Path, address: str | None, quick: bool) -> None:
    """A curation by two processes, or by a cluster."""
    from imhead.api.cluster import cluster_at
    from imhead.api.curation import curate
    from imhead.checkpoint import load_model

    model, config = load_model(), QUICK if quick else CurationConfig()
    if address is None:
        curate(scans, out, model, jobs=2, config=config)
        return
    with cluster_at(address, (scans,), memory_bytes=2 << 30) as workers:
        curate(scans, out, model, workers=workers, config=config)


@contextmanager
def local_ray(cores: int) -> Iterator[tuple[str, int]]:
    """A Ray cluster on this machine's loopback: its address, and the process that started it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="ray-")  # short: sockets lie in it
    words = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}",
        "--node-ip-address=127.0.0.1", f"--num-cpus={cores}", "--include-dashboard=false", "--disable-usage-stats",
        f"--temp-dir={folder}", f"--object-store-memory={256 << 20}", f"--memory={8 << 30}",
    ]  # fmt: skip
    # Ray's memory monitor would end workers for what other programs of this machine use
    asked = {"RAY_memory_monitor_refresh_ms": "0", "RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    with Path(folder, "start.log").open("wb") as log:
        head = subprocess.Popen(words, env=os.environ | asked, stdout=log, stderr=log, start_new_session=True)
    address = f"127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 600.0
        while b"Ray runtime started" not in Path(folder, "start.log").read_bytes():
            if head.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(Path(folder, "start.log").read_text())
            time.sleep(0.2)
        yield address, head.pid
    finally:
        for process in [*_below(head.pid), head.pid]:
            _kill(process)
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)


def trial(scans: Path, folder: Path, address: str, ray: int, kills: int, seed: int, quick: bool) -> dict[str, object]:
    """Curate in processes, on the cluster, and on the cluster while processes of it are killed."""
    pool_s, pool_cpu = _timed(scans, folder / "pool", None, quick)
    ray_s, _ = _timed(scans, folder / "ray", address, quick)
    wanted = contents(folder / "pool")
    draw, killed = random.Random(seed), {"worker": 0, "driver": 0}
    runs, driver, out = 0, None, folder / "killed"
    differing = differences(contents(folder / "ray"), wanted)
    while sum(killed.values()) < kills or driver is not None or out.exists():  # the last one killed is begun again too
        if driver is None:
            driver = subprocess.Popen(_words(scans, out, address, quick), start_new_session=True)
        enough = sum(killed.values()) >= kills
        until = time.monotonic() + (3600.0 if enough else draw.uniform(0.1, 0.5) * ray_s)
        while driver.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        if driver.poll() is not None:  # done: compared, and begun again
            runs += 1
            differing += differences(contents(out), wanted)
            if driver.returncode:
                differing.append(f"run {runs} ended with code {driver.returncode}")
            shutil.rmtree(out)
            driver = None
        elif draw.random() < 0.5:
            driver.kill()
            driver.wait()
            driver = None
            killed["driver"] += 1
        else:
            workers = [pid for pid in _below(ray) if _name(pid).startswith("ray::imhead")]
            if workers:
                _kill(draw.choice(workers))
                killed["worker"] += 1
    return {
        "scans": sum(path.is_file() for path in scans.rglob("*")), "processes_s": round(pool_s, 1),
        "processes_cpu_s": round(pool_cpu, 1), "ray_s": round(ray_s, 1), "killed": killed, "runs": runs,
        "differing": differing,
    }  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a curation, without what is left of writes that were cut short."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".imhead-")
    }  # fmt: skip


def differences(found: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """Names of the files that are not the same in both."""
    return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))


def _words(scans: Path, out: Path, address: str | None, quick: bool) -> list[str]:
    words = [sys.executable, __file__, str(scans), "--out", str(out)]
    return words + (["--quick"] if quick else []) + (["--ray", address] if address else [])


def _timed(scans: Path, out: Path, address: str | None, quick: bool) -> tuple[float, float]:
    """Seconds on the clock, and of processor time of the driver and its processes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(_words(scans, out, address, quick), check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _below(process: int) -> list[int]:
    """The processes that a process started, and those that they started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):  # it has just ended
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, open_ones = [], [process]
    while open_ones:
        children = parents.get(open_ones.pop(), [])
        found += children
        open_ones += children
    return found


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    main()
