"""What a command or a server says of a head in figures, as plain values."""

from __future__ import annotations

from typing import Any, Protocol

from imhead.conventions import ASSUMED_SCALE
from imhead.measure.table import measurement
from imhead.types import FloatArray, Head


class Measured(Protocol):
    """What a head must be able to do."""

    @property
    def codes(self) -> Head:
        """The codes."""
        ...

    def measure(self) -> dict[str, float]:
        """Every measurement by name."""
        ...

    def measure_errors(self) -> dict[str, float]:
        """± of those of a fitted head by name."""
        ...

    def landmarks(self) -> dict[str, FloatArray]:
        """Name → place (3,)."""
        ...


def measurement_table(head: Measured) -> dict[str, Any]:
    """`measurements`: name → value, unit and error; `landmarks_mm`: name → place; and `doubts`.

    Raises:
        InputError: a model without a template.
    """
    errors = head.measure_errors()
    rows = {
        name: {"value": value, "unit": measurement(name).unit, "error": errors.get(name)}
        for name, value in head.measure().items()
    }
    places = {name: place.tolist() for name, place in head.landmarks().items()}
    return {"measurements": rows, "landmarks_mm": places} | doubts(head.codes)


def doubts(head: Head) -> dict[str, Any]:
    """What every output in mm says of a head: whether its scale was assumed, as a figure and in a sentence."""
    return {"scale_assumed": head.scale_assumed, "warnings": [ASSUMED_SCALE] if head.scale_assumed else []}
