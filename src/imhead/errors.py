"""The one error that means "your input, not our code"."""

from __future__ import annotations


class InputError(ValueError):
    """Input that cannot be used. The message is one line: the file, what is wrong, what to do. The command exits 2."""
