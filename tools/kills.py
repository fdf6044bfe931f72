"""Kill commands at random moments, and run them again: no file may be half, and results must be equal to the byte.

Ten kills of every command, on a head and a data set that are made first:

    python tools/kills.py --ict path/to/ICT-FaceKit --kills 10

Some commands, and a scan of your own:

    python tools/kills.py --only edit --only mesh --scan my_scan.ply --kills 50
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from imhead.io.atomic import write_atomically

_TEMPORARY = ".imhead-"
"""Begins the names of files that are still being written."""
_SECONDS = re.compile(rb'"seconds": [0-9.e-]+')
_RESOLUTION = "96"


@dataclass(frozen=True)
class Case:
    """A command, and how it goes on after a kill."""

    words: Callable[[Path], list[str]]
    """Folder of its results → the words of the command."""
    again: tuple[str, ...] = ()
    """Words to add when it goes on."""
    before: Callable[[Path], None] = lambda out: None
    """What must lie in the folder before."""


def run(words: list[str], kill_after: float | None = None) -> tuple[int, float]:
    """Run `imhead` in a fork of this process, which has its modules loaded, and kill it; its exit code and seconds."""
    start = time.monotonic()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setsid()
            silence = os.open(os.devnull, os.O_RDWR)
            log = os.open(os.environ["IMHEAD_KILLS_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for stream, target in ((0, silence), (1, silence), (2, log)):
                os.dup2(target, stream)
            code = _save_project(Path(words[1])) if words[0] == "studio-save" else _command(words)
        finally:
            os._exit(code)
    if kill_after is not None:
        while time.monotonic() - start < kill_after and not _ended(child):
            time.sleep(0.002)
        try:
            os.killpg(child, signal.SIGKILL)  # its own processes with it
        except ProcessLookupError:  # before it had a group
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), time.monotonic() - start


def _ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _command(words: list[str]) -> int:
    from imhead.cli.ending import exit_code

    return exit_code([*words, "--debug"])


def _save_project(path: Path) -> int:
    """Save a session of the studio again and again, each time one step longer."""
    from imhead.checkpoint import load_model
    from imhead.studio.state.commands.library import RandomHead
    from imhead.studio.state.project import project_bytes
    from imhead.studio.state.studio import Studio

    studio = Studio(load_model())
    for seed in range(8):
        studio.do(RandomHead(seed))
        write_atomically(path, project_bytes(studio))
    return 0


def contents(folder: Path) -> dict[str, bytes]:
    """Final name → bytes of every file; how long a fit took is left out of its report."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(_TEMPORARY):
            data = path.read_bytes()
            found[str(path.relative_to(folder))] = _SECONDS.sub(b"", data) if path.suffix == ".json" else data
    return found


def fault_of(path: Path) -> str:
    """Why a file is no whole one of its kind; empty if it is."""
    from safetensors import safe_open

    try:
        if path.suffix in (".safetensors", ".imhead"):
            with safe_open(str(path), "np") as opened:
                for name in opened.keys():  # noqa: SIM118 it is no mapping
                    opened.get_tensor(name)
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".png":
            from PIL import Image

            with Image.open(path) as picture:
                picture.load()
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                for name in arrays.files:
                    arrays[name].shape  # noqa: B018 reads it
        elif path.suffix in (".ply", ".glb", ".stl", ".obj"):
            from imhead.io.scan_file import read_scan

            read_scan(path)
        elif path.suffix == ".html" and b"</html>" not in path.read_bytes()[-200:]:
            return "no end"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def killed(name: str, case: Case, count: int, rng: random.Random, work: Path) -> dict[str, Any]:
    """Kill a command `count` times at random moments, and let it go on each time; counts and faults."""
    whole = work / f"{name}-whole"
    case.before(whole)
    code, seconds = run(case.words(whole))
    if code:
        raise SystemExit(f"kills.py: {name} ended with {code} before anything was killed; see {work}")
    expected = contents(whole)
    faults: list[str] = []
    row = {"kills": 0, "too_late": 0, "half_files": 0, "unequal": 0, "seconds": round(seconds, 1), "faults": faults}
    for k in range(count):
        out = work / f"{name}-{k}"
        case.before(out)
        moment = rng.uniform(0.0, 1.05 * seconds)
        code, _ = run(case.words(out), moment)
        row["kills" if code == -signal.SIGKILL else "too_late"] += 1
        for path in sorted(out.rglob("*")) if out.exists() else ():
            if path.is_file() and not path.name.startswith(_TEMPORARY) and (fault := fault_of(path)):
                row["half_files"] += 1
                faults.append(f"killed after {moment:.2f} s, {path.relative_to(out)} is half: {fault}")
        code, _ = run(case.words(out) + (list(case.again) if case.again and out.exists() else []))
        found = contents(out)
        unequal = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
        if code or unequal:
            row["unequal"] += 1
            faults.append(
                f"killed after {moment:.2f} s, the next run ended with {code}; other than it should: {unequal}"
            )
        else:
            shutil.rmtree(out)
    return row


