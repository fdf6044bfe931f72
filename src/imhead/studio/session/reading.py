"""Read one uploaded file in a process of its own: `python -m imhead.studio.session.reading KIND FILE MODEL`.

It prints one line when it has started and one at the end, which says why the file is refused if it is.
Anything worse, such as running out of memory or time, ends this process only.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np

from imhead.checkpoint import load_head, load_model, save_head
from imhead.errors import InputError
from imhead.io.scan_file import read_scan
from imhead.studio.state.project import open_project, project_bytes

DONE = "done:"
"""Start of the last line; the reason of a refusal follows."""
ARRAYS, HEAD, PROJECT = "vetted.npz", "vetted.safetensors", "vetted.imhead"
"""Files beside the one read: a scan's arrays, or the head or the project, written anew."""

_MAX_MEMORY_BYTES = 3 << 30
_MAX_CPU_SECONDS = 60


def limit_this_process() -> None:
    """Limit the memory and time of this process to 3 GB and 60 s beyond what it has used."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    used_s = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    for what, limit in (
        (resource.RLIMIT_AS, in_use + _MAX_MEMORY_BYTES),
        (resource.RLIMIT_CPU, used_s + _MAX_CPU_SECONDS),
    ):
        hard = resource.getrlimit(what)[1]
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (lower, lower))


def refusal(kind: str, path: Path, model: str) -> str:
    """Why a file cannot be used; empty if it can. What was read is then saved beside it: nobody else opens the file."""
    try:
        if kind == "scan":
            scan = read_scan(path)
            missing = np.zeros((0, 3))
            np.savez(
                path.with_name(ARRAYS),
                points=scan.points,
                normals=missing if scan.normals is None else scan.normals,
                faces=missing if scan.faces is None else scan.faces,
                warnings=np.array(scan.warnings, dtype=str),
            )
        elif kind == "head":
            save_head(load_head(path, load_model(model)), path.with_name(HEAD))
        else:
            path.with_name(PROJECT).write_bytes(project_bytes(open_project(path, load_model(model))))
    except InputError as error:
        return str(error)
    except (MemoryError, RecursionError):
        return f"{path}: needs too much memory to read; thin the scan out"
    return ""


if __name__ == "__main__":
    limit_this_process()
    print("started", flush=True)
    print(DONE + " ".join(refusal(sys.argv[1], Path(sys.argv[2]), sys.argv[3]).split()), flush=True)
