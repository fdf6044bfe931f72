"""What the Python verbs accept: a wrong value is refused in one line that names it, before anything is computed."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

import numpy as np

from imhead.errors import InputError, check_numbers
from imhead.fitting.config import FitConfig
from imhead.fitting.pose import Units
from imhead.regions import Region, resolve

_MOST_SEED = 2**63 - 1
_RESOLUTIONS = (16, 1024)


def checked_regions(names: str | Sequence[str]) -> tuple[Region, ...]:
    """The regions of one or more names.

    Raises:
        InputError: no name, something else than names, or an unknown one.
    """
    found = [names] if isinstance(names, str) else list(names) if isinstance(names, Sequence | set | frozenset) else []
    if not found or not all(isinstance(name, str) for name in found):
        raise InputError(f"regions are {names!r}; name at least one region or group, for example 'nose'")
    return resolve(found)


def checked_whole(what: str, value: Any, low: int, high: int) -> int:
    """A whole number within [low, high].

    Raises:
        InputError: it is none; the message says what it is for.
    """
    try:
        found = low - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = low - 1
    if not low <= found <= high:
        raise InputError(f"{what} is {_shown(value)}; give a whole number from {low} to {high}")
    return found


def checked_seed(value: Any) -> int:
    """A seed: a whole number from 0.

    Raises:
        InputError: it is none.
    """
    return checked_whole("the seed", value, 0, _MOST_SEED)


def checked_resolution(value: Any) -> int:
    """Cells of a mesh along the longest side of the bounds.

    Raises:
        InputError: it is no whole number from 16 to 1024.
    """
    return checked_whole("the resolution", value, *_RESOLUTIONS)


def checked_number(what: str, value: Any, low: float, high: float, advice: str = "") -> float:
    """A number within [low, high].

    Raises:
        InputError: it is none; the message says what it is for.
    """
    try:
        found = float(value) if isinstance(value, int | float | np.number) and not isinstance(value, bool) else math.nan
    except OverflowError:
        found = math.inf
    if not low <= found <= high:
        advice = advice or "give a number in between"
        raise InputError(f"{what} is {_shown(value)}, which is outside {low:g} to {high:g}; {advice}")
    return found


def checked_strength(value: Any) -> float:
    """The strength of an edit.

    Raises:
        InputError: it is no number from -10 to 10.
    """
    return checked_number("the strength", value, -10.0, 10.0, "1 is one standard deviation")


def checked_units(units: Any) -> Units:
    """The unit of a scan's numbers.

    Raises:
        InputError: it is none of those that are known; the message lists them.
    """
    known = get_args(Units)
    if not isinstance(units, str) or units not in known:
        raise InputError(f"units {_shown(units)} are not known; use {', '.join(known)}")
    return cast("Units", units)


def checked_scale(mm_per_unit: Any) -> float | None:
    """Millimetres that one unit of a scan stands for; None where that is not known.

    Raises:
        InputError: no number from 1e-6 to 1e6.
    """
    return None if mm_per_unit is None else checked_number("one unit of the scan in mm", mm_per_unit, 1e-6, 1e6)


def checked_weights(expression: Mapping[str, float] | None) -> Mapping[str, float] | None:
    """ARKit weights by name; their names are checked where they are used.

    Raises:
        InputError: not names with numbers from 0 to 1.
    """
    if expression is None:
        return None
    if not isinstance(expression, Mapping):
        raise InputError(
            f"the expression is {_shown(expression)}; give weights by name, for example {{'jawOpen': 0.5}}"
        )
    return {str(name): checked_number(f"expression {name}", value, 0.0, 1.0) for name, value in expression.items()}


def checked_changes(changes: Mapping[str, float]) -> dict[str, float]:
    """Changes of measurements by name; names are checked where they are used.

    Raises:
        InputError: no measurement, or a change that is no number.
    """
    if not isinstance(changes, Mapping) or not changes:
        raise InputError(
            f"targets are {_shown(changes)}; name a measurement and its change: {{'tip_projection': -1.0}}"
        )
    largest = 500.0  # mm or degrees: more than a head
    return {str(name): checked_number(f"the change of {name}", k, -largest, largest) for name, k in changes.items()}


def checked_labels(labels: Sequence[str]) -> tuple[str, str]:
    """What a report calls two heads.

    Raises:
        InputError: not two texts.
    """
    if isinstance(labels, str) or not isinstance(labels, Sequence) or len(labels) != 2:
        raise InputError(f"labels are {_shown(labels)}; give two, for example ('before', 'after')")
    return str(labels[0]), str(labels[1])


def checked_fit(config: FitConfig) -> FitConfig:
    """Settings of a fit.

    Raises:
        InputError: something else, or a setting that is no number from 0.
    """
    if not isinstance(config, FitConfig):
        raise InputError(f"the settings of the fit are {_shown(config)}; give a FitConfig")
    check_numbers(config, 0, _MOST_SEED)
    checked_resolution(config.resolution)
    return config


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # more digits than Python prints
        return "too large"
