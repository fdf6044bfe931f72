"""Named directions: wider, longer, rounder. Their meaning comes from the model's identities.

For each word, the measurement of some hundred drawn identities is regressed onto the codes of the region. A step of one
standard deviation changes the region as it differs between people whose measurement differs by one standard deviation.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from imhead.checkpoint import Model
from imhead.editing.steps import Regions, region_names, region_rows, stepped, unfolding
from imhead.errors import InputError
from imhead.measure.carrier import landmark_points
from imhead.measure.table import measurement, value
from imhead.types import FloatArray, Head

_IDENTITIES = 400

WORDS: dict[str, dict[str, dict[str, float]]] = {
    "nose": {
        "wider": {"alar_width": 1.0},
        "longer": {"nasal_length": 1.0},
        "projecting": {"tip_projection": 1.0},
        "upturned": {"nasolabial_angle": 1.0},
        "rounder": {"alar_width": 1.0, "nasal_length": -1.0},
    },
    "eye": {
        "wider": {"*eye_fissure_length": 1.0},
        "rounder": {"*eye_fissure_height": 1.0, "*eye_fissure_length": -1.0},
    },
    "mouth": {
        "wider": {"mouth_width": 1.0},
        "longer": {"upper_lip_height": 1.0},
        "fuller": {"upper_vermilion_height": 1.0, "lower_vermilion_height": 1.0},
    },
    "chin": {
        "longer": {"chin_height": 1.0},
        "projecting": {"chin_projection": 1.0},
        "rounder": {"mentolabial_angle": 1.0},
    },
    "jaw": {"wider": {"bigonial_width": 1.0}},
    "temple": {"wider": {"bizygomatic_width": 1.0}},
    "ear": {
        "wider": {"*ear_width": 1.0},
        "longer": {"*ear_length": 1.0},
        "rounder": {"*ear_width": 1.0, "*ear_length": -1.0},
    },
    "scalp": {"wider": {"head_width": 1.0}},
    "occiput": {"longer": {"head_length": 1.0}},
}
"""Group → word → measurements and their signs; `*` stands for the chosen sides."""
OPPOSITES = {
    "narrower": "wider", "shorter": "longer", "receding": "projecting", "downturned": "upturned", "thinner": "fuller",
    "slimmer": "rounder",
}  # fmt: skip
"""Words that mean the opposite of another."""


def words_for(regions: Regions) -> tuple[str, ...]:
    """The words of the regions, opposites included."""
    own = {word for group in _stems(regions) for word in WORDS.get(group, {})}
    return tuple(sorted(own | {k for k, forward in OPPOSITES.items() if forward in own}))


def along_word(model: Model, head: Head, regions: Regions, word: str, strength: float, mirror: bool) -> Head:
    """Step `strength` standard deviations along a word.

    Raises:
        InputError: these regions have no such word; the message lists those that they have.
    """
    sign = -1.0 if word in OPPOSITES else 1.0
    step = named_step(model, regions, OPPOSITES.get(word, word))
    return stepped(model, head, regions, sign * strength * step, mirror, f"{word} by {strength:g} sigma")


@lru_cache(maxsize=64)
def named_step(model: Model, regions: Regions, word: str) -> FloatArray:
    """(n, 64) step of the regions' codes for one standard deviation of a word that is no opposite."""
    terms = [
        (measurement(name), sign)
        for group in _stems(regions)
        for pattern, sign in WORDS.get(group, {}).get(word, {}).items()
        for name in _of_sides(pattern, regions)
    ]
    if not terms:
        known = ", ".join(words_for(regions)) or "none; use a number"
        raise InputError(f"{region_names(regions)} have no direction {word!r}; they have {known}")
    drawn = np.random.default_rng(0).normal(size=(_IDENTITIES, len(unfolding(model))))
    codes = np.tensordot(drawn, unfolding(model), axes=1)
    points = landmark_points(model)
    heads = points.mean + points.shut + np.tensordot(codes, points.basis, axes=2)
    score = np.zeros(_IDENTITIES)
    for kind, sign in terms:
        measured = np.array([value(kind, head) for head in heads])
        score += sign * (measured - measured.mean()) / measured.std()
    score = (score - score.mean()) / score.std()
    step: FloatArray = np.tensordot(score, codes[:, region_rows(regions)], axes=1) / _IDENTITIES
    return step


def _stems(regions: Regions) -> tuple[str, ...]:
    """Groups of the regions without their side, each once."""
    return tuple(sorted({r.group.removeprefix("left_").removeprefix("right_") for r in regions}))


def _of_sides(pattern: str, regions: Regions) -> tuple[str, ...]:
    """The measurements that a pattern stands for, on the sides of the chosen regions."""
    stem = pattern.removeprefix("*")
    if stem == pattern:
        return (pattern,)
    group = stem.split("_")[0]
    return tuple(f"{side}_{stem}" for side in ("left", "right") if any(r.group == f"{side}_{group}" for r in regions))
