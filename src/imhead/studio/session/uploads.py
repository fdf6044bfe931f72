"""Files from a browser: stored under a name of our own, read in a process of its own with limits, and deleted."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from imhead.checkpoint import Model, load_head
from imhead.errors import InputError
from imhead.io.scan_file import SCAN_EXTENSIONS
from imhead.studio.session import reading
from imhead.studio.state.project import PROJECT_SUFFIX
from imhead.types import Head, Scan

Kind = Literal["scan", "head", "project"]

MAX_UPLOAD_BYTES = 100 << 20
"""Largest file that is taken."""
_MAX_SECONDS = 60
_HEAD_SUFFIX = ".safetensors"


def plain_name(name: str) -> str:
    """What to call an uploaded file: its last part, printable, short."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if c.isprintable())[-80:] or "file"


@contextmanager
def stored(name: str, content: bytes) -> Iterator[Path]:
    """The file in a folder of its own, which goes with everything in it at the end.

    Raises:
        InputError: it is too large, or of a kind that is not taken.
    """
    label, suffix = plain_name(name), Path(plain_name(name)).suffix.lower()
    if suffix not in (*SCAN_EXTENSIONS, _HEAD_SUFFIX, PROJECT_SUFFIX):
        raise InputError(
            f"{label}: this kind of file is not taken; choose a scan ({', '.join(SCAN_EXTENSIONS)}), a head file "
            f"({_HEAD_SUFFIX}) or a project ({PROJECT_SUFFIX})"
        )
    if len(content) > MAX_UPLOAD_BYTES:
        raise too_large(label, len(content))
    with tempfile.TemporaryDirectory(prefix="imhead-upload-") as folder:
        # the name of the file never becomes a path
        path = Path(folder) / f"upload{suffix}"
        path.write_bytes(content)
        yield path


def too_large(name: str, size: int) -> InputError:
    """The refusal of a file that is over the limit, or not what was announced."""
    return InputError(
        f"{plain_name(name)}: has {size >> 20} MB; one file of at most {MAX_UPLOAD_BYTES >> 20} MB is taken at a time"
    )


def vet(path: Path, label: str, model: Model) -> Kind:
    """Read a stored file in another process; of a scan, the arrays are then beside it.

    Raises:
        InputError: it cannot be used, or takes too much time or memory; one sentence.
    """
    kind: Kind = {_HEAD_SUFFIX: "head", PROJECT_SUFFIX: "project"}.get(path.suffix, "scan")  # type: ignore[assignment]
    command = [sys.executable, "-m", reading.__name__, kind, str(path), str(model.path or "default")]
    # unbuffered, so that the first line is read without a piece of the second
    with subprocess.Popen(
        command, bufsize=0, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            answer = _answer(process)
        except subprocess.TimeoutExpired:
            raise InputError(f"{label}: takes longer than {_MAX_SECONDS} s to read; thin the scan out") from None
        finally:
            process.kill()
    if not answer.startswith(reading.DONE):
        raise InputError(f"{label}: could not be read within the limits of memory and time; export it again")
    if refusal := answer.removeprefix(reading.DONE):
        raise InputError(refusal.replace(str(path), label).replace(path.name, label))
    return kind


def _answer(process: subprocess.Popen[bytes]) -> str:
    """What the reading process says; its time runs from when it has started up."""
    assert process.stdout is not None
    process.stdout.readline()
    said, _ = process.communicate(timeout=_MAX_SECONDS)
    return said.decode(errors="replace").strip()


def vetted_scan(path: Path, label: str) -> Scan:
    """The scan that `vet` has read."""
    with np.load(path.with_name(reading.ARRAYS), allow_pickle=False) as arrays:
        points, normals, faces = arrays["points"], arrays["normals"], arrays["faces"]
        warnings = tuple(str(line) for line in arrays["warnings"])
    return Scan(Path(label).stem, points, normals if len(normals) else None, faces if len(faces) else None, warnings)


def read_head(path: Path, label: str, model: Model) -> Head:
    """The head that `vet` has read."""
    try:
        return load_head(path, model)
    except InputError as error:
        raise InputError(str(error).replace(str(path), label)) from error
