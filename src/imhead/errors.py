"""The error for input that cannot be used, and the check that every config shares."""

from __future__ import annotations

import dataclasses
from typing import Any


class InputError(ValueError):
    """Input that cannot be used. The message is one line: the file, what is wrong, what to do. The command exits 2."""


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
