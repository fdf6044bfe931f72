"""Named directions: wider, longer, rounder. Each is a reading of the face, and moves no other of its group.

A reading is a measurement, or several of one meaning, in standard deviations over the model's identities. A move is the
most plausible step of the regions' codes that brings one reading to a value while the others of the same regions stay.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from imhead.checkpoint import Model
from imhead.editing.readings import Reading, step_basis
from imhead.editing.steps import Regions, region_names, unfolding, with_mirrors
from imhead.errors import InputError
from imhead.measure.carrier import landmark_points
from imhead.measure.table import measurement, value
from imhead.types import FloatArray

_IDENTITIES = 400
_LEAST_SLOPE = 0.05  # a reading that moves by fewer standard deviations for one of the regions is not theirs

WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "nose": {
        "wider": ("alar_width",),
        "longer": ("nasal_length",),
        "projecting": ("tip_projection",),
        "upturned": ("nasolabial_angle",),
        "rounder": ("tip_width",),
    },
    "eye": {"wider": ("*eye_fissure_length",), "rounder": ("*eye_fissure_height",)},
    "mouth": {
        "wider": ("mouth_width",),
        "longer": ("upper_lip_height",),
        "fuller": ("upper_vermilion_height", "lower_vermilion_height"),
    },
    "cheek": {"wider": ("malar_width",), "projecting": ("*malar_projection",), "fuller": ("cheek_width",)},
    "chin": {"longer": ("chin_height",), "projecting": ("chin_projection",), "rounder": ("mentolabial_angle",)},
    "jaw": {"wider": ("bigonial_width",), "longer": ("*ramus_height",)},
    "temple": {"wider": ("bizygomatic_width",)},
    "forehead": {"wider": ("upper_forehead_width",), "projecting": ("forehead_projection",)},
    "ear": {"wider": ("*ear_width",), "longer": ("*ear_length",), "projecting": ("ear_spread",)},
    "scalp": {"wider": ("head_width",)},
    "occiput": {"longer": ("head_length",)},
}
"""Group → word → the measurements that grow with it; `*` stands for the chosen sides."""
OPPOSITES = {
    "narrower": "wider", "shorter": "longer", "receding": "projecting", "downturned": "upturned", "thinner": "fuller",
    "slimmer": "rounder",
}  # fmt: skip
"""Words that mean the opposite of another."""


def words_for(regions: Regions) -> tuple[str, ...]:
    """The words of the regions, opposites included."""
    own = {word for group in _stems(regions) for word in WORDS.get(group, {})}
    return tuple(sorted(own | {k for k, forward in OPPOSITES.items() if forward in own}))


@lru_cache(maxsize=64)
def word_readings(model: Model, regions: Regions, mirror: bool) -> dict[str, Reading]:
    """The reading of every word that is no opposite and that the regions can move: 0 for the mean of the identities, 1
    for a standard deviation more. With `mirror`, of both sides together.

    Raises:
        InputError: the model has no template, on which the landmarks lie.
    """
    sides = {region.side for region in (with_mirrors(regions) if mirror else regions)}
    found: dict[str, Reading] = {}
    for word in (w for w in words_for(regions) if w not in OPPOSITES):
        patterns = [p for group in _stems(regions) for p in WORDS.get(group, {}).get(word, ())]
        names = [name for pattern in patterns for name in _of_sides(pattern, sides)]
        if names:
            found[word] = _standardised(model, tuple(names))
    points, moves = landmark_points(model), step_basis(model, regions, mirror).moves
    mean = points.mean + points.shut
    size = {w: np.linalg.norm(np.tensordot(moves, reading.slope(mean), axes=2)) for w, reading in found.items()}
    return {word: reading for word, reading in found.items() if size[word] > _LEAST_SLOPE}


def word_reading(model: Model, regions: Regions, mirror: bool, word: str) -> Reading:
    """The reading of a word that is no opposite.

    Raises:
        InputError: these regions have no such word; the message lists those that they have.
    """
    known = word_readings(model, regions, mirror)
    if word not in known:
        words = [*known, *(opposite for opposite, forward in OPPOSITES.items() if forward in known)]
        listed = ", ".join(sorted(words)) or "none; use a number"
        raise InputError(f"{region_names(regions)} have no direction {word!r}; they have {listed}")
    return known[word]


def _standardised(model: Model, names: tuple[str, ...]) -> Reading:
    """The sum of measurements, each in its own standard deviations, in standard deviations of that sum."""
    heads = _population(model)
    kinds = [measurement(name) for name in names]
    measured = np.array([[value(kind, head) for head in heads] for kind in kinds])
    size = measured.std(axis=1)
    total = (measured / size[:, None]).sum(axis=0)
    weights = 1.0 / (size * total.std())
    return Reading(tuple(zip(kinds, weights.tolist())), float(total.mean() / total.std()))


@lru_cache(maxsize=2)
def _population(model: Model) -> FloatArray:
    """(I, L, 3) landmarks of drawn identities, by the linear blend, mm."""
    drawn = np.random.default_rng(0).normal(size=(_IDENTITIES, len(unfolding(model))))
    codes = np.tensordot(drawn, unfolding(model), axes=1)
    points = landmark_points(model)
    heads: FloatArray = points.mean + points.shut + np.tensordot(codes, points.basis, axes=2)
    return heads


def _stems(regions: Regions) -> tuple[str, ...]:
    """Groups of the regions without their side, each once."""
    return tuple(sorted({r.group.removeprefix("left_").removeprefix("right_") for r in regions}))


def _of_sides(pattern: str, sides: set[int]) -> tuple[str, ...]:
    """The measurements that a pattern stands for, on the sides of the chosen regions."""
    stem = pattern.removeprefix("*")
    if stem == pattern:
        return (pattern,)
    return tuple(f"{name}_{stem}" for name, side in (("left", 1), ("right", -1)) if side in sides)
