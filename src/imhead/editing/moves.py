"""Moves along a word or a shape, as far as the face stays a face: the last sound place, and what stopped it there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np

from imhead.checkpoint import Model
from imhead.editing.plausibility import USUAL_SIGMA, region_sigma
from imhead.editing.readings import CodeSteps, Readings, values_of
from imhead.editing.shapes import shapes_of
from imhead.editing.soundness import MOST_PIERCED, FaultCounts, SkinPatch, pierced_walls, skin_patch
from imhead.editing.steps import Regions, conditioned_draw, region_names, region_rows, stepped, with_mirrors
from imhead.editing.words import OPPOSITES, word_reading, word_readings
from imhead.errors import InputError
from imhead.template.surface import has_template
from imhead.types import FloatArray, Head

_TOLERANCE_SIGMA = 0.02
_RESOLUTION_SIGMA = 0.1  # between the place where a move ends and one that is known to be unsound
_ROUNDING = 1e-6
_DRAWS = 9  # strengths of a draw that are tried, the whole one first
_FARTHEST = "no face that the model knows goes farther"
_UNUSUAL = "a region would be farther from the mean than people's"


@dataclass(frozen=True, eq=False)
class Move:
    """A move that was asked for, and where it ended."""

    head: Head
    """The head after it."""
    asked: float
    """How far, in standard deviations."""
    reached: float
    """How far it went: `asked`, unless it was stopped."""
    stop: str = ""
    """Why it went no farther; empty if it was not stopped."""


def along_word(model: Model, head: Head, regions: Regions, word: str, strength: float, mirror: bool) -> Move:
    """Change the reading of a word by `strength` standard deviations, and no other reading of the regions' words.

    Raises:
        InputError: these regions have no such word, or do not change its reading; the message lists those that they
            have.
    """
    sign = -1.0 if word in OPPOSITES else 1.0
    reading = word_reading(model, regions, mirror, OPPOSITES.get(word, word))
    way = _way(model, head, regions, mirror)
    goal = way.start + sign * strength * np.array([other is reading for other in way.readings])

    def place(distance: float) -> Head | None:
        u = way.steps.solve(way.readings, way.start + (distance / strength) * (goal - way.start), _TOLERANCE_SIGMA)
        return None if u is None else way.steps.edited(u)

    return _named(way.farthest(word, strength, place), head, way.regions, word)


def along_shape(model: Model, head: Head, regions: Regions, index: int, strength: float, mirror: bool) -> Move:
    """Step `strength` standard deviations along a shape of the regions; the readings of their words hardly change.

    In a model without a template nothing is measured, so nothing is checked.

    Raises:
        InputError: there is no such shape.
    """
    shapes = shapes_of(model, regions, mirror)
    if not 0 <= index < len(shapes.steps):
        raise InputError(f"direction {index} is outside 0 to {len(shapes.steps) - 1} for {region_names(regions)}")
    if not has_template(model):
        what = f"direction {index} by {strength:g} sigma"
        moved = stepped(model, head, shapes.regions, strength * shapes.steps[index], mirror, what)
        return Move(moved, strength, strength)
    way = _way(model, head, regions, mirror)

    def place(distance: float) -> Head | None:
        return stepped(model, head, shapes.regions, distance * shapes.steps[index], mirror, "")

    return _named(way.farthest(index, strength, place), head, way.regions, f"direction {index}")


def sample(model: Model, head: Head, regions: Regions, seed: int, strength: float, mirror: bool) -> Head:
    """Draw the regions around where they are, as identities vary while their other regions stay about the same.

    A draw that would pierce a nose wing or an ear goes less far; the provenance has the strength that was reached.
    """
    most = max(pierced_walls(model, head), MOST_PIERCED)
    for share in np.linspace(1.0, 0.0, _DRAWS)[:-1]:
        drawn = conditioned_draw(model, head, regions, seed, float(share) * strength, mirror)
        if pierced_walls(model, drawn) <= most:
            return drawn
    return conditioned_draw(model, head, regions, seed, 0.0, mirror)


def readings_of(model: Model, head: Head, regions: Regions, mirror: bool) -> dict[str, float]:
    """The reading of every word of the regions that is no opposite, in standard deviations from the mean."""
    way = _way(model, head, regions, mirror)
    return dict(zip(word_readings(model, regions, mirror), way.start.tolist()))


@dataclass(frozen=True, eq=False)
class _Way:
    """One head and the regions to move. It is kept while a slider moves, so that each place is looked at once."""

    regions: Regions
    """The chosen regions, and with `mirror` their mirror images."""
    readings: Readings
    """P readings, of the regions' words."""
    steps: CodeSteps
    start: FloatArray
    """(P,) readings of the head."""
    known: dict[tuple[str | int, float], tuple[Head | None, str]] = field(default_factory=dict)
    """Direction and distance → the head there, and why it is unsound."""

    @cached_property
    def _patch(self) -> SkinPatch:
        return skin_patch(self.steps.model, self.regions)

    @cached_property
    def _before(self) -> tuple[FaultCounts, FloatArray]:
        """What is wrong with the head already, and (n,) how far its regions lie from the mean: that stops no move."""
        head, model = self.steps.head, self.steps.model
        return self._patch.fault(head)[0], np.maximum(region_sigma(model, head, self.regions), USUAL_SIGMA)

    def farthest(self, key: str | int, asked: float, place: Callable[[float], Head | None]) -> Move:
        """The head at the distance that is asked for, or at the last sound one before."""
        if asked == 0.0:
            return Move(self.steps.head, 0.0, 0.0)
        seen = {d: why for (other, d), (_, why) in self.known.items() if other == key and d * asked > 0.0}
        sound = max((abs(d) for d, why in seen.items() if not why and abs(d) <= abs(asked)), default=0.0)
        unsound = min((abs(d) for d, why in seen.items() if why and sound < abs(d) <= abs(asked)), default=abs(asked))
        sign = float(np.sign(asked))
        if unsound == abs(asked) and not self._fault(key, asked, place):
            return Move(self._head(key, asked), asked, asked)
        while unsound - sound > _RESOLUTION_SIGMA:
            middle = 0.5 * (sound + unsound)
            sound, unsound = (sound, middle) if self._fault(key, sign * middle, place) else (middle, unsound)
        return Move(self._head(key, sign * sound), asked, sign * sound, self._fault(key, sign * unsound, place))

    def _head(self, key: str | int, distance: float) -> Head:
        found = self.known[key, distance][0] if distance else None
        return self.steps.head if found is None else found

    def _fault(self, key: str | int, distance: float, place: Callable[[float], Head | None]) -> str:
        if (key, distance) not in self.known:
            self.known[key, distance] = self._looked_at(place(distance) if distance else self.steps.head)
        return self.known[key, distance][1]

    def _looked_at(self, head: Head | None) -> tuple[Head | None, str]:
        if head is None:
            return None, _FARTHEST
        faults, usual = self._before
        if (region_sigma(self.steps.model, head, self.regions) > usual + _ROUNDING).any():
            return head, _UNUSUAL
        return head, self._patch.fault(head, faults)[1]


@lru_cache(maxsize=4)
def _way(model: Model, head: Head, regions: Regions, mirror: bool) -> _Way:
    readings = tuple(word_readings(model, regions, mirror).values())
    steps = CodeSteps.of(model, head, regions, mirror, readings)
    moved = with_mirrors(regions) if mirror else regions
    return _Way(moved, readings, steps, values_of(readings, steps.start))


def _named(move: Move, before: Head, regions: Regions, what: str) -> Move:
    """The move with one line of provenance that tells what was done."""
    told = f"{region_names(regions)}: {what} by {move.reached:g} sigma"
    if move.stop:
        told += f", stopped short of {move.asked:g}: {move.stop}"
    offsets = np.array(before.offsets)
    rows = region_rows(regions)
    offsets[rows] = move.head.offsets[rows]
    after = replace(before, offsets=offsets, eyes=move.head.eyes, provenance=(*before.provenance, told))
    return replace(move, head=after)
