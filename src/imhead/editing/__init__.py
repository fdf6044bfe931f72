"""Edits: a head and a choice of regions in, a head out. Only the chosen regions' offsets change."""

from imhead.editing.plausibility import USUAL_SIGMA, nearest_plausible, region_sigma, soft_clamped
from imhead.editing.steps import along_direction, blend, directions, from_other, region_codes, reset, sample
from imhead.editing.symmetry import Locks, Side, mirrored, respecting, symmetrised
from imhead.editing.targets import LIMIT_SIGMA, Change, Reached, reach_targets
from imhead.editing.words import along_word, words_for

__all__ = [
    "LIMIT_SIGMA",
    "USUAL_SIGMA",
    "Change",
    "Locks",
    "Reached",
    "Side",
    "along_direction",
    "along_word",
    "blend",
    "directions",
    "from_other",
    "mirrored",
    "nearest_plausible",
    "reach_targets",
    "region_codes",
    "region_sigma",
    "reset",
    "respecting",
    "sample",
    "soft_clamped",
    "symmetrised",
    "words_for",
]
