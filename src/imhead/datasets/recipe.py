"""How a data set is drawn: shares of sources and splits, seeds, and the demographics of the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imhead.datasets.curated import CuratedPeople
from imhead.datasets.identities import Identity, Shape
from imhead.datasets.manifest import SOURCES, SPLITS
from imhead.errors import InputError
from imhead.sources.anny import PHENOTYPES, AnnyModel, Person
from imhead.sources.anny_people import draw_person
from imhead.sources.compose import ComposeConfig, draw_composition
from imhead.sources.deformations import DeformationConfig

HELD_OUT_SEED = 1_000_000
"""Identity seeds from this up to twice this are held out; see `identity_seed`."""
_VALIDATION_SEED = 500_000
SHARES = {"ict": 0.3, "compose": 0.45, "anny": 0.25}
"""Share of the identities from each source; the shares of the chosen sources are normalised to sum to one."""
SCANS_SHARE = 0.25
"""That of scanned people, where they are among the sources."""
MOST_REPEATS = 8
"""A scanned person makes up for a larger share by this many identities at most, each with expressions of its own."""


@dataclass(frozen=True)
class Recipe:
    """How a data set is drawn."""

    shares: dict[str, float] = field(default_factory=lambda: dict(SHARES))
    """Share of the identities from each source; normalised to sum to one."""
    identities: int = 4000
    """Number of identities."""
    expressions: int = 12
    """Number of expressions of each identity; the first is neutral."""
    seed: int = 0
    """Seed of identities and expressions."""
    validation: float = 0.025
    """Share of the identities for validation."""
    heldout: float = 0.05
    """Share of the identities that are held out from training."""
    compose: ComposeConfig = field(default_factory=lambda: ComposeConfig(composed_fraction=1.0))
    """How heads of source `compose` are drawn; a head of `ict` has one parent only."""
    deformation: DeformationConfig | None = field(default_factory=DeformationConfig)
    """How the smooth deformations of all heads are drawn; None for none."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.shares) - set(SOURCES))
        if unknown or not self.shares:
            raise InputError(f"source {', '.join(unknown) or 'none'}: use one or more of {', '.join(SOURCES)}")
        if any(not 0.0 < share <= 1e6 for share in self.shares.values()):
            raise InputError(f"shares of sources {self.shares}: each must be a positive number")
        if not (1 <= self.identities <= 500_000 and 1 <= self.expressions <= 1000 and 0 <= self.seed < 1000):
            raise InputError(
                f"{self.identities} identities with {self.expressions} expressions, seed {self.seed}: "
                "use up to 500000, up to 1000, and a seed below 1000"
            )
        if not (self.validation >= 0.0 and self.heldout >= 0.0 and self.validation + self.heldout < 1.0):
            raise InputError("the shares of validation and heldout leave no identity to train on; make them smaller")


def identity_seed(seed: int, split: str, number: int) -> int:
    """Seed of the `number`th identity of a split; unique over all splits and all seeds of data sets.

    A seed, modulo 2 · `HELD_OUT_SEED`, is held out if it is `HELD_OUT_SEED` or more. Each identity draws its own
    parents, so a held-out head shares none with a training head.
    """
    first = {"train": 0, "validation": _VALIDATION_SEED, "heldout": HELD_OUT_SEED}[split]
    return 2 * HELD_OUT_SEED * seed + first + number


def draw_identities(recipe: Recipe, anny: AnnyModel | None, scans: CuratedPeople | None = None) -> list[Identity]:
    """The identities of a recipe, ordered by split; within a split the sources are in random order.

    Scanned people stay in the split of their person. All of them are taken, and repeated up to their source's share.
    """
    heldout, validation = (round(share * recipe.identities) for share in (recipe.heldout, recipe.validation))
    counts = dict(zip(SPLITS, (recipe.identities - heldout - validation, validation, heldout)))
    plain = ComposeConfig(composed_fraction=0.0, spread=recipe.compose.spread)
    rows: list[Identity] = []
    for split, count in counts.items():
        rng = np.random.default_rng([0xDA7A, recipe.seed, SPLITS.index(split)])
        people = () if scans is None else scans.of_split(split)
        names = shuffled_sources(recipe.shares, count, rng, len(people))
        taken = 0
        for number, name in enumerate(names):
            seed = identity_seed(recipe.seed, split, number)
            shape: Shape
            if name == "scans":
                shape = people[taken % len(people)]
                taken += 1
            elif name == "anny":
                assert anny is not None
                shape = draw_person(anny, seed)
            else:
                shape = draw_composition(seed, plain if name == "ict" else recipe.compose)
            rows.append(Identity(len(rows), name, seed, split, shape))
    return rows


def shuffled_sources(shares: dict[str, float], count: int, rng: np.random.Generator, people: int = 0) -> list[str]:
    """`count` names of sources in random order, each in proportion to its share, to within one.

    Args:
        people: scanned people; `scans` has at least this many, and at most `MOST_REPEATS` times as many. The list
            grows or shrinks where the other sources cannot make up for them.
    """
    if "scans" in shares:
        total = sum(shares.values())
        wanted = round(shares["scans"] / total * count)
        of_scans = min(max(wanted, people), MOST_REPEATS * people)
        rest = {name: share for name, share in shares.items() if name != "scans"}
        others = shuffled_sources(rest, max(count - of_scans, 0), rng) if rest else []
        return [str(name) for name in rng.permutation(np.array([*others, *("scans",) * of_scans], dtype=object))]
    names = [name for name in SOURCES if name in shares]
    exact = np.array([shares[name] for name in names]) / sum(shares.values()) * count
    whole = np.floor(exact).astype(int)
    for row in np.argsort(whole - exact, kind="stable")[: count - whole.sum()]:
        whole[row] += 1
    return [str(name) for name in rng.permutation(np.repeat(names, whole))]


def spread_rows(identities: Sequence[Identity], expressions: int, count: int) -> list[tuple[Identity, int]]:
    """`count` pairs of an identity and the index of an expression, which cycle through sources and expressions."""
    of_source = [[k for k in identities if k.source == name] for name in SOURCES]
    of_source = [rows for rows in of_source if rows]
    pairs = []
    for k in range(count):
        turn, number = divmod(k, len(of_source))
        rows = of_source[number]
        # each source starts at another expression
        expression = (turn + number * expressions // len(of_source)) % expressions
        pairs.append((rows[turn * len(rows) // (count // len(of_source) + 1)], expression))
    return pairs


def demographics(identities: Sequence[Identity], anny: AnnyModel | None) -> dict[str, Any] | None:
    """Ages, gender and ancestry of identities of Anny, from their parameters; None for other sources."""
    people = [identity.shape for identity in identities if isinstance(identity.shape, Person)]
    if not people or anny is None:
        return None
    table = dict(zip(PHENOTYPES, np.stack([person.phenotype for person in people]).T))
    years = np.array([anny.years(age) for age in table["age"]])
    bands = ((0, 2), (3, 11), (12, 17), (18, 39), (40, 64), (65, 120))
    ages = {f"{low}-{high}": int(((years >= low) & (years < high + 1)).sum()) for low, high in bands}
    return {
        "years": ages,
        "gender": {"female": int((table["gender"] > 0.5).sum()), "male": int((table["gender"] <= 0.5).sum())},
        "mean_ancestry": {name: round(float(table[name].mean()), 3) for name in PHENOTYPES[:3]},
    }
