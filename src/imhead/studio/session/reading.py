"""Read one uploaded file in a process of its own: `python -m imhead.studio.session.reading KIND FILE MODEL`.

It says one line when it has started, and one at the end: that it is done, and why the file is refused if it is.
Whatever else happens, out of memory or time or worse, ends this process and nothing more.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np

from imhead.checkpoint import load_head, load_model
from imhead.errors import InputError
from imhead.io.scan_file import read_scan
from imhead.studio.state.project import open_project

DONE = "done:"
"""What the last line begins with; a refusal follows."""
ARRAYS = "vetted.npz"
"""The arrays of a scan, beside its file."""

_MAX_MEMORY_BYTES = 3 << 30
_MAX_CPU_SECONDS = 60


def limit_this_process() -> None:
    """Let this process have so much more memory and time than it has used."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    used_s = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    for what, limit in (
        (resource.RLIMIT_AS, in_use + _MAX_MEMORY_BYTES),
        (resource.RLIMIT_CPU, used_s + _MAX_CPU_SECONDS),
    ):
        hard = resource.getrlimit(what)[1]
        least = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (least, least))


def refusal(kind: str, path: Path, model: str) -> str:
    """Why a file cannot be used, or nothing; the arrays of a scan are then beside it."""
    try:
        if kind == "scan":
            scan = read_scan(path)
            none = np.zeros((0, 3))
            np.savez(
                path.with_name(ARRAYS),
                points=scan.points,
                normals=none if scan.normals is None else scan.normals,
                faces=none if scan.faces is None else scan.faces,
                warnings=np.array(scan.warnings, dtype=str),
            )
        elif kind == "head":
            load_head(path, load_model(model))
        else:
            open_project(path, load_model(model))
    except InputError as error:
        return str(error)
    except (MemoryError, RecursionError):
        return f"{path}: needs too much memory to read; thin the scan out"
    return ""


if __name__ == "__main__":
    limit_this_process()
    print("started", flush=True)
    print(DONE + " ".join(refusal(sys.argv[1], Path(sys.argv[2]), sys.argv[3]).split()), flush=True)
