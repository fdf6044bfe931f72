"""A point of the skin as a handle: where each direction of the selection moves it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.checkpoint import Model
from imhead.editing.readings import CodeSteps, values_of
from imhead.editing.shapes import shapes_of
from imhead.editing.steps import stepped
from imhead.editing.words import word_readings
from imhead.errors import InputError
from imhead.studio.session.surface import quick_mesh
from imhead.studio.state.commands.command import Scope
from imhead.template.surface import template_of
from imhead.types import FloatArray, Head

_STEP_SIGMA, _TOLERANCE_SIGMA = 0.5, 0.02
_MOST_SHAPES = 4


@dataclass(frozen=True, eq=False)
class Way:
    """One direction of the selection, at a handle."""

    kind: str
    """`word` or `shape`."""
    key: str | int
    """The word, or the row of the shape."""
    value: float
    """Where the head is along it, in standard deviations."""
    step_mm: FloatArray
    """(3,) movement of the handle by one standard deviation, mm."""


def handle_ways(model: Model, head: Head, scope: Scope, vertex: int) -> list[Way]:
    """Where the words and the first shapes of the selection move a vertex of the template.

    Raises:
        InputError: no region is selected, all of them are locked, or there is no such vertex.
    """
    if not 0 <= vertex < len(template_of(model).part):
        raise InputError(f"the template has no vertex {vertex}; drag a point of the head")
    regions, mirror = scope.resolve(), scope.mirror
    start = quick_mesh(model, head).vertices[vertex]
    words = word_readings(model, regions, mirror)
    steps = CodeSteps.of(model, head, regions, mirror, tuple(words.values()))
    values = values_of(tuple(words.values()), steps.start)
    shapes = shapes_of(model, regions, mirror)
    moved: list[tuple[str, str | int, float, Head | None]] = []
    for row, word in enumerate(words):
        goal = values + _STEP_SIGMA * np.eye(len(values))[row]
        u = steps.solve(tuple(words.values()), goal, _TOLERANCE_SIGMA)
        moved.append(("word", word, float(values[row]), None if u is None else steps.edited(u)))
    for row, score in enumerate(shapes.scores(head)[:_MOST_SHAPES]):
        along = stepped(model, head, shapes.regions, _STEP_SIGMA * shapes.steps[row], mirror, "")
        moved.append(("shape", row, float(score), along))
    ways = []
    for kind, key, value, after in moved:
        if after is not None:  # else the word cannot move by itself here
            place = quick_mesh(model, scope.keep_locked(head, after)).vertices[vertex]
            ways.append(Way(kind, key, value, (place - start) / _STEP_SIGMA))
    return ways
