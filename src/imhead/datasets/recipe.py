"""How a data set is drawn: shares of sources and splits, seeds, and what is known of the people in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imhead.datasets.identities import Identity
from imhead.datasets.manifest import SOURCES, SPLITS
from imhead.errors import InputError
from imhead.sources.anny import PHENOTYPES, AnnyModel, Person
from imhead.sources.anny_people import draw_person
from imhead.sources.compose import ComposeConfig, Composition, draw_composition

HELD_OUT_SEED = 1_000_000
"""Identity seeds from here to twice this are never trained on; see `identity_seed`."""
_VALIDATION_SEED = 500_000
SHARES = {"ict": 0.3, "compose": 0.45, "anny": 0.25}
"""Share of the identities from each source; those of the sources that are asked for are made to sum to one."""


@dataclass(frozen=True)
class Recipe:
    """How a data set is drawn."""

    shares: dict[str, float] = field(default_factory=lambda: dict(SHARES))
    """Share of the identities from each source."""
    identities: int = 4000
    """Identities in all."""
    expressions: int = 12
    """Expressions of each identity, neutral first."""
    seed: int = 0
    """Another seed draws other identities, and other expressions of them."""
    validation: float = 0.025
    """Share of the identities that training is watched on."""
    heldout: float = 0.05
    """Share of the identities that training never sees."""
    compose: ComposeConfig = field(default_factory=lambda: ComposeConfig(composed_fraction=1.0))
    """How the heads of source `compose` are drawn; `ict` draws as it does, but one parent each."""

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
            raise InputError("the shares of validation and heldout leave nothing to train on; make them smaller")


def identity_seed(seed: int, split: str, number: int) -> int:
    """Seed of the `number`th identity of a split. No seed is used twice, whatever the data sets' own seeds are.

    Heads of other seeds have nothing in common: each draws its own parents. So a head with a seed from
    `HELD_OUT_SEED` up (in each block of twice that) shares no parent with one that is trained on.
    """
    first = {"train": 0, "validation": _VALIDATION_SEED, "heldout": HELD_OUT_SEED}[split]
    return 2 * HELD_OUT_SEED * seed + first + number


def draw_identities(recipe: Recipe, anny: AnnyModel | None) -> list[Identity]:
    """The identities of a recipe: splits one after the other, the sources in each mixed by their shares."""
    heldout, validation = (round(share * recipe.identities) for share in (recipe.heldout, recipe.validation))
    counts = dict(zip(SPLITS, (recipe.identities - heldout - validation, validation, heldout)))
    plain = ComposeConfig(composed_fraction=0.0, spread=recipe.compose.spread)
    rows: list[Identity] = []
    for split, count in counts.items():
        names = mixed(recipe.shares, count, np.random.default_rng([0xDA7A, recipe.seed, SPLITS.index(split)]))
        for number, name in enumerate(names):
            seed = identity_seed(recipe.seed, split, number)
            shape: Composition | Person
            if name == "anny":
                assert anny is not None
                shape = draw_person(anny, seed)
            else:
                shape = draw_composition(seed, plain if name == "ict" else recipe.compose)
            rows.append(Identity(len(rows), name, seed, split, shape))
    return rows


def mixed(shares: dict[str, float], count: int, rng: np.random.Generator) -> list[str]:
    """`count` names of sources in random order, each as often as its share says, to within one."""
    names = [name for name in SOURCES if name in shares]
    exact = np.array([shares[name] for name in names]) / sum(shares.values()) * count
    whole = np.floor(exact).astype(int)
    for row in np.argsort(whole - exact, kind="stable")[: count - whole.sum()]:
        whole[row] += 1
    return [str(name) for name in rng.permutation(np.repeat(names, whole))]


def spread_rows(identities: Sequence[Identity], expressions: int, count: int) -> list[tuple[Identity, int]]:
    """`count` pairs of an identity and one of its expressions: sources in turn, expressions in turn."""
    of_source = [[k for k in identities if k.source == name] for name in SOURCES]
    of_source = [rows for rows in of_source if rows]
    pairs = []
    for k in range(count):
        turn, number = divmod(k, len(of_source))
        rows = of_source[number]
        # each source starts elsewhere among the expressions
        expression = (turn + number * expressions // len(of_source)) % expressions
        pairs.append((rows[turn * len(rows) // (count // len(of_source) + 1)], expression))
    return pairs


def demographics(identities: Sequence[Identity], anny: AnnyModel | None) -> dict[str, Any] | None:
    """Who the identities of one source are: ages, gender and ancestry as Anny's parameters say; None for ICT."""
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
