"""Atomic writes: a reader finds the old file or the new one, also after a crash."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from imhead.errors import InputError, system_refusal


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; its folder is created if missing.

    Raises:
        InputError: the folder cannot be created or written to, the name is too long or that of something else than a
            file, or the disk is full; one line.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is there, and is no file; choose another name")
        # a name of its own: with the file's name in it, a long one would become too long
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".imhead-")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written {system_refusal(error)}") from error
    except ValueError as error:  # a null byte, or text that is no file name
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be the name of a file; choose another") from error


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        InputError: it cannot be removed; one line.
    """
    try:
        path.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = system_refusal(error) if isinstance(error, OSError) else "; choose another name"
        raise InputError(f"{path}: cannot be replaced {reason}") from error


def check_folder(path: Path) -> None:
    """Refuse a folder that cannot be written to, before the work whose results belong in it; nothing is made.

    Raises:
        InputError: it, or what is there of the path to it, is no folder or cannot be written to; one line.
    """
    try:
        there = next(part for part in (path, *path.absolute().parents) if part.exists() or part.is_symlink())
    except (OSError, ValueError) as error:
        reason = system_refusal(error) if isinstance(error, OSError) else "; choose another"
        raise InputError(f"{path}: cannot be a folder {reason}") from error
    if not there.is_dir():
        raise InputError(f"{there}: is a file, not a folder; choose another --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{there}: cannot be written to; check its permissions, or choose another --out")
