"""Files that a scan refers to: only those in its own folder, never more bytes than allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from imhead.errors import InputError

Beside = Callable[[str], bytes]
"""Gives the bytes of a file that a scan names; raises `InputError` where there is none."""

_SHOWN_CHARACTERS = 80


def shown_name(name: str) -> str:
    """A name out of a file, for a message."""
    return ascii(name[:_SHOWN_CHARACTERS])


def nothing_beside(label: str) -> Beside:
    """For a scan that has no folder of its own: every file that it names is refused."""

    def read(name: str) -> bytes:
        raise InputError(
            f"{label}: refers to another file, {shown_name(name)}, which is not here; pack both into a .zip"
        )

    return read


def files_beside(path: Path, label: str, max_bytes: int) -> Beside:
    """The files in the folder of a scan, and in folders below it.

    Args:
        path: the scan.
        label: the scan, for messages.
        max_bytes: bytes of all files together, the scan among them.
    """
    folder = path.resolve().parent
    left = max_bytes - path.stat().st_size

    def read(name: str) -> bytes:
        nonlocal left
        plain = unquote(name)
        if "://" in plain or "\\" in plain or plain.startswith(("/", "~")) or not plain.isprintable():
            raise InputError(f"{label}: refers to another file outside its folder, {shown_name(name)}; export it again")
        try:
            other = (folder / plain).resolve()
            if not other.is_relative_to(folder):
                raise InputError(
                    f"{label}: refers to another file outside its folder, {shown_name(name)}; export it again"
                )
            if not other.is_file():
                raise InputError(
                    f"{label}: refers to another file, {shown_name(name)}; put it beside it, or export a .glb"
                )
            left -= other.stat().st_size
            if left < 0:
                raise InputError(
                    f"{label}: has more than {max_bytes} bytes with the files beside it; thin it out first"
                )
            return other.read_bytes()
        except InputError:
            raise
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no file name"
            raise InputError(f"{label}: {shown_name(name)} beside it cannot be opened ({reason})") from None

    return read
