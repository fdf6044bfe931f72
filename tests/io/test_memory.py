"""Freed memory returns to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from imhead.io import memory

SCRIPT = """
import gc, os, runpy, sys
import numpy as np
from pathlib import Path

def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6

if sys.argv[1] == "returned":
    runpy.run_path(sys.argv[2])["return_large_blocks"]()
np.ones(30_000_000, dtype=np.uint8)  # from now on glibc keeps blocks of this size
before = megabytes()
large, small = [], []
for _ in range(400):
    large.append(np.ones(300_000, dtype=np.uint8))
    small.append(np.ones(2_000, dtype=np.uint8))
large.clear()
gc.collect()
print(megabytes() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps large blocks")
def test_freed_large_arrays_are_not_kept_between_small_ones() -> None:
    left = {}
    for how in ("returned", "default"):
        command = [sys.executable, "-c", SCRIPT, how, memory.__file__]
        left[how] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert left["default"] > 60.0
    assert left["returned"] < 10.0
