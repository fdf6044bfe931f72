"""One file opened as the product opens it: what came of it, its cost, and whether that is as it should be."""

from __future__ import annotations

import io
import os
import resource
import sys
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import DracoPy  # noqa: F401  loaded here, so that the first file that needs it does not pay for it
import numpy as np
import torch
from tests.fuzz import seeds

from imhead.checkpoint import load_head, load_model
from imhead.errors import InputError
from imhead.io.landmark_file import read_named_places
from imhead.io.limits import Limits, limit_this_process
from imhead.io.live_link import read_take
from imhead.io.scan_file import read_scan
from imhead.studio.state.project import open_project
from imhead.types import Scan

BYTES_PER_BYTE, FREE_BYTES = 20, 50e6
"""Memory that opening a file may take: for each of its bytes, unpacked, and beyond."""
SECONDS_PER_BYTE, FREE_SECONDS = 5e-7, 1.5
"""Processor time that it may take; the rest is for a machine that does other things as well."""
_MOST_BYTES, _MOST_SECONDS = 1 << 30, 20
_OF_USD = (".usda", ".usd", ".usdc", ".usdz")
_OF_A_LIBRARY = (".usd", ".usdc", ".usdz")
"""Binary USD is unpacked by a library that takes what a file claims; only the limit of the process holds it."""


OPEN: dict[str, Callable[[Path], Any]] = {
    "scan": read_scan,
    "landmarks": read_named_places,
    "take": read_take,
    "head": lambda path: load_head(path, seeds.model()),
    "model_file": load_model,
    "project": lambda path: open_project(path, seeds.model()),
}
"""Kind of file → how it is opened."""


@dataclass(frozen=True)
class Trial:
    """What came of one file."""

    outcome: str
    """`read`, `refused` or `wrong`."""
    said: str
    """The refusal, or what is wrong."""
    sign: str
    """What tells one fault from another; for a refusal, its words without names and numbers."""
    seconds: float
    """Processor time."""
    grown: float
    """Bytes by which the peak of memory grew."""


def prepare() -> None:
    """Limit this process as a reader is limited, and make its memory tell what a file took."""
    torch.set_num_threads(1)  # more would wait for ever for the threads of the process that was forked
    limit_this_process(Limits(_MOST_BYTES, 1 << 20, 0.0))
    warnings.simplefilter("error")
    # what libraries print of a damaged file is not for the screen; a traceback of our own is
    sys.stderr = os.fdopen(os.dup(2), "w")
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def attempt(kind: str, path: Path) -> Trial:
    """Open a file. The process ends if that takes more than 20 s of processor time."""
    if path.suffix in _OF_USD:
        from pxr import Sdf, Tf  # noqa: F401  loaded here, so that the file does not pay for it
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + _MOST_SECONDS, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = _status("VmRSS"), time.process_time()
    outcome, said, sign = _outcome(kind, path)
    seconds, grown = time.process_time() - start, _status("VmHWM") - before
    size = _unpacked_size(path)
    free = _MOST_BYTES if path.suffix in _OF_A_LIBRARY else FREE_BYTES
    if grown > BYTES_PER_BYTE * size + free:
        outcome, said, sign = "wrong", f"{grown / 1e6:.0f} MB for {size / 1e6:.3f} MB: {said}", f"memory {sign}"
    if seconds > SECONDS_PER_BYTE * size + FREE_SECONDS:
        outcome, said, sign = "wrong", f"{seconds:.1f} s for {size / 1e6:.3f} MB: {said}", f"time {sign}"
    return Trial(outcome, said, sign, seconds, grown)


def _outcome(kind: str, path: Path) -> tuple[str, str, str]:
    try:
        fault = _fault_of(OPEN[kind](path))
        return ("wrong", fault, fault) if fault else ("read", "", "")
    except InputError as error:
        said = str(error)
        if not said.isprintable() or len(said) > 1000 or path.name not in said or ";" not in said:
            return "wrong", f"refusal that is no line: {said!r}", "line " + _place(error)
        return "refused", said, _words(said, path)
    except BaseException as error:
        return "wrong", "".join(traceback.format_exception_only(error)).strip()[:500], _place(error)


def _fault_of(opened: Any) -> str:
    """What is wrong with what was read; empty if nothing."""
    if not isinstance(opened, Scan):
        return ""
    if opened.normals is not None and np.abs(np.linalg.norm(opened.normals, axis=1) - 1).max() > 1e-6:
        return "normals that are not of length 1"
    if len(opened.points) < 200 or (opened.faces is not None and not len(opened.faces)):
        return "a scan that cannot be one"
    if any(not line.isprintable() or len(line) > 400 for line in opened.warnings):
        return "a warning that is no line"
    return ""


def _place(error: BaseException) -> str:
    """The kind of an exception, and the last line of the package that it went through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "imhead" in Path(f.filename).parts]
    last = frames[-1] if frames else None
    return type(error).__name__ + (f" {Path(last.filename).stem}.{last.name}" if last else "")


def _words(said: str, path: Path) -> str:
    kept = said.replace(str(path), "")
    for quote in ("'", "("):
        kept = kept.partition(quote)[0]
    return "".join(c for c in kept if not c.isdigit())[:80]


def _status(name: str) -> int:
    with open("/proc/self/status") as lines:
        return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def _unpacked_size(path: Path) -> int:
    """Bytes of a file; of an archive, also of what is in it, as far as readers unpack it."""
    data = path.read_bytes()
    size = len(data)
    if data[:2] == b"PK":
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                size += min(sum(entry.file_size for entry in archive.infolist()), 40 * size + (1 << 20))
        except Exception:  # as damaged as it may be
            pass
    beside = path.with_name(seeds.BESIDE)
    return size + (beside.stat().st_size if beside.exists() else 0)
