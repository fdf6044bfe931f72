"""Uploaded files: stored under a fixed name, read in a separate process with limits, and deleted."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from imhead.checkpoint import Model, load_head
from imhead.errors import InputError
from imhead.io.live_link import Take
from imhead.io.packed_scan import receive_scan
from imhead.io.scan_file import SCAN_EXTENSIONS
from imhead.studio.session import reading
from imhead.studio.session.child import answer_of, started
from imhead.studio.session.takes import TAKE_EXTENSIONS, read_take_file
from imhead.studio.state.project import PROJECT_SUFFIX, open_project
from imhead.studio.state.studio import Studio
from imhead.types import Head, Scan

Kind = Literal["scan", "head", "project", "take"]

MAX_UPLOAD_BYTES = 100 << 20
"""Largest accepted file."""
_MAX_SECONDS = 60
_HEAD_SUFFIX = ".safetensors"
UPLOAD_EXTENSIONS = (*SCAN_EXTENSIONS, _HEAD_SUFFIX, PROJECT_SUFFIX, *TAKE_EXTENSIONS)
"""Ends of the names of files that can be opened."""


def display_name(name: str) -> str:
    """Name of an uploaded file for messages: without its folders, printable, at most 80 characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if c.isprintable())[-80:] or "file"


@contextmanager
def stored(name: str, content: bytes) -> Iterator[Path]:
    """Store the file in a temporary folder, which is deleted at the end.

    Raises:
        InputError: the file is too large, or of a kind that cannot be opened.
    """
    label, suffix = display_name(name), Path(display_name(name)).suffix.lower()
    if suffix not in UPLOAD_EXTENSIONS:
        raise InputError(
            f"{label}: this kind of file cannot be opened; choose a scan ({', '.join(SCAN_EXTENSIONS)}), a head file "
            f"({_HEAD_SUFFIX}), a project ({PROJECT_SUFFIX}) or a take ({', '.join(TAKE_EXTENSIONS)})"
        )
    if len(content) > MAX_UPLOAD_BYTES:
        raise too_large(label, len(content))
    with tempfile.TemporaryDirectory(prefix="imhead-upload-") as folder:
        # an uploaded name never becomes a path
        path = Path(folder) / f"upload{suffix}"
        path.write_bytes(content)
        yield path


def too_large(name: str, size: int) -> InputError:
    """The error for a file over the limit, or larger than announced."""
    return InputError(
        f"{display_name(name)}: has {size >> 20} MB; upload one file of at most {MAX_UPLOAD_BYTES >> 20} MB at a time"
    )


class Reader:
    """Reads the uploaded files of one tab, one after another, each in a process of its own that ends with the tab."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """A new file is to be read; from now on `end` is meant for it."""
        with self._lock:
            self._ended = False

    def end(self) -> None:
        """End the reading process, if there is one: its tab is closed, or the person has enough."""
        with self._lock:
            self._ended = True
            if self._process is not None:
                self._process.kill()

    def vet(self, path: Path, label: str, model: Model) -> Kind:
        """Read a stored file in a separate process, which saves what it read beside it.

        Raises:
            InputError: the file cannot be used, takes too much time or memory, or its tab was closed.
        """
        kind = _kind_of(path)
        with self._lock:
            if self._ended:
                raise _ended(label)
            self._process = started(reading.__name__, (kind, str(path), str(model.path or "default")))
        with self._process as process:
            try:
                refusal = answer_of(process, _MAX_SECONDS)
            except subprocess.TimeoutExpired:
                raise InputError(
                    f"{label}: takes longer than {_MAX_SECONDS} s to read; {reading.SHORTEN[kind]}"
                ) from None
            finally:
                with self._lock:
                    process.kill()
                    self._process = None
        if self._ended:
            raise _ended(label)
        if refusal is None:
            raise InputError(f"{label}: could not be read within the limits of memory and time; export it again")
        if refusal:
            raise InputError(refusal.replace(str(path), label).replace(path.name, label))
        return kind


def _kind_of(path: Path) -> Kind:
    if path.suffix in TAKE_EXTENSIONS:
        return "take"
    return "head" if path.suffix == _HEAD_SUFFIX else "project" if path.suffix == PROJECT_SUFFIX else "scan"


def _ended(label: str) -> InputError:
    return InputError(f"{label}: was not read to the end, because its page was closed; open it again")


def vetted_scan(path: Path, label: str) -> Scan:
    """The scan that `Reader.vet` read."""
    with path.with_name(reading.SCAN).open("rb") as packed:
        scan = receive_scan(packed.readinto, path.with_name(reading.SCAN).stat().st_size)
    return replace(scan, name=Path(label).stem)


def vetted_head(path: Path, model: Model) -> Head:
    """The head that `Reader.vet` read."""
    return load_head(path.with_name(reading.HEAD), model)


def vetted_project(path: Path, model: Model) -> Studio:
    """The project that `Reader.vet` read."""
    return open_project(path.with_name(reading.PROJECT), model)


def vetted_take(path: Path) -> Take:
    """The take that `Reader.vet` read."""
    return read_take_file(path.with_name(reading.TAKE))
