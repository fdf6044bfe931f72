"""What can be done with a head: edits, and the comparison of two; what it shows and measures is in `api/drawn.py` and
`api/measured.py`.

The examples run as they stand, after `import imhead`, `model = imhead.load()` and `head = model.sample(seed=7)[0]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imhead import editing
from imhead.api.checks import (
    checked_changes,
    checked_labels,
    checked_number,
    checked_regions,
    checked_resolution,
    checked_seed,
    checked_strength,
    checked_whole,
)
from imhead.api.drawn import DrawnHead, RegionNames
from imhead.editing import Move, Reached, Side
from imhead.errors import InputError
from imhead.reports.comparison import compare_heads
from imhead.types import Head


@dataclass(frozen=True, eq=False, repr=False)
class EditableHead(DrawnHead):
    """A head together with the model that draws it. Immutable: an edit returns a new head.

    Every edit changes the codes of the regions that it names and no others, so nothing moves outside their balls.
    All edits raise `InputError` for an unknown region, and for an edit that cannot be made.
    """

    def __repr__(self) -> str:
        """
        >>> head
        EditableHead(default, sample 0 of seed 7, spread 0.8; no edits)
        """
        first, *edits = self.codes.provenance or ("unknown origin",)
        told = "no edits" if not edits else f"{len(edits)} edit{'s' * (len(edits) > 1)}, last {edits[-1]}"
        return f"EditableHead({self.model.name}, {first}; {told})"

    def sample(self, regions: RegionNames, seed: int, strength: float = 1.0, mirror: bool = False) -> EditableHead:
        """Draw the regions at random, as people vary while their other regions stay about the same.

        Args:
            regions: names of regions or groups.
            seed: the same seed draws the same regions.
            strength: 1 is the spread of the identities that the model knows.
            mirror: make the same change on the other side.

        >>> head.sample("nose", seed=7, strength=1.5)
        EditableHead(default, sample 0 of seed 7, spread 0.8; 1 edit, last left_nostril, ...)
        """
        chosen = checked_regions(regions)
        return self._with(
            editing.sample(self.model, self.codes, chosen, checked_seed(seed), checked_strength(strength), mirror)
        )

    def take_from(
        self, regions: RegionNames, other: EditableHead, strength: float = 1.0, mirror: bool = False
    ) -> EditableHead:
        """Take the regions from another head of the same model; `strength` 0.5 goes half way.

        >>> head.take_from("mouth", model.sample(seed=8)[0]).codes.provenance[-1]
        'left_mouth_corner, ...: taken from a head (sample 0 of seed 8, spread 0.8), strength 1'
        """
        chosen = checked_regions(regions)
        self._check_model(other)
        codes = editing.from_other(self.model, self.codes, other.codes, chosen, checked_strength(strength), mirror)
        return self._with(codes)

    def blend(
        self, regions: RegionNames, others: Sequence[tuple[EditableHead, float]], mirror: bool = False
    ) -> EditableHead:
        """Mix the regions with those of other heads.

        Args:
            regions: names of regions or groups.
            others: heads and their weights, each at least 0, together at most 1; the rest of 1 stays this head's own.
            mirror: make the same change on the other side.

        >>> first, second = model.sample(2, seed=8)
        >>> head.blend("ears", [(first, 0.3), (second, 0.3)]).codes.offsets.shape
        (39, 64)
        """
        given = list(others) if isinstance(others, Sequence) else []
        pairs = [pair for pair in given if isinstance(pair, tuple) and len(pair) == 2]
        if not pairs or len(pairs) < len(given):
            raise InputError("a blend needs at least one other head and its weight, as [(head, 0.5)]")
        for other, _ in pairs:
            self._check_model(other)
        mixed = [(other.codes, checked_number("a weight", weight, 0.0, 1.0)) for other, weight in pairs]
        return self._with(editing.blend(self.model, self.codes, mixed, checked_regions(regions), mirror))

    def along(
        self, regions: RegionNames, direction: str | int, strength: float = 1.0, mirror: bool = False
    ) -> EditableHead:
        """Step along a named direction of the regions, or along one of their principal directions.

        A word changes one reading, such as the width of the nose, and leaves those of the regions' other words. A
        number changes the shape and leaves them all. Either ends where the skin would tear, fold or be pierced.

        Args:
            regions: names of regions or groups.
            direction: a word such as `wider` (an unknown one is refused with the words that there are), or the number
                of a principal direction, from 0.
            strength: standard deviations of the identities that the model knows; negative goes the other way.
            mirror: make the same change on the other side.

        >>> wider = head.along("nose", "wider", 1.0)
        >>> wider.measure()["alar_width"] > head.measure()["alar_width"]
        True
        """
        return self.by_direction(regions, direction, strength, mirror)[0]

    def by_direction(
        self, regions: RegionNames, direction: str | int, strength: float = 1.0, mirror: bool = False
    ) -> tuple[EditableHead, Move]:
        """As `along`: the edited head, and how far it went; `stop` says what ended the move, if anything did.

        >>> wider, move = head.by_direction("nose", "wider", 1.0)
        >>> move.reached, move.stop
        (1.0, '')
        """
        chosen, strength = checked_regions(regions), checked_strength(strength)
        if isinstance(direction, str):
            move = editing.along_word(self.model, self.codes, chosen, direction, strength, mirror)
        else:
            number = checked_whole("the direction", direction, 0, self.model.net.config.identity_size - 1)
            move = editing.along_shape(self.model, self.codes, chosen, number, strength, mirror)
        return self._with(move.head), move

    def reach_target(self, regions: RegionNames, changes: Mapping[str, float], mirror: bool = False) -> EditableHead:
        """Change measurements by given amounts, and keep the regions' other lengths.

        Args:
            regions: names of regions or groups.
            changes: measurement → change in its own unit, mm or degrees. A change that is too large is refused, with
                the nearest one that can be reached.
            mirror: make the same change on the other side.

        >>> shorter = head.reach_target("nose", {"tip_projection": -1.0})
        >>> round(shorter.measure()["tip_projection"] - head.measure()["tip_projection"], 1)
        -1.0
        """
        return self.by_number(regions, changes, mirror)[0]

    def by_number(
        self, regions: RegionNames, changes: Mapping[str, float], mirror: bool = False
    ) -> tuple[EditableHead, Reached]:
        """As `reach_target`: the edited head, and what was reached, what was held, and what else moved.

        >>> shorter, reached = head.by_number("nose", {"tip_projection": -1.0})
        >>> sorted(reached.held)
        ['alar_base_width', 'alar_width', ...]
        """
        chosen, wanted = checked_regions(regions), checked_changes(changes)
        codes, reached = editing.reach_targets(self.model, self.codes, chosen, wanted, mirror)
        return self._with(codes), reached

    def symmetrise(self, regions: RegionNames, side: Side = "average") -> EditableHead:
        """Make both sides of the regions alike: like the `left`, like the `right`, or like their `average`.

        >>> head.symmetrise("ears", "left").codes.provenance[-1]
        'left_ear_helix, ...: both sides like the left'
        """
        return self._with(editing.symmetrised(self.model, self.codes, checked_regions(regions), side))

    def limit(self, regions: RegionNames, sigma: float = editing.USUAL_SIGMA) -> EditableHead:
        """Bring every region that lies beyond `sigma` standard deviations from the mean back to that distance.

        >>> wild = head.sample("chin", seed=3, strength=6.0)
        >>> wild.limit("chin").codes.provenance[-1]
        'chin: within 2 sigma'
        """
        chosen, most = checked_regions(regions), checked_number("the limit", sigma, 1e-3, 100.0, "2 is usual")
        return self._with(editing.nearest_plausible(self.model, self.codes, chosen, most))

    def edit(
        self, regions: RegionNames, *, strength: float | None = None, mirror: bool | None = None, **kind: Any
    ) -> EditableHead:
        """One edit, with the options of `imhead edit` as keywords, each of which is one of the methods above.

        Exactly one kind is needed: `sample` a seed, `source` another head to take from, `blend` heads and weights,
        `direction` a word or a number, `target` changes of measurements, `symmetry` a side, `plausible` a limit.

        >>> head.edit("nose", sample=7, strength=1.5)
        EditableHead(default, sample 0 of seed 7, spread 0.8; 1 edit, last left_nostril, ...)
        """
        given = {name: value for name, value in kind.items() if value is not None}
        if len(given) != 1 or not given.keys() <= _EDITS.keys():
            raise InputError(f"an edit needs exactly one of {', '.join(_EDITS)}; given: {', '.join(given) or 'none'}")
        ((name, value),) = given.items()
        method, takes = _EDITS[name]
        options = {key: option for key, option in (("strength", strength), ("mirror", mirror)) if option is not None}
        for option in sorted(options.keys() - takes):
            raise InputError(f"an edit by {name} has no {option}; leave it out")
        return method(self, regions, value, **options)

    def compare(
        self,
        other: EditableHead,
        out: str | Path,
        regions: RegionNames = (),
        labels: tuple[str, str] = ("before", "after"),
        resolution: int = 256,
    ) -> dict[str, Any]:
        """What changed from this head to another: `report.json`, `heatmap.png` and `report.html` in the folder `out`.

        Args:
            other: the head after; of the same model.
            out: folder, made where missing.
            regions: the regions that were edited, for figures inside and outside of them.
            labels: what the report calls the two heads.
            resolution: cells along the longest side of the bounds.

        Returns:
            What `report.json` holds: movement in mm, volumes in ml, measurements.

        >>> report = head.compare(head.along("nose", "wider"), out, "nose", resolution=64)
        >>> report["movement_mm"]["outside"]["max"]
        0.0
        """
        self._check_model(other)
        return compare_heads(
            self.model, self.codes, other.codes, Path(out),
            regions=checked_regions(regions) if len(regions) else (), labels=checked_labels(labels),
            resolution=checked_resolution(resolution),
        )  # fmt: skip

    def _with(self, codes: Head) -> EditableHead:
        return EditableHead(codes, self.model)

    def _check_model(self, other: EditableHead) -> None:
        if not isinstance(other, EditableHead):
            raise InputError(f"the other head is {other!r}; open one from its file, or draw one")
        if other.model.hash != self.model.hash:
            raise InputError(
                f"the other head belongs to model {other.model.name!r} ({other.model.hash}), this one to "
                f"{self.model.name!r} ({self.model.hash}); codes of two models do not mix"
            )


_EDITS: dict[str, tuple[Callable[..., EditableHead], frozenset[str]]] = {
    "sample": (EditableHead.sample, frozenset({"strength", "mirror"})),
    "source": (EditableHead.take_from, frozenset({"strength", "mirror"})),
    "blend": (EditableHead.blend, frozenset({"mirror"})),
    "direction": (EditableHead.along, frozenset({"strength", "mirror"})),
    "target": (EditableHead.reach_target, frozenset({"mirror"})),
    "symmetry": (EditableHead.symmetrise, frozenset()),
    "plausible": (EditableHead.limit, frozenset()),
}
"""Keyword of `edit` → the method that it stands for, and the options that go with it."""
