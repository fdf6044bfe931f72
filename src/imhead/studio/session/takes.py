"""A take of a session: an uploaded recording of a face, as a file between processes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from imhead.errors import InputError, one_line
from imhead.io.live_link import Take

TAKE_EXTENSIONS = (".csv", ".json", ".jsonl")
"""Files that hold a take: Live Link Face's CSV, and MediaPipe's blend shapes."""
_NUMBERS = ("seconds", "weights", "angles")
_WARNINGS, _LONGEST_WARNING = "warnings", 600


@dataclass(frozen=True, eq=False)
class NamedTake:
    """An uploaded take."""

    name: str
    """Stem of its file."""
    take: Take
    """Its frames."""


def take_file(take: Take) -> bytes:
    """A take as a file for another process of this machine, every number kept."""
    told = [one_line(warning, _LONGEST_WARNING) for warning in take.warnings]
    numbers = {name: np.ascontiguousarray(getattr(take, name)) for name in _NUMBERS}
    return save(numbers, {_WARNINGS: json.dumps(told)})


def read_take_file(path: Path) -> Take:
    """The take of `take_file`.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with safe_open(path, "np") as opened:
            numbers = [opened.get_tensor(name) for name in _NUMBERS]
            warnings = json.loads((opened.metadata() or {})[_WARNINGS])
    except Exception as error:  # safetensors has an exception of its own for each fault
        raise InputError(f"the take cannot be read again ({type(error).__name__}); open it anew") from None
    seconds, weights, angles = numbers
    return Take(seconds, weights, angles, warnings=tuple(str(warning) for warning in warnings))
