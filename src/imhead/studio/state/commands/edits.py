"""Commands that change regions of the shown head. Locked regions keep their codes, bit for bit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from imhead import editing
from imhead.checkpoint import Model
from imhead.editing import Move
from imhead.errors import InputError
from imhead.measure.carrier import landmark_points
from imhead.measure.table import measurement, values
from imhead.regions import REGIONS
from imhead.studio.state.commands.command import Scope
from imhead.studio.state.document import Document
from imhead.studio.state.labels import readable_name, regions_label
from imhead.types import Head

MOST_SIGMA = 4.0
"""Largest distance of a slider from the mean, in standard deviations."""
_BEYOND = 64.0  # mm or degrees: no edit changes a measurement by more
MOST_BLENDED = 6
"""Heads that can be blended at once."""


@dataclass(frozen=True)
class MoveAlong:
    """Move the regions along one of their principal directions to a given score."""

    scope: Scope
    direction: int
    """Row of the direction; the first explains the most variance."""
    sigma: float
    """Score to reach, in standard deviations from the face without edits."""

    @property
    def label(self) -> str:
        return f"{regions_label(self.scope.regions)}: shape {self.direction + 1} at {self.sigma:+.2f} σ"

    @property
    def control(self) -> str:
        return f"{self.scope} {self.direction}"

    def apply(self, model: Model, document: Document) -> Document:
        _check_sigma(self.sigma)
        regions, head, mirror = self.scope.resolve(), document.head, self.scope.mirror
        scores = editing.shapes_of(model, regions, mirror).scores(head)
        if not 0 <= self.direction < len(scores):
            raise InputError(
                f"{regions_label(self.scope.regions)} has shapes 1 to {len(scores)}, not {self.direction + 1}"
            )
        change = self.sigma - float(scores[self.direction])
        move = editing.along_shape(model, head, regions, self.direction, change, mirror)
        note = _note(f"shape {self.direction + 1}", self.sigma, move)
        return document.with_head(self.scope.keep_locked(head, move.head), note)


@dataclass(frozen=True)
class MoveByWord:
    """Bring one reading of the regions, such as their width, to a given score; those of their other words stay."""

    scope: Scope
    word: str
    """Name of the direction, such as `wider`; one of the regions' `readings_of`."""
    sigma: float
    """Score to reach, in standard deviations from the population mean."""

    @property
    def label(self) -> str:
        return f"{regions_label(self.scope.regions)}: {self.word} at {self.sigma:+.2f} σ"

    @property
    def control(self) -> str:
        return f"{self.scope} {self.word}"

    def apply(self, model: Model, document: Document) -> Document:
        _check_sigma(self.sigma)
        regions, head, mirror = self.scope.resolve(), document.head, self.scope.mirror
        known = editing.readings_of(model, head, regions, mirror)
        if self.word not in known:
            remedy = f"choose one of {', '.join(known)}" if known else "use the shape sliders"
            raise InputError(f"{regions_label(self.scope.regions)} has no direction {self.word!r}; {remedy}")
        move = editing.along_word(model, head, regions, self.word, self.sigma - known[self.word], mirror)
        note = _note(self.word, self.sigma, move)
        return document.with_head(self.scope.keep_locked(head, move.head), note)


@dataclass(frozen=True)
class SampleRegions:
    """Replace the regions by a random sample."""

    scope: Scope
    seed: int
    """Seed of the sample."""

    @property
    def label(self) -> str:
        return f"{regions_label(self.scope.regions)}: sampled"

    def apply(self, model: Model, document: Document) -> Document:
        regions, head = self.scope.resolve(), document.head
        after = editing.sample(model, head, regions, self.seed, 1.0, self.scope.mirror)
        return document.with_head(self.scope.keep_locked(head, after))


@dataclass(frozen=True)
class CopyRegions:
    """Copy the regions from another head of the session."""

    scope: Scope
    other: str
    """Name of the other head."""
    strength: float = 1.0
    """1 copies the regions, 0.5 goes half way."""

    @property
    def label(self) -> str:
        return f"{regions_label(self.scope.regions)}: from {self.other}"

    def apply(self, model: Model, document: Document) -> Document:
        regions, head = self.scope.resolve(), document.head
        other = document.named(self.other).codes
        after = editing.from_other(model, head, other, regions, self.strength, self.scope.mirror)
        return document.with_head(self.scope.keep_locked(head, after))


