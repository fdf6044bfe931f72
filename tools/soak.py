"""Memory of many studio sessions over thousands of commands, without a browser.

python tools/soak.py [--commands 20000] [--sessions 10] [--each 250] [--report out/soak.json]

Sessions take random commands in turn: samples, shapes, copies, expressions, undo, redo, jumps, locks, and now and then
a project that is saved and opened again. A session ends after `--each` commands and another takes its place, as tabs
do. Prints the memory in use after every 100 commands: what grows with the steps of open sessions ends with them, and
what grows beyond that is a leak.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from imhead.checkpoint import load_model
from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.io.memory import return_large_blocks, trim_heap
from imhead.regions import REGIONS
from imhead.studio.state.commands.edits import CopyRegions, MoveAlong, ResetRegions, SampleRegions
from imhead.studio.state.commands.expression import SetExpression
from imhead.studio.state.commands.library import RandomHead
from imhead.studio.state.project import open_project, project_bytes
from imhead.studio.state.studio import Studio

_TOLD_EVERY = 100
_NAMES = tuple(region.name for region in REGIONS)


def resident_mb() -> float:
    """Memory of this process, MB."""
    gc.collect()
    trim_heap()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def step(studio: Studio, rng: random.Random, folder: Path) -> Studio:
    """One random command; the studio after it."""
    seed = rng.randrange(1 << 30)
    if not studio.settings.selection:
        studio.select(rng.choice(_NAMES))
    others = [named.name for named in studio.document.heads]
    actions: list[tuple[int, Callable[[], Any]]] = [
        (20, lambda: studio.do(SampleRegions(studio.scope, seed))),
        (20, lambda: studio.draft(MoveAlong(studio.scope, rng.randrange(3), rng.uniform(-2, 2)))),
        (6, lambda: studio.do(RandomHead(seed))),
        (6, lambda: studio.do(CopyRegions(studio.scope, rng.choice(others), rng.random()))),
        (6, lambda: studio.do(ResetRegions(studio.scope))),
        (8, lambda: studio.draft(SetExpression(((rng.choice(ARKIT_NAMES), rng.random()),)))),
        (12, studio.undo),
        (8, studio.redo),
        (4, lambda: studio.jump(rng.randrange(len(studio.history.steps)))),
        (8, lambda: studio.select(rng.choice(_NAMES))),
        (2, lambda: studio.set_locked((rng.choice(_NAMES),), rng.random() < 0.3)),
        (1, lambda: _reopened(studio, folder / f"{seed % 10}.imhead")),
    ]
    weights = [weight for weight, _ in actions]
    try:
        found = rng.choices([action for _, action in actions], weights)[0]()
    except InputError:  # out of reach, or everything locked: as a person would see it
        return studio
    return found if isinstance(found, Studio) else studio


def _reopened(studio: Studio, path: Path) -> Studio:
    write_atomically(path, project_bytes(studio))
    return open_project(path, studio.model)


def main() -> int:
    """Print one line for every 100 commands, and the growth over the second half."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, default=20_000)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--each", type=int, default=250, help="commands of a session before another takes its place")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, default=Path("out/soak.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    return_large_blocks()
    model, rng = load_model(), random.Random(options.seed)
    studios = [Studio(model) for _ in range(options.sessions)]
    ends = [options.each * (k + 1) // options.sessions for k in range(options.sessions)]  # not all at once
    taken = [0] * options.sessions
    rows: list[dict[str, float]] = []
    began = time.process_time()
    with tempfile.TemporaryDirectory(prefix="imhead-soak-") as folder:
        for number in range(1, options.commands + 1):
            k = rng.randrange(options.sessions)
            studios[k] = step(studios[k], rng, Path(folder))
            taken[k] += 1
            if taken[k] >= ends[k]:
                studios[k], taken[k], ends[k] = Studio(model), 0, options.each
            if number % _TOLD_EVERY == 0:
                steps = sum(len(studio.history.steps) for studio in studios)
                used = time.process_time() - began
                rows.append({"commands": number, "mb": round(resident_mb(), 1), "steps": steps, "cpu_s": round(used)})
                print(rows[-1], flush=True)
                write_atomically(options.report, (json.dumps(rows, indent=1) + "\n").encode())
    later = [row["mb"] for row in rows[len(rows) // 2 :]]
    if later:
        print(f"second half: {min(later):.1f} to {max(later):.1f} MB, from {later[0]:.1f} to {later[-1]:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
