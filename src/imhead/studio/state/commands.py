"""Everything that a person can do to a document, as values: a command and a document in, a document out.

A command that edits regions leaves those that are locked as they are, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from imhead import editing
from imhead.checkpoint import Model
from imhead.editing.steps import stepped
from imhead.errors import InputError
from imhead.isosurface.field import code_of_weights, expression_weights
from imhead.measure.carrier import landmark_points
from imhead.measure.table import measurement, values
from imhead.regions import REGIONS, Region, groups, resolve
from imhead.studio.state.document import Document
from imhead.studio.state.scores import direction_step, leading, named_directions, region_scores, word_score, word_step
from imhead.template.surface import arkit_weights
from imhead.types import FloatArray, Head

MOST_SIGMA = 4.0
"""How far a slider goes from the mean, in standard deviations."""
MOST_BLENDED = 6
"""Heads that can be blended at once."""


@dataclass(frozen=True)
class Scope:
    """Which part of the head a command may touch."""

    regions: tuple[str, ...]
    """Names of the regions, in region order."""
    mirror: bool = False
    """Whether the other side follows."""
    locked: frozenset[str] = frozenset()
    """Regions that stay as they are."""

    def resolve(self) -> tuple[Region, ...]:
        """The regions that may change.

        Raises:
            InputError: none was chosen, or all of them are locked.
        """
        if not self.regions:
            raise InputError("no region is selected; click one on the head first")
        free = tuple(region for region in resolve(self.regions) if region.name not in self.locked)
        if not free:
            raise InputError(f"{words(self.regions)} is locked; take the lock off first")
        return free

    def kept(self, before: Head, after: Head) -> Head:
        """`after`, with the locked regions as they were."""
        rows = [region.index for region in REGIONS if region.name in self.locked]
        if not rows:
            return after
        offsets = np.array(after.offsets)
        offsets[rows] = before.offsets[rows]
        return replace(after, offsets=offsets)


class Command(Protocol):
    """A change that can be undone."""

    @property
    def label(self) -> str:
        """One line for the list of steps."""
        ...

    def apply(self, model: Model, document: Document) -> Document:
        """The document after the change.

        Raises:
            InputError: it cannot be done; the message says why and what to do.
        """
        ...


class Draft(Command, Protocol):
    """A command of a control that moves, such as a slider: only the place where it rests becomes a step."""

    @property
    def control(self) -> str:
        """Names the control: a draft replaces an earlier one of the same control."""
        ...


@dataclass(frozen=True)
class MoveAlong:
    """Put the regions at a place along one of their principal directions."""

    scope: Scope
    direction: int
    """Which one, the largest first."""
    sigma: float
    """Where: 0 is the mean of people, 1 one standard deviation."""

    @property
    def label(self) -> str:
        return f"{words(self.scope.regions)}: shape {self.direction + 1} at {self.sigma:+.2f} σ"

    @property
    def control(self) -> str:
        return f"{self.scope} {self.direction}"

    def apply(self, model: Model, document: Document) -> Document:
        _check_sigma(self.sigma)
        regions, head, mirror = self.scope.resolve(), document.head, self.scope.mirror
        scores = region_scores(model, head, regions, mirror)
        if not 0 <= self.direction < len(scores):
            raise InputError(f"{words(self.scope.regions)} has shapes 1 to {len(scores)}, not {self.direction + 1}")
        step = direction_step(model, regions, mirror, self.direction)
        delta = (self.sigma - float(scores[self.direction])) * step
        after = stepped(model, head, leading(regions, mirror), delta, mirror, f"shape {self.direction + 1}")
        return document.with_head(self.scope.kept(head, after))


@dataclass(frozen=True)
class MoveByWord:
    """Put the regions at a place along a named direction."""

    scope: Scope
    word: str
    """Such as `wider`; the regions' `named_directions` list them."""
    sigma: float
    """Where: 0 is the mean of people, 1 one standard deviation."""

    @property
    def label(self) -> str:
        return f"{words(self.scope.regions)}: {self.word} at {self.sigma:+.2f} σ"

    @property
    def control(self) -> str:
        return f"{self.scope} {self.word}"

    def apply(self, model: Model, document: Document) -> Document:
        _check_sigma(self.sigma)
        regions, head, mirror = self.scope.resolve(), document.head, self.scope.mirror
        known = named_directions(model, regions, mirror)
        if self.word not in known:
            listed = f"they have {', '.join(known)}" if known else "use their shapes"
            raise InputError(f"{words(self.scope.regions)} have no direction {self.word!r}; {listed}")
        missing = self.sigma - word_score(model, head, regions, mirror, self.word)
        delta = missing * word_step(model, regions, mirror, self.word)
        after = stepped(model, head, leading(regions, mirror), delta, mirror, f"{self.word} at {self.sigma:g} sigma")
        return document.with_head(self.scope.kept(head, after))