def cases(scan: Path, ict: Path, head: Path, data: Path) -> dict[str, Case]:
    """Command → its case."""

    def parent(out: Path) -> None:
        out.mkdir(parents=True)

    def one_before(out: Path) -> None:
        out.mkdir(parents=True)
        run(["studio-save", str(out / "session.imhead")])

    small = ["--resolution", _RESOLUTION]
    sources = ["--source", "ict=0.5", "--source", "compose=0.5", "--identities", "12", "--expressions", "3"]
    edit = ["edit", str(head), "--region", "nose", "--sample", "7"]
    return {
        "edit": Case(lambda out: [*edit, "--out", str(out / "e.safetensors")], before=parent),
        "mesh": Case(lambda out: ["mesh", str(head), "--out", str(out / "m.glb"), *small], before=parent),
        "sample": Case(lambda out: ["sample", "-n", "2", "--out", str(out), *small]),
        "compare": Case(lambda out: ["compare", str(head), str(head), "--region", "nose", "--out", str(out)]),
        "studio-save": Case(lambda out: ["studio-save", str(out / "session.imhead")], before=one_before),
        "data-build": Case(lambda out: ["data", "build", *sources, "--ict", str(ict), "--out", str(out)]),
        "fit": Case(lambda out: ["fit", str(scan), "--out", str(out), *small], ("--skip-existing",)),
        "train": Case(
            lambda out: ["train", "tiny", "--data", str(data), "--ict", str(ict), "--out", str(out)], ("--resume",)
        ),
    }


def main() -> int:
    """Kill commands; 0 if nothing was half or unequal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="of each command")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", action="append", help="name of a command; may repeat")
    parser.add_argument("--scan", type=Path, default=Path(str(resources.files("imhead") / "assets" / "demo_scan.ply")))
    parser.add_argument("--ict", type=Path, default=Path("tests/data/ict_subset.npz"))
    parser.add_argument("--threads", type=int, default=1, help="of torch: another number is another rounding")
    parser.add_argument("--report", type=Path, default=Path("out/kills.json"))
    options = parser.parse_args()
    import torch

    import imhead.api
    import imhead.cli.commands  # noqa: F401  forks inherit them

    torch.set_num_threads(options.threads)
    work = Path(tempfile.mkdtemp(prefix="imhead-kills-"))
    os.environ["IMHEAD_KILLS_LOG"] = str(work / "log.txt")
    head, data = work / "made" / "head.safetensors", work / "data-build-whole"
    run(["edit", str(_drawn(work)), "--region", "mouth", "--sample", "1", "--out", str(head)])
    everything = cases(options.scan, options.ict, head, data)
    chosen = options.only or list(everything)
    if "train" in chosen and "data-build" not in chosen:
        run(everything["data-build"].words(data))
    rng = random.Random(options.seed)
    rows = {}
    for name in chosen:
        rows[name] = killed(name, everything[name], options.kills, rng, work)
        print(f"{name}: {rows[name]}", flush=True)
        write_atomically(options.report, (json.dumps(rows, indent=1) + "\n").encode())
    wrong = sum(row["half_files"] + row["unequal"] for row in rows.values())
    print(f"{sum(row['kills'] for row in rows.values())} kills, {wrong} wrong; logs in {work}")
    return 1 if wrong else 0


def _drawn(work: Path) -> Path:
    run(["sample", "-n", "1", "--seed", "3", "--out", str(work / "made"), "--resolution", "32"])
    return work / "made" / "head_000.safetensors"


if __name__ == "__main__":
    sys.exit(main())
