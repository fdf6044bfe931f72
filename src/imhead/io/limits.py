"""Limits of the process that reads a stranger's file: memory and time in proportion to the file."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from imhead.io.memory import return_large_blocks

try:
    import resource
except ImportError:  # not a Unix
    resource = None  # type: ignore[assignment]

FILES_BESIDE = (".gltf",)
"""Extensions of scans whose numbers may lie in other files of their folder."""

_TIMES, _FREE_BYTES = 20, 1 << 30
_SECONDS_PER_BYTE, _FREE_SECONDS = 5e-7, 10.0
_WALL = 6.0
"""Seconds on the clock for each second of processor time, on a machine that does other things as well."""
_MOST_ENTRIES = 10_000
_STATUS = Path("/proc/self/statm")

NO_MEMORY_LIMIT = "It was read without a limit of memory, which this system does not have."
"""Warning of a scan that a process without such a limit read."""


@dataclass(frozen=True)
class Limits:
    """What a process that reads one file may use, beyond what it has used when it begins."""

    memory_bytes: int
    """Address space."""
    cpu_s: int
    """Processor time, seconds."""
    wall_s: float
    """Time on the clock, seconds."""


def limits_for(size: int) -> Limits:
    """Limits in proportion to a file of `size` bytes: 20 times its size and 1 GiB, and 0.5 s for each MB and 10 s."""
    seconds = math.ceil(_FREE_SECONDS + _SECONDS_PER_BYTE * size)
    return Limits(_FREE_BYTES + _TIMES * size, seconds, _WALL * seconds)


def size_with_files_beside(path: Path) -> int:
    """Bytes of a file, and of its folder where it may refer to files beside it; 0 where they cannot be told."""
    try:
        if path.suffix.lower() not in FILES_BESIDE:
            return path.stat().st_size
        with os.scandir(path.parent) as entries:
            some = (entry for _, entry in zip(range(_MOST_ENTRIES), entries))
            return sum(entry.stat().st_size for entry in some if entry.is_file())
    except (OSError, ValueError):
        return 0  # the reader says what is wrong


def can_limit() -> bool:
    """Whether this system has processes that can be forked and limited."""
    return sys.platform == "linux" and resource is not None and hasattr(os, "fork") and _STATUS.exists()


def limit_this_process(limits: Limits) -> None:
    """From now on, an allocation beyond the limit fails, and processor time beyond it ends this process.

    Memory is limited on Linux only, and without `resource`, as on Windows, nothing is.
    """
    if resource is None:
        return
    used_s = math.ceil(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    # at the soft limit of processor time the system says why it ends the process, at the hard one it only kills
    wanted = [(resource.RLIMIT_CPU, used_s + limits.cpu_s, 1), (resource.RLIMIT_CORE, 0, 0)]
    if _STATUS.exists():
        in_use = int(_STATUS.read_text().split()[0]) * resource.getpagesize()
        wanted.append((resource.RLIMIT_AS, in_use + limits.memory_bytes, 0))
        return_large_blocks()
    for what, limit, more in wanted:
        hard = resource.getrlimit(what)[1]
        soft, top = (n if hard == resource.RLIM_INFINITY else min(n, hard) for n in (limit, limit + more))
        resource.setrlimit(what, (soft, top))