@dataclass(frozen=True)
class SampleRegions:
    """Draw the regions anew."""

    scope: Scope
    seed: int
    strength: float = 1.0

    @property
    def label(self) -> str:
        return f"{words(self.scope.regions)}: sampled"

    def apply(self, model: Model, document: Document) -> Document:
        regions, head = self.scope.resolve(), document.head
        after = editing.sample(model, head, regions, self.seed, self.strength, self.scope.mirror)
        return document.with_head(self.scope.kept(head, after))


@dataclass(frozen=True)
class TakeFrom:
    """Take the regions from another head of the library."""

    scope: Scope
    other: str
    """Its name."""
    strength: float = 1.0
    """1 is all of it, 0.5 half way."""

    @property
    def label(self) -> str:
        return f"{words(self.scope.regions)}: from {self.other}"

    def apply(self, model: Model, document: Document) -> Document:
        regions, head = self.scope.resolve(), document.head
        other = document.named(self.other).codes
        after = editing.from_other(model, head, other, regions, self.strength, self.scope.mirror)
        return document.with_head(self.scope.kept(head, after))


@dataclass(frozen=True)
class BlendHeads:
    """Make the regions a mixture of those of several heads of the library."""

    scope: Scope
    shares: tuple[tuple[str, float], ...]
    """(name, share) of two to six heads; shares are taken relative to their sum."""

    @property
    def label(self) -> str:
        return f"{words(self.scope.regions)}: blend of {', '.join(name for name, _ in self.shares)}"

    @property
    def control(self) -> str:
        return f"blend {self.scope}"

    def apply(self, model: Model, document: Document) -> Document:
        if not 2 <= len(self.shares) <= MOST_BLENDED:
            raise InputError(f"a blend needs 2 to {MOST_BLENDED} heads, not {len(self.shares)}")
        total = sum(share for _, share in self.shares)
        if min(share for _, share in self.shares) < 0.0 or not total > 0.0:
            raise InputError("the shares of a blend must be 0 or more, and not all 0; move one of them up")
        regions, head = self.scope.resolve(), document.head
        others = [(document.named(name).codes, share / total) for name, share in self.shares]
        after = editing.blend(model, head, others, regions, self.scope.mirror)
        return document.with_head(self.scope.kept(head, after))


@dataclass(frozen=True)
class SetMeasurement:
    """Bring a measurement of the face to a value by the most plausible change of the regions."""

    scope: Scope
    name: str
    """As in the table of measurements."""
    value: float
    """mm or degrees."""

    @property
    def label(self) -> str:
        return f"{words(self.scope.regions)}: {plain(self.name)} to {self.value:.1f}"

    def apply(self, model: Model, document: Document) -> Document:
        regions, head = self.scope.resolve(), document.head
        change = self.value - measured(model, head)[measurement(self.name).name]
        after = editing.reach_targets(model, head, regions, {self.name: change}, self.scope.mirror).head
        return document.with_head(self.scope.kept(head, after))


@dataclass(frozen=True)
class ResetRegions:
    """Put the regions back to what they were when the head came into the library."""

    scope: Scope

    @property
    def label(self) -> str:
        return f"{words(self.scope.regions)}: reset"

    def apply(self, model: Model, document: Document) -> Document:
        head = document.head
        rows = [region.index for region in self.scope.resolve()]
        if self.scope.mirror:
            rows += [REGIONS[row].mirror for row in rows]
        offsets = np.array(head.offsets)
        offsets[rows] = document.current.origin.offsets[rows]
        after = replace(head, offsets=offsets, provenance=(*head.provenance, self.label))
        return document.with_head(self.scope.kept(head, after))


