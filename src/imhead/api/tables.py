"""What a command or a server says of a head in figures, as plain values."""

from __future__ import annotations

from typing import Any

from imhead.api.measured import MeasuredHead
from imhead.conventions import ASSUMED_SCALE
from imhead.measure.population import STATEMENT, face_size, shipped_population
from imhead.measure.table import measurement
from imhead.types import Head


def measurement_table(head: MeasuredHead) -> dict[str, Any]:
    """`measurements`: name → value, unit, error, z; `population`: what z counts in; `landmarks_mm`: name → place; and
    `doubts`.

    `z_model` is the number of standard deviations from the mean of the heads that the model draws, `z_at_size` from
    those of the same size. Both are None, as is `population`, for a model whose population does not ship; `z_model` of
    lengths and volumes where the scale was assumed.

    Raises:
        InputError: a model without a template.
    """
    errors, measured, among = head.measure_errors(), head.measure(), shipped_population(head.model)
    z: dict[str, float] = {}
    at_size: dict[str, float] = {}
    population: dict[str, Any] | None = None
    if among is not None:
        z, at_size = among.z_scores(measured, scale_assumed=head.codes.scale_assumed), among.z_at_size(measured)
        of_size = None if head.codes.scale_assumed else among.z_of_size(measured)
        population = {
            "heads": among.heads, "face_size_mm": face_size(measured), "z_of_size": of_size, "statement": STATEMENT,
        }  # fmt: skip
    rows = {
        name: {
            "value": value, "unit": measurement(name).unit, "error": errors.get(name), "z_model": z.get(name),
            "z_at_size": at_size.get(name),
        }
        for name, value in measured.items()
    }  # fmt: skip
    places = {name: place.tolist() for name, place in head.landmarks().items()}
    return {"measurements": rows, "population": population, "landmarks_mm": places} | doubts(head.codes)


def doubts(head: Head) -> dict[str, Any]:
    """What every output in mm says of a head: whether its scale was assumed, as a figure and in a sentence."""
    return {"scale_assumed": head.scale_assumed, "warnings": [ASSUMED_SCALE] if head.scale_assumed else []}
