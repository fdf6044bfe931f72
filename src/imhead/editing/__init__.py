"""Edits: a head and a choice of regions in, a head out. Only the chosen regions' offsets change."""

from imhead.editing.moves import Move, along_shape, along_word, readings_of, sample
from imhead.editing.plausibility import USUAL_SIGMA, nearest_plausible, region_sigma
from imhead.editing.shapes import shapes_of
from imhead.editing.steps import along_direction, blend, directions, from_other, region_codes, with_eyes_moved
from imhead.editing.symmetry import Side, mirrored, symmetrised
from imhead.editing.targets import LIMIT_SIGMA, OutOfReach, Reached, reach_targets
from imhead.editing.words import words_for

__all__ = [
    "LIMIT_SIGMA", "USUAL_SIGMA", "Move", "OutOfReach", "Reached", "Side", "along_direction", "along_shape",
    "along_word", "blend", "directions", "from_other", "mirrored", "nearest_plausible", "reach_targets", "readings_of",
    "region_codes", "region_sigma", "sample", "shapes_of", "symmetrised", "with_eyes_moved", "words_for",
]  # fmt: skip
