"""The error for input that cannot be used, how a message becomes one line, and the check that every config shares."""

from __future__ import annotations

import dataclasses
import errno
import re
from typing import Any

LINE_LENGTH = 1000
"""Characters of a message, at most."""
_CUT = " … "


def one_line(text: object, limit: int = LINE_LENGTH) -> str:
    """Any text as one printable line of at most `limit` characters; what is left out of a long one is its middle.

    Line breaks become spaces. Every other character that does not print is escaped: terminal commands, text direction,
    bytes of a file name that are no text. So a stranger's file cannot write over the screen. Twice is the same as once.
    """
    whole = str(text)
    if len(whole) > 2 * limit:  # the work does not grow with the text
        whole = whole[:limit] + _CUT + whole[-limit:]
    joined = re.sub(r"\s*[\t-\r]+\s*", " ", whole.strip("\t\n\v\f\r"))
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in joined)
    if len(shown) <= limit:
        return shown
    kept = (limit - len(_CUT)) // 2
    return shown[:kept] + _CUT + shown[len(shown) - kept :]


class InputError(ValueError):
    """Input that cannot be used. The message is one line: the file, what is wrong, what to do. The command exits 2.

    >>> try:
    ...     model.open("nobody.safetensors")
    ... except imhead.InputError as error:
    ...     print(error)
    nobody.safetensors: no such head; give the path of a .safetensors file
    """

    def __init__(self, message: object) -> None:
        super().__init__(one_line(message))


_REMEDIES = {
    errno.ENOSPC: "free some space, or choose another disk",
    errno.EDQUOT: "free some space, or choose another disk",
    errno.EFBIG: "choose another disk, or write less",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EACCES: "check its permissions, or choose another folder",
    errno.EPERM: "check its permissions, or choose another folder",
    errno.EROFS: "choose another folder",
    errno.ENOENT: "check the path",
    errno.EEXIST: "a file lies where a folder is needed; choose another folder",
    errno.ENOTDIR: "a file lies where a folder is needed; choose another folder",
    errno.EISDIR: "it is a folder; name a file",
    errno.EMFILE: "close some files, or raise ulimit -n",
    errno.ENFILE: "close some files",
    errno.EADDRINUSE: "choose another --port",
    errno.ENOMEM: "close other programs",
}


def system_refusal(error: OSError) -> str:
    """What the operating system refused, and what to do, for the end of a message."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"({reason}); {_REMEDIES.get(error.errno or 0, 'check the path and the disk')}"


def refusal(error: Exception) -> str | None:
    """The message for an error that comes from the input or from this machine; None for a failure of our own."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; close other programs, or lower --resolution or --jobs"
    if isinstance(error, OSError):
        what = error.filename if isinstance(error.filename, str) else "an output or device"
        return f"{what}: cannot be used {system_refusal(error)}"
    return None


def check_numbers(config: Any, low: float, high: float) -> None:
    """Check that every int and float field of a config holds a finite number of its type within [low, high].

    Raises:
        InputError: a field does not; the message names it.
    """
    for spec in dataclasses.fields(config):
        value = getattr(config, spec.name)
        if spec.type not in ("int", "float"):
            continue
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (whole or (spec.type == "float" and isinstance(value, float))) or not low <= value <= high:
            raise InputError(
                f"{type(config).__name__}.{spec.name} is {value!r}; expected {spec.type} from {low:g} to {high:g}"
            )