@dataclass(frozen=True)
class SetExpression:
    """Give the head an expression."""

    weights: tuple[tuple[str, float], ...]
    """(ARKit name, weight from 0 to 1); names that are left out are 0."""

    @property
    def label(self) -> str:
        shown = [f"{name} {weight:.2f}" for name, weight in self.weights if weight > 0.0]
        if len(shown) > 3:
            return f"expression: {len(shown)} shapes"
        return f"expression: {', '.join(shown) or 'neutral'}"

    @property
    def control(self) -> str:
        return "expression"

    def apply(self, model: Model, document: Document) -> Document:
        code = code_of_weights(model, expression_weights(dict(self.weights)))
        return document.with_head(replace(document.head, z_exp=code))


@dataclass(frozen=True, eq=False)
class AddHead:
    """Put a head into the library and show it."""

    name: str
    head: Head

    @property
    def label(self) -> str:
        return f"new head: {self.name}"

    def apply(self, model: Model, document: Document) -> Document:
        if self.head.model_hash != model.hash:
            raise InputError(f"{self.name}: was made by model {self.head.model_hash}, this session uses {model.hash}")
        return document.with_added(self.name, self.head)


@dataclass(frozen=True)
class RandomHead:
    """Draw a new head."""

    seed: int
    spread: float = 0.8
    """Standard deviation of its identity code; below 1 stays plausible."""

    @property
    def label(self) -> str:
        return f"new head: random {self.seed}"

    def apply(self, model: Model, document: Document) -> Document:
        z_id = np.random.default_rng(self.seed).normal(0.0, self.spread, model.net.config.identity_size)
        line = f"random head of seed {self.seed}, spread {self.spread:g}"
        head = replace(model.neutral(), z_id=z_id, provenance=(line,))
        return document.with_added(f"random {self.seed}", head)


@dataclass(frozen=True)
class ShowHead:
    """Go on with another head of the library."""

    name: str

    @property
    def label(self) -> str:
        return f"show {self.name}"

    def apply(self, model: Model, document: Document) -> Document:
        document.named(self.name)
        return replace(document, active=document.names().index(self.name))


@dataclass(frozen=True)
class DropHead:
    """Take the head that is shown out of the library."""

    @property
    def label(self) -> str:
        return "head taken out"

    def apply(self, model: Model, document: Document) -> Document:
        if len(document.heads) == 1:
            raise InputError("this is the only head of the session; add another one first")
        heads = (*document.heads[: document.active], *document.heads[document.active + 1 :])
        return Document(heads, max(document.active - 1, 0))


def measured(model: Model, head: Head) -> dict[str, float]:
    """Every measurement of the neutral face by name, mm or degrees.

    Raises:
        InputError: the model has no template, which carries the landmarks.
    """
    return values(landmark_points(model).on_head(model, head))


def shown_expression(model: Model, head: Head) -> FloatArray:
    """ARKit weights (52,) that a head's expression code stands for, within 0 to 1."""
    weights: FloatArray = np.clip(arkit_weights(model, head.z_exp), 0.0, 1.0)
    return weights


def words(regions: tuple[str, ...]) -> str:
    """What a person calls some regions: the group where it is a whole one, else their names."""
    chosen = set(regions)
    for group, members in groups().items():
        if chosen == set(members):
            return plain(group)
    if chosen == {region.name for region in REGIONS}:
        return "whole head"
    shown = [plain(name) for name in regions]
    return ", ".join(shown) if len(shown) <= 3 else f"{shown[0]}, {shown[1]} and {len(shown) - 2} more"


def _check_sigma(sigma: float) -> None:
    if not abs(sigma) <= MOST_SIGMA:
        raise InputError(f"{sigma:g} standard deviations is outside -{MOST_SIGMA:g} to {MOST_SIGMA:g}")


def plain(name: str) -> str:
    """A name without underscores."""
    return name.replace("_", " ")