@dataclass(frozen=True)
class BlendHeads:
    """Replace the regions by a weighted mean over several heads of the session."""

    scope: Scope
    shares: tuple[tuple[str, float], ...]
    """(name, weight) of two to six heads; the weights are normalized to sum to 1."""

    @property
    def label(self) -> str:
        return f"{regions_label(self.scope.regions)}: blend of {', '.join(name for name, _ in self.shares)}"

    @property
    def control(self) -> str:
        return f"blend {self.scope}"

    def apply(self, model: Model, document: Document) -> Document:
        if not 2 <= len(self.shares) <= MOST_BLENDED:
            raise InputError(f"a blend needs 2 to {MOST_BLENDED} heads, not {len(self.shares)}")
        total = sum(share for _, share in self.shares)
        if min(share for _, share in self.shares) < 0.0 or not total > 0.0:
            raise InputError("the shares of a blend must be 0 or more, and not all 0; raise one of them")
        regions, head = self.scope.resolve(), document.head
        others = [(document.named(name).codes, share / total) for name, share in self.shares]
        after = editing.blend(model, head, others, regions, self.scope.mirror)
        return document.with_head(self.scope.keep_locked(head, after))


@dataclass(frozen=True)
class SetMeasurement:
    """Change the regions so that a measurement of the face reaches a value, in the most plausible way."""

    scope: Scope
    name: str
    """Name of the measurement, as in the table of measurements."""
    value: float
    """Target value, mm or degrees."""

    @property
    def label(self) -> str:
        unit = measurement(self.name).unit
        return f"{regions_label(self.scope.regions)}: {readable_name(self.name)} to {self.value:.1f} {unit}"

    def apply(self, model: Model, document: Document) -> Document:
        regions, head = self.scope.resolve(), document.head
        now = face_measurements(model, head)[measurement(self.name).name]
        change = self.value - now
        try:
            after, _ = editing.reach_targets(model, head, regions, {self.name: change}, self.scope.mirror)
        except editing.OutOfReach as error:
            unit, nearest = measurement(self.name).unit, _inside(error.nearest[self.name], now)
            raise editing.OutOfReach(
                f"{readable_name(self.name)} cannot become {self.value:.1f} {unit} here; "
                f"the nearest value that the selection reaches is {nearest:.1f} {unit}",
                {self.name: nearest},
            ) from error
        return document.with_head(self.scope.keep_locked(head, after))


@dataclass(frozen=True)
class ResetRegions:
    """Restore the regions to what they were when the head was added to the session."""

    scope: Scope

    @property
    def label(self) -> str:
        return f"{regions_label(self.scope.regions)}: reset"

    def apply(self, model: Model, document: Document) -> Document:
        head = document.head
        rows = [region.index for region in self.scope.resolve()]
        if self.scope.mirror:
            rows += [REGIONS[row].mirror for row in rows]
        offsets = np.array(head.offsets)
        offsets[rows] = document.current.origin.offsets[rows]
        after = replace(head, offsets=offsets, provenance=(*head.provenance, self.label))
        chosen = tuple(REGIONS[row] for row in sorted(set(rows)))
        after = editing.with_eyes_moved(after, chosen, document.current.origin.eyes - head.eyes, False)
        return document.with_head(self.scope.keep_locked(head, after))


def reachable_range(model: Model, head: Head, scope: Scope, name: str) -> tuple[float, float]:
    """The least and the largest value of a measurement that an edit of the scope reaches, mm or degrees.

    Raises:
        InputError: no region is selected, or these regions do not move it.
    """
    regions, now = scope.resolve(), face_measurements(model, head)[measurement(name).name]
    ends = []
    for change in (-_BEYOND, _BEYOND):
        try:
            editing.reach_targets(model, head, regions, {name: change}, scope.mirror)
            ends.append(now + change)
        except editing.OutOfReach as error:
            ends.append(_inside(error.nearest[name], now))
    return ends[0], ends[1]


def _inside(nearest: float, now: float) -> float:
    """The last value that can be reached, to one decimal as a person types it, rounded towards the present one."""
    rounded = (math.floor if nearest > now else math.ceil)(round(10.0 * nearest, 6)) / 10.0
    return rounded if (rounded - now) * (nearest - now) > 0.0 else nearest


def face_measurements(model: Model, head: Head) -> dict[str, float]:
    """Every measurement of a head's neutral face by name, mm or degrees.

    Raises:
        InputError: the model has no template, on which the landmarks lie.
    """
    return values(landmark_points(model).on_head(model, head))


def _note(what: str, sigma: float, move: Move) -> str:
    """Where a slider that was moved to `sigma` ends, and why; empty if it was not stopped."""
    return f"{what} ends at {sigma - move.asked + move.reached:+.2f} σ here: {move.stop}" if move.stop else ""


def _check_sigma(sigma: float) -> None:
    if not abs(sigma) <= MOST_SIGMA:
        raise InputError(
            f"{sigma:g} standard deviations is outside -{MOST_SIGMA:g} to {MOST_SIGMA:g}; choose a value inside"
        )
