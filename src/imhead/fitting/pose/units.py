"""The unit of a scan: named units are tried first, then a ladder of free scales."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from imhead.conventions import UNIT_MM
from imhead.errors import InputError
from imhead.fitting.pose.candidates import initial_poses, nose_candidates
from imhead.fitting.pose.cloud import CleanScan, grid_nearest
from imhead.fitting.pose.icp import refine_poses
from imhead.fitting.pose.multistart import SURE_SCORE, Hypothesis, OtherPose, search_at_scale
from imhead.fitting.pose.poses import Poses
from imhead.fitting.pose.score import score_poses
from imhead.fitting.pose.template import PoseTemplate, face_points

__all__ = ["ACCEPT_SCORE", "FREE_SCORE", "UNKNOWN_UNIT", "FoundScale", "Units", "UnitSource", "search_scale"]

Units = Literal["auto", "mm", "cm", "m", "in"]
UnitSource = Literal["named", "likely", "assumed"]
"""`named`: the unit or the scale was given. `likely`: it is the unit in which the scan is a head. `assumed`: in no unit
it is one, and it was given the mean head's size."""

UNKNOWN_UNIT = "unknown"
"""What a pose names as its unit where no unit gave a head."""
ACCEPT_SCORE = 0.345
"""Below this score there is no face."""
FREE_SCORE = 0.50
"""The same for a free scale, which fits more by chance than a named unit."""
USUAL_SIZE = (0.82, 1.22)
"""Sizes of most heads, over the mean head's."""
POSSIBLE_SIZE = (0.60, 1.25)
"""Sizes of all heads, from a newborn's to a large adult's; no two units can both be right."""
_SMALL_SIZE = 0.70
_TYPICAL_EXTENT_MM = 330.0
_EXTENT_MM = (90.0, 3000.0)
_GIVEN_EXTENT_MM = (90.0, 20_000.0)  # a unit that was given may belong to a head in a room
_FREE_EXTENTS_MM = tuple(150.0 * 1.19**k for k in range(11))


@dataclass(frozen=True, eq=False)
class FoundScale:
    """The best hypothesis, its unit and where that comes from."""

    hypothesis: Hypothesis
    """The pose at that scale."""
    unit: str
    """A key of `UNIT_MM`, or `UNKNOWN_UNIT`."""
    source: UnitSource
    """Where the unit comes from."""
    needed: float
    """Score below which there is no face."""


def search_scale(
    scan: CleanScan, template: PoseTemplate, units: Units, mm_per_unit: float | None, rng: np.random.Generator
) -> FoundScale:
    """The best hypothesis: at the scale or unit given, else named units that the extent allows, then free scales.

    Args:
        scan: to search.
        template: of the mean head.
        units: of the scan, if known.
        mm_per_unit: scale of the scan, if known; goes before `units`.
        rng: draws template points.

    Raises:
        InputError: the extent is no head's in the unit given, or nothing to start from.
    """
    extent = scan.extent()
    if mm_per_unit is not None or units != "auto":
        mm = UNIT_MM[units] if mm_per_unit is None else mm_per_unit
        if not _GIVEN_EXTENT_MM[0] <= extent * mm <= _GIVEN_EXTENT_MM[1]:
            given = f"in {units}" if mm_per_unit is None else f"at {mm:g} mm a unit"
            raise InputError(f"the scan would be {extent * mm:.3g} mm across {given}; no head is, try --units auto")
        name = next((unit for unit, length in UNIT_MM.items() if length == mm), UNKNOWN_UNIT)
        return FoundScale(_search_sizes(scan, template, mm, rng), name, "named", ACCEPT_SCORE)
    possible = [name for name, mm in UNIT_MM.items() if _EXTENT_MM[0] <= extent * mm <= _EXTENT_MM[1]]
    possible.sort(key=lambda name: abs(np.log(extent * UNIT_MM[name] / _TYPICAL_EXTENT_MM)))
    best: tuple[Hypothesis, str] | None = None
    for name in possible:
        hypothesis = search_at_scale(scan, template, UNIT_MM[name], rng)
        if best is None or hypothesis.score > best[0].score:
            best = hypothesis, name
        if hypothesis.score > SURE_SCORE and _within(hypothesis, USUAL_SIZE):
            return FoundScale(hypothesis, name, "likely", ACCEPT_SCORE)
    free = _search_free_scale(scan, template, extent, rng)
    # a named unit is the simpler explanation: it wins unless the free scale is clearly better
    if (
        best is not None and _within(best[0], USUAL_SIZE) and best[0].score > ACCEPT_SCORE
        and free.score < max(FREE_SCORE, 1.2 * best[0].score)
    ):  # fmt: skip
        return FoundScale(*best, "likely", ACCEPT_SCORE)
    return _in_likeliest_unit(scan, template, free, rng)


def _in_likeliest_unit(
    scan: CleanScan, template: PoseTemplate, free: Hypothesis, rng: np.random.Generator
) -> FoundScale:
    """The pose at a free scale, in the unit in which the head has the most usual size, if it has a possible one."""
    of_mean_size = free.mm_per_unit / float(free.pose.scale[0])
    sizes = {name: mm / of_mean_size for name, mm in UNIT_MM.items()}
    name = min(sizes, key=lambda unit: abs(np.log(sizes[unit])))
    if not POSSIBLE_SIZE[0] <= sizes[name] <= POSSIBLE_SIZE[1]:
        return FoundScale(free, UNKNOWN_UNIT, "assumed", FREE_SCORE)
    if max(sizes[name], 1.0 / sizes[name]) < 1.15:
        return FoundScale(search_at_scale(scan, template, UNIT_MM[name], rng), name, "likely", ACCEPT_SCORE)
    return FoundScale(_rescaled(free, UNIT_MM[name]), name, "likely", FREE_SCORE)


def _search_sizes(scan: CleanScan, template: PoseTemplate, mm_per_unit: float, rng: np.random.Generator) -> Hypothesis:
    """The best pose at a scale that is known, of a head of usual size or, if there is none, of a small one."""
    usual = search_at_scale(scan, template, mm_per_unit, rng)
    if usual.score > SURE_SCORE and _within(usual, USUAL_SIZE):
        return usual
    small = _rescaled(search_at_scale(scan, template, mm_per_unit / _SMALL_SIZE, rng), mm_per_unit)
    return max(usual, small, key=lambda hypothesis: hypothesis.score)


def _rescaled(hypothesis: Hypothesis, mm_per_unit: float) -> Hypothesis:
    """The same pose for another scale of the scan: the head has another size."""
    share = mm_per_unit / hypothesis.mm_per_unit
    pose = Poses(hypothesis.pose.scale * share, hypothesis.pose.rotation, hypothesis.pose.translation * share)
    others = tuple(OtherPose(other.score, other.distance_mm * share) for other in hypothesis.others)
    return replace(hypothesis, mm_per_unit=mm_per_unit, pose=pose, others=others)


def _within(hypothesis: Hypothesis, size: tuple[float, float]) -> bool:
    return size[0] < float(hypothesis.pose.scale[0]) < size[1]


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
