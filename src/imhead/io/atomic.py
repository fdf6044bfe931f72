"""Atomic writes: a reader finds the old file or the new one, also after a crash."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from imhead.errors import InputError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; its folder is created if missing.

    Raises:
        InputError: the folder cannot be created or written to, or the disk is full; one line.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
