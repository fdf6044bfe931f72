"""Scans of strangers are read in a process of their own, with limits of memory and time; only arrays come back."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from imhead.errors import InputError, one_line
from imhead.io.limits import (
    NO_MEMORY_LIMIT,
    Limits,
    can_limit,
    limit_this_process,
    limits_for,
    size_with_files_beside,
)
from imhead.io.packed_scan import receive_scan, send_scan
from imhead.io.reading_process import FAILED, REFUSED, SCAN, read_in_new_process, refused
from imhead.io.scan_file import read_scan
from imhead.types import Scan

_UNLIMITED = "It was read without limits of memory and time: no process can be started for it."


def read_scan_limited(path: Path, *, max_bytes: int = 1 << 30) -> Scan:
    """`read_scan` in a forked process with limits in proportion to the file: whatever is in it, this process goes on.

    Where a system cannot fork, or cannot limit memory, a process is started that has limits of time only; where no
    process can be started, the scan is read in this one. A warning in `Scan.warnings` says so.

    Raises:
        InputError: as `read_scan`, or reading takes too much time or memory, or ends the process; one line.
    """
    path = Path(path)
    limits = limits_for(min(size_with_files_beside(path), max_bytes))
    if not can_limit():
        try:
            return _warned(read_in_new_process(path, max_bytes, limits), NO_MEMORY_LIMIT)
        except OSError:  # no process can be started
            return _in_this_process(path, max_bytes)
    ours, theirs = os.pipe()
    try:
        process = os.fork()
    except OSError:  # the system has no more processes
        os.close(ours)
        os.close(theirs)
        return _in_this_process(path, max_bytes)
    if not process:
        _serve(lambda: read_scan(path, max_bytes=max_bytes), theirs, limits)
    os.close(theirs)
    try:
        return _answer(ours, path, limits)
    except EOFError:
        _, status = os.waitpid(process, 0)
        process = 0
        raise _ended(status, path, limits) from None
    finally:
        os.close(ours)
        if process:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _in_this_process(path: Path, max_bytes: int) -> Scan:
    return _warned(read_scan(path, max_bytes=max_bytes), _UNLIMITED)


def _warned(scan: Scan, warning: str) -> Scan:
    return replace(scan, warnings=(*scan.warnings, warning))


def _serve(read: Callable[[], Scan], pipe: int, limits: Limits) -> NoReturn:
    """In the new process: read, answer, end. Nothing of the old process is used, flushed or kept open."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends this one
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.freeze()  # the parent's objects stay on the pages that both share
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(nowhere, standard)
        os.closerange(3, pipe)
        os.closerange(pipe + 1, os.sysconf("SC_OPEN_MAX"))
        limit_this_process(limits)
        try:
            scan = read()
            _write(pipe, memoryview(SCAN))
            send_scan(scan, lambda piece: _write(pipe, piece))
        except InputError as error:
            _write(pipe, memoryview(REFUSED + str(error).encode("utf-8", errors="replace")))
        except (MemoryError, RecursionError):
            _write(pipe, memoryview(REFUSED))
        except Exception:
            _write(pipe, memoryview(FAILED + traceback.format_exc().encode("utf-8", errors="replace")))
        os._exit(0)
    finally:
        os._exit(1)


def _write(pipe: int, data: memoryview) -> None:
    while data:
        data = data[os.write(pipe, data) :]


def _answer(pipe: int, path: Path, limits: Limits) -> Scan:
    """The scan that the other process read, or why it did not."""
    deadline = time.monotonic() + limits.wall_s

    def some(most: int) -> bytes:
        _await(pipe, deadline, path, limits)
        return os.read(pipe, most)

    def fill(space: memoryview) -> None:
        while space:
            _await(pipe, deadline, path, limits)
            count = os.readv(pipe, [space])
            if not count:
                raise EOFError
            space = space[count:]

    kind = some(1)
    if kind == SCAN:
        return receive_scan(fill, limits.memory_bytes)
    if not kind:
        raise EOFError
    text = b"".join(iter(lambda: some(1 << 16), b"")).decode(errors="replace")
    raise refused(kind, text, path)


def _await(pipe: int, deadline: float, path: Path, limits: Limits) -> None:
    wait = select.poll()  # not select(), which knows the first 1 024 open files only
    wait.register(pipe, select.POLLIN)
    if not wait.poll(max(0.0, 1000.0 * (deadline - time.monotonic()))):
        raise InputError(f"{one_line(path)}: takes longer than {limits.wall_s:.0f} s to read; thin the scan out")


def _ended(status: int, path: Path, limits: Limits) -> InputError:
    """The refusal of a file at which the reading process ended."""
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return InputError(
            f"{one_line(path)}: takes more than {limits.cpu_s} s of processor time to read; thin the scan out"
        )
    return InputError(f"{one_line(path)}: could not be read within the limits of memory and time; export it again")
