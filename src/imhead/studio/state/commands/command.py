"""What commands share: the interface, and the regions an edit may change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.regions import REGIONS, Region, groups, resolve
from imhead.studio.state.document import Document
from imhead.studio.state.labels import regions_label
from imhead.types import Head


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
    """A command of a control that moves, such as a slider: only its last value becomes a step."""

    @property
    def control(self) -> str:
        """Identifies the control: a draft replaces an earlier one of the same control."""
        ...


@dataclass(frozen=True)
class Scope:
    """The regions a command may change. Locked ones keep their codes, bit for bit."""

    regions: tuple[str, ...]
    """Names of the selected regions, in region order."""
    mirror: bool = False
    """Whether the change is mirrored to the other side."""
    locked: frozenset[str] = frozenset()
    """Names of the regions that must not change."""

    def resolve(self) -> tuple[Region, ...]:
        """The selected regions that are not locked.

        Raises:
            InputError: no region is selected, or all of them are locked.
        """
        if not self.regions:
            raise InputError("no region is selected; click one on the head first")
        free = tuple(region for region in resolve(self.regions) if region.name not in self.locked)
        if not free:
            raise InputError(f"{regions_label(self.regions)} is locked; unlock it first")
        return free

    def keep_locked(self, before: Head, after: Head) -> Head:
        """`after`, with the locked regions as in `before`."""
        rows = [region.index for region in REGIONS if region.name in self.locked]
        if not rows:
            return after
        offsets = np.array(after.offsets)
        offsets[rows] = before.offsets[rows]
        eyes = np.array(after.eyes)
        for side, name in enumerate(("left_eye", "right_eye")):
            if not self.locked.isdisjoint(groups()[name]):
                eyes[side] = before.eyes[side]
        return replace(after, offsets=offsets, eyes=eyes)
