"""The unit of a scan: named units are tried first, then a ladder of free scales."""

from __future__ import annotations

from typing import Literal

import numpy as np

from imhead.conventions import UNIT_MM
from imhead.errors import InputError
from imhead.fitting.pose.candidates import initial_poses, nose_candidates
from imhead.fitting.pose.cloud import CleanScan, grid_nearest
from imhead.fitting.pose.icp import refine_poses
from imhead.fitting.pose.multistart import SURE_SCORE, Hypothesis, search_at_scale
from imhead.fitting.pose.score import score_poses
from imhead.fitting.pose.template import PoseTemplate, face_points

__all__ = ["ACCEPT_SCORE", "FREE_SCORE", "UNKNOWN_UNIT", "Units", "search_units"]

Units = Literal["auto", "mm", "cm", "m"]

UNKNOWN_UNIT = "unknown"
"""What a pose names as its unit where none of mm, cm and m gave a head."""
ACCEPT_SCORE = 0.345
"""Below this score there is no face."""
FREE_SCORE = 0.50
"""The same for a free scale, which fits more by chance than a named unit."""
_TYPICAL_EXTENT_MM = 330.0
_EXTENT_MM = (90.0, 3000.0)
_FREE_EXTENTS_MM = tuple(150.0 * 1.19**k for k in range(11))
_MAX_HEAD_SCALE = 1.22
"""A head larger than the mean head by more than this factor, or smaller, speaks against the unit."""


def search_units(
    scan: CleanScan, template: PoseTemplate, units: Units, rng: np.random.Generator
) -> tuple[Hypothesis, str]:
    """The best hypothesis and its unit: named units that the extent of the scan allows, then free scales.

    Raises:
        InputError: the extent is no head's in the unit given, or nothing to start from.
    """
    extent = scan.extent()
    if units != "auto":
        size = extent * UNIT_MM[units]
        if not _EXTENT_MM[0] <= size <= _EXTENT_MM[1]:
            raise InputError(f"the scan would be {size:.3g} mm across in {units}; no head is, try --units auto")
        return search_at_scale(scan, template, UNIT_MM[units], rng), units
    possible = [name for name, mm in UNIT_MM.items() if _EXTENT_MM[0] <= extent * mm <= _EXTENT_MM[1]]
    possible.sort(key=lambda name: abs(np.log(extent * UNIT_MM[name] / _TYPICAL_EXTENT_MM)))
    best: tuple[Hypothesis, str] | None = None
    for name in possible:
        hypothesis = search_at_scale(scan, template, UNIT_MM[name], rng)
        if best is None or hypothesis.score > best[0].score:
            best = hypothesis, name
        if hypothesis.score > SURE_SCORE and _has_human_size(hypothesis):
            return hypothesis, name
    free = _search_free_scale(scan, template, extent, rng)
    # a named unit is the simpler explanation: it wins unless the free scale is clearly better
    if (
        best is not None and _has_human_size(best[0]) and best[0].score > ACCEPT_SCORE
        and free.score < max(FREE_SCORE, 1.2 * best[0].score)
    ):  # fmt: skip
        return best
    mm_per_unit = free.mm_per_unit / float(free.pose.scale[0])
    for name in possible:
        if max(mm_per_unit / UNIT_MM[name], UNIT_MM[name] / mm_per_unit) < 1.15:
            return search_at_scale(scan, template, UNIT_MM[name], rng), name
    return free, UNKNOWN_UNIT


def _has_human_size(hypothesis: Hypothesis) -> bool:
    scale = float(hypothesis.pose.scale[0])
    return max(scale, 1 / scale) < _MAX_HEAD_SCALE


def _search_free_scale(scan: CleanScan, template: PoseTemplate, extent: float, rng: np.random.Generator) -> Hypothesis:
    """The best hypothesis of a full search at the two most promising scales of a ladder."""
    rungs: list[tuple[float, float]] = []
    for extent_mm in _FREE_EXTENTS_MM:
        mm_per_unit = extent_mm / extent
        cloud = scan.cloud(mm_per_unit)
        face = face_points(template, 200, rng)
        positions, directions = nose_candidates(cloud, 20)
        if not len(positions):
            continue
        nearest = grid_nearest(cloud)
        poses = initial_poses(template, positions, directions, tilts=1)
        poses = refine_poses(nearest, face, poses, (40.0, 32.0, 26.0, 20.0, 20.0))
        rungs.append((float(score_poses(nearest, cloud.spacing_mm, face, poses).score.max()), mm_per_unit))
    rungs.sort(reverse=True)
    if not rungs:
        raise InputError("no face was found at any scale; check that the file holds a head")
    at_rungs = [search_at_scale(scan, template, mm, rng, noses_only=True) for _, mm in rungs[:2]]
    best = max(at_rungs, key=lambda hypothesis: hypothesis.score)
    if best.score > SURE_SCORE:
        return best
    again = search_at_scale(scan, template, best.mm_per_unit, rng)
    return max(best, again, key=lambda hypothesis: hypothesis.score)
