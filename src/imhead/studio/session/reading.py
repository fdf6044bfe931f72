"""Read one uploaded file in a process of its own: `python -m imhead.studio.session.reading KIND FILE MODEL`.

It prints one line when it has started and one at the end, which says why the file is refused if it is.
Anything worse, such as running out of memory or time, ends this process only.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from imhead.errors import InputError
from imhead.io.limits import NO_MEMORY_LIMIT, can_limit, limit_this_process, limits_for
from imhead.io.mediapipe import read_any_take
from imhead.io.packed_scan import send_scan
from imhead.io.scan_file import read_scan
from imhead.studio.session.child import say
from imhead.studio.session.takes import take_file

SCAN, HEAD, PROJECT, TAKE = "vetted.scan", "vetted.safetensors", "vetted.imhead", "vetted.take"
"""Files beside the one read: a packed scan, or the head, the project or the take, written anew."""
SHORTEN = {
    "scan": "thin the scan out", "take": "cut the take", "head": "save it again", "project": "save it with fewer steps",
}  # fmt: skip
"""What to do about a file that takes too much time or memory, by kind."""


def refusal(kind: str, path: Path, model: str) -> str:
    """Why a file cannot be used; empty if it can. What was read is then saved beside it: nobody else opens the file."""
    try:
        if kind == "scan":
            with path.with_name(SCAN).open("wb") as out:
                scan = read_scan(path)
                if not can_limit():
                    scan = replace(scan, warnings=(*scan.warnings, NO_MEMORY_LIMIT))
                send_scan(scan, out.write)
            return ""
        if kind == "take":
            path.with_name(TAKE).write_bytes(take_file(read_any_take(path)))
            return ""
        # only here: a scan that is refused is refused at once, without networks
        from imhead.checkpoint import load_head, load_model, save_head
        from imhead.studio.state.project import open_project, project_bytes

        if kind == "head":
            save_head(load_head(path, load_model(model)), path.with_name(HEAD))
        else:
            path.with_name(PROJECT).write_bytes(project_bytes(open_project(path, load_model(model))))
    except InputError as error:
        return str(error)
    except (MemoryError, RecursionError):
        return f"{path}: needs too much memory to read; {SHORTEN[kind]}"
    return ""


if __name__ == "__main__":
    limit_this_process(limits_for(Path(sys.argv[2]).stat().st_size))
    print("started", flush=True)
    say(refusal(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
