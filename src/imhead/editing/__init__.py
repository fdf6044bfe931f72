"""Edits: a head and a choice of regions in, a head out. Only the chosen regions' offsets change."""

from imhead.editing.plausibility import USUAL_SIGMA, nearest_plausible, region_sigma
from imhead.editing.steps import along_direction, blend, directions, from_other, region_codes, sample
from imhead.editing.symmetry import Side, mirrored, symmetrised
from imhead.editing.targets import LIMIT_SIGMA, Reached, reach_targets
from imhead.editing.words import along_word, words_for

__all__ = [
    "LIMIT_SIGMA", "USUAL_SIGMA", "Reached", "Side", "along_direction", "along_word", "blend", "directions",
    "from_other", "mirrored", "nearest_plausible", "reach_targets", "region_codes", "region_sigma", "sample",
    "symmetrised", "words_for",
]  # fmt: skip
