"""Read one scan in a started process: `python -m imhead.io.reading_process MAX_BYTES FILE`, for systems without fork.

It answers on stdout. Time is limited everywhere, memory where the system can do so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import IO

from imhead.errors import InputError, one_line
from imhead.io.limits import Limits, limit_this_process, limits_for, size_with_files_beside
from imhead.io.packed_scan import receive_scan, send_scan
from imhead.io.scan_file import read_scan
from imhead.types import Scan

SCAN, REFUSED, FAILED = b"S", b"R", b"F"
"""First byte of an answer: a packed scan follows, or why there is none, or the traceback of a fault of ours."""


def read_in_new_process(path: Path, max_bytes: int, limits: Limits) -> Scan:
    """The scan in a file; the process that reads it is ended when its time on the clock is over.

    Raises:
        InputError: as `read_scan`, or reading takes too long, or ends the process; one line.
        OSError: no process can be started.
    """
    command = [sys.executable, "-m", __name__, str(max_bytes), os.fspath(path)]
    safe = {**os.environ, "PYTHONSAFEPATH": "1"}  # nothing is imported from the folder that the scan lies in
    nothing, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen(command, stdin=nothing, stdout=pipe, stderr=nothing, env=safe) as reader:
        assert reader.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            reader.kill()

        timer = threading.Timer(limits.wall_s, end)
        timer.start()
        try:
            return _answer(reader.stdout, path, limits)
        except EOFError:
            raise _ended(path, limits, late.is_set()) from None
        finally:
            timer.cancel()
            reader.kill()


def refused(kind: bytes, text: str, path: Path) -> Exception:
    """The error for an answer that is no scan."""
    if kind == FAILED:
        return RuntimeError(f"{one_line(path)}: its reader failed\n{text}")
    return InputError(text or f"{one_line(path)}: needs too much memory to read; thin the scan out")


def _ended(path: Path, limits: Limits, late: bool) -> InputError:
    if late:
        return InputError(f"{one_line(path)}: takes longer than {limits.wall_s:.0f} s to read; thin the scan out")
    return InputError(f"{one_line(path)}: could not be read within the limits of memory and time; export it again")


def _answer(pipe: IO[bytes], path: Path, limits: Limits) -> Scan:
    def fill(space: memoryview) -> None:
        while space:
            count = pipe.readinto(space)  # type: ignore[attr-defined]
            if not count:
                raise EOFError
            space = space[count:]

    kind = pipe.read(1)
    if kind == SCAN:
        return receive_scan(fill, limits.memory_bytes)
    if not kind:
        raise EOFError
    raise refused(kind, pipe.read(1 << 20).decode(errors="replace"), path)


def _serve(max_bytes: int, path: Path) -> None:
    """In the new process: read, answer. What libraries print does not reach the answer."""
    limit_this_process(limits_for(min(size_with_files_beside(path), max_bytes)))
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with answer:
        try:
            scan = read_scan(path, max_bytes=max_bytes)
            answer.write(SCAN)
            send_scan(scan, answer.write)
        except InputError as error:
            answer.write(REFUSED + str(error).encode("utf-8", errors="replace"))
        except (MemoryError, RecursionError):
            answer.write(REFUSED)
        except Exception:
            answer.write(FAILED + traceback.format_exc().encode("utf-8", errors="replace"))


if __name__ == "__main__":
    _serve(int(sys.argv[1]), Path(sys.argv[2]))
