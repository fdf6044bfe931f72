"""imhead on a system without fork, `resource`, `fcntl` and Embree, such as Windows, as far as Linux can play one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import imhead
from imhead.io.limits import NO_MEMORY_LIMIT

DEMO_SCAN = Path(imhead.__file__).parent / "assets" / "demo_scan.ply"

# started processes run it again, as the main module of each
ELSEWHERE = """
import builtins, os, sys
import torch  # it uses what Linux has
for name in ("fork", "forkpty", "register_at_fork", "readv", "sysconf", "getloadavg", "sched_getaffinity", "geteuid"):
    if hasattr(os, name):
        delattr(os, name)
plain = builtins.__import__
def importing(name, globals=None, locals=None, fromlist=(), level=0):
    ours = (globals or {}).get("__name__", "").startswith("imhead")
    if ours and name.partition(".")[0] in ("embreex", "resource", "fcntl", "pwd", "grp", "termios"):
        raise ImportError(f"no module named {name}")
    return plain(name, globals, locals, fromlist, level)
builtins.__import__ = importing
import multiprocessing
"""
STEPS = """
def square(k):
    return k * k, os.getpid()

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    import importlib, json, pkgutil
    from pathlib import Path
    import numpy as np, trimesh
    import imhead
    from imhead.api.workers import in_workers
    from imhead.io.limited import read_scan_limited
    from imhead.parallel import in_processes
    from imhead.rendering.shading import shade
    from imhead.surfaces.ray_tree import caster_name
    from imhead.types import Mesh
    has_websockets = importlib.util.find_spec("websockets") is not None
    for module in pkgutil.walk_packages(imhead.__path__, "imhead."):
        if not module.name.endswith("__main__") and (has_websockets or not module.name.startswith("imhead.studio")):
            importlib.import_module(module.name)
    ball = trimesh.creation.icosphere(3, radius=60.0)
    picture = np.asarray(shade(Mesh(ball.vertices, ball.faces), "front", 64))
    worked = dict(in_workers(square, 3, 1))
    offset = 7
    print(json.dumps({
        "warnings": read_scan_limited(Path(sys.argv[1])).warnings,
        "caster": caster_name(),
        "shades": len(np.unique(picture)),
        "squares": [worked[k][0] for k in range(3)],
        "elsewhere": os.getpid() not in {worked[k][1] for k in range(3)},
        "closure": dict(in_workers(lambda k: k + offset, 2, 2))[1],
        "mapped": list(in_processes(lambda k: k + offset, 3, 2)),
    }))
"""
CLI = """
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    from imhead.cli import main
    main()
"""


def run(folder: Path, script: str, *words: object) -> subprocess.CompletedProcess[str]:
    path = folder / "elsewhere.py"
    path.write_text(ELSEWHERE + script)
    command = [sys.executable, str(path), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_every_module_is_imported_and_scans_pictures_and_processes_work(tmp_path: Path) -> None:
    done = run(tmp_path, STEPS, DEMO_SCAN)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("warnings")[-1] == NO_MEMORY_LIMIT
    assert found.pop("shades") > 20
    assert found == {"caster": "libigl", "squares": [0, 1, 4], "elsewhere": True, "closure": 8, "mapped": [7, 8, 9]}


@pytest.mark.slow
def test_two_scans_are_fitted_by_two_started_processes(tmp_path: Path) -> None:
    scans = [tmp_path / f"{name}.ply" for name in ("one", "two")]
    for scan in scans:
        shutil.copy(DEMO_SCAN, scan)
    out = tmp_path / "heads"
    done = run(tmp_path, CLI, "fit", *scans, "--out", out, "--jobs", 2, "--no-detail", "--resolution", 96, "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["status"] for row in rows} == {"done"} and len(rows) == 2
    heads = [(out / name / "head.ply").read_bytes() for name in ("one", "two")]
    assert len(heads[0]) == len(heads[1])  # names differ in the comments, not in length
