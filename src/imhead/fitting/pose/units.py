"""The unit of a scan: named units are tried first, then a ladder of free scales."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from imhead.conventions import UNIT_MM
from imhead.errors import InputError
from imhead.fitting.pose.candidates import nose_candidates
from imhead.fitting.pose.cloud import CleanScan, grid_nearest
from imhead.fitting.pose.coarse import FAINT_SCORE, coarse_poses
from imhead.fitting.pose.multistart import NOTHING_STANDS_OUT, SURE_SCORE, Hypothesis, OtherPose, search_at_scale
from imhead.fitting.pose.poses import Poses
from imhead.fitting.pose.template import PoseTemplate, face_points
from imhead.fitting.pose.windows import LARGE_MM

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
_EXTENT_MM = (90.0, 20_000.0)  # up to a head in a large room
_FREE_EXTENTS_MM = tuple(150.0 * 1.19**k for k in range(17))  # up to a body
_FREE_HEADS = 11  # of these extents are those of a head or a bust
_HEAD_EXTENT_MM = 854.0  # the last of them; a larger scan has more candidates for a nose
_BODY_MM = 3000.0  # a longer scan is a room
_LARGE_BELOW = 0.60  # below this score a scan is also searched as a room, or as a body of unknown unit


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
        if not _EXTENT_MM[0] <= extent * mm <= _EXTENT_MM[1]:
            given = f"in {units}" if mm_per_unit is None else f"at {mm:g} mm a unit"
            raise InputError(f"the scan would be {extent * mm:.3g} mm across {given}; no head is; leave the unit out")
        name = next((unit for unit, length in UNIT_MM.items() if length == mm), UNKNOWN_UNIT)
        return FoundScale(_search_sizes(scan, template, mm, rng), name, "named", ACCEPT_SCORE)
    heads = _units_of_extent(extent, _EXTENT_MM[0], _BODY_MM)
    best: tuple[Hypothesis, str] | None = None
    for name in heads:
        best = _better(scan, template, name, best, rng)
        if best is not None and _is_sure(best[0]):
            return FoundScale(*best, "likely", ACCEPT_SCORE)
    rungs = _coarse_rungs(scan, template, _FREE_EXTENTS_MM[:_FREE_HEADS], rng)
    free = _best_at_rungs(scan, template, rungs, rng)
    if max(free.score if free else 0.0, best[0].score if best else 0.0) < _LARGE_BELOW:
        # no head alone: a head in a room, or on a body of unknown unit
        for name in _units_of_extent(extent, _BODY_MM, _EXTENT_MM[1]):
            best = _better(scan, template, name, best, rng)
            if best is not None and _is_sure(best[0]):
                return FoundScale(*best, "likely", ACCEPT_SCORE)
        of_bodies = _coarse_rungs(scan, template, _FREE_EXTENTS_MM[_FREE_HEADS:], rng)
        body = _best_at_rungs(scan, template, [rung for rung in of_bodies if not rungs or rung > rungs[0]], rng)
        free = max((h for h in (free, body) if h is not None), key=lambda h: h.score, default=None)
    # a named unit is the simpler explanation: it wins unless the free scale is clearly better
    if best is not None:
        usual = _within(best[0], USUAL_SIZE) and best[0].score > ACCEPT_SCORE
        if usual and (free is None or free.score < max(FREE_SCORE, 1.2 * best[0].score)):
            return FoundScale(*best, "likely", ACCEPT_SCORE)
        if free is None:  # no scale promises a face, and the unit's is no better
            return FoundScale(*best, "likely", FREE_SCORE)
    if free is None:
        raise InputError(NOTHING_STANDS_OUT)
    return _in_likeliest_unit(scan, template, free, rng)


def _units_of_extent(extent: float, least_mm: float, most_mm: float) -> list[str]:
    """The units in which the scan has an extent between two, a usual head's first."""
    units = [name for name, mm in UNIT_MM.items() if least_mm <= extent * mm < most_mm]
    return sorted(units, key=lambda name: abs(np.log(extent * UNIT_MM[name] / _TYPICAL_EXTENT_MM)))


def _better(
    scan: CleanScan,
    template: PoseTemplate,
    name: str,
    best: tuple[Hypothesis, str] | None,
    rng: np.random.Generator,
) -> tuple[Hypothesis, str] | None:
    """The best pose in a unit, and the unit, or `best` if that is better."""
    try:
        hypothesis = search_at_scale(scan, template, UNIT_MM[name], rng)
    except InputError:
        return best  # nothing stands out at this scale
    return best if best is not None and best[0].score >= hypothesis.score else (hypothesis, name)


def _is_sure(hypothesis: Hypothesis) -> bool:
    return hypothesis.score > SURE_SCORE and _within(hypothesis, USUAL_SIZE)


def _in_likeliest_unit(
    scan: CleanScan, template: PoseTemplate, free: Hypothesis, rng: np.random.Generator
) -> FoundScale:
    """The pose at a free scale, in the unit in which the head has a possible size, if there is one."""
    of_mean_size = free.mm_per_unit / float(free.pose.scale[0])
    name = unit_of_size({name: mm / of_mean_size for name, mm in UNIT_MM.items()})
    if name is None:
        return FoundScale(free, UNKNOWN_UNIT, "assumed", FREE_SCORE)
    size = UNIT_MM[name] / of_mean_size
    if max(size, 1.0 / size) < 1.15:
        return FoundScale(search_at_scale(scan, template, UNIT_MM[name], rng), name, "likely", ACCEPT_SCORE)
    return FoundScale(_rescaled(free, UNIT_MM[name]), name, "likely", FREE_SCORE)


def unit_of_size(sizes: Mapping[str, float]) -> str | None:
    """The unit in which a head has a possible size.

    Args:
        sizes: unit → size of the head over the mean head's, if the scan is in that unit.
    """
    low, high = POSSIBLE_SIZE
    return next((unit for unit, size in sizes.items() if low <= size <= high), None)


def _search_sizes(scan: CleanScan, template: PoseTemplate, mm_per_unit: float, rng: np.random.Generator) -> Hypothesis:
    """The best pose at a scale that is known, of a head of usual size or, if there is none, of a small one."""
    usual = search_at_scale(scan, template, mm_per_unit, rng)
    in_a_room = scan.extent() * mm_per_unit > _BODY_MM
    if _is_sure(usual) or (in_a_room and usual.score < FAINT_SCORE):  # a small head would have shown itself
        return usual
    with suppress(InputError):  # nothing stands out at this scale
        small = _rescaled(search_at_scale(scan, template, mm_per_unit / _SMALL_SIZE, rng), mm_per_unit)
        return max(usual, small, key=lambda hypothesis: hypothesis.score)
    return usual


def _rescaled(hypothesis: Hypothesis, mm_per_unit: float) -> Hypothesis:
    """The same pose for another scale of the scan: the head has another size."""
    share = mm_per_unit / hypothesis.mm_per_unit
    pose = Poses(hypothesis.pose.scale * share, hypothesis.pose.rotation, hypothesis.pose.translation * share)
    others = tuple(OtherPose(other.score, other.distance_mm * share) for other in hypothesis.others)
    spacing_mm = hypothesis.spacing_mm * share
    return replace(hypothesis, mm_per_unit=mm_per_unit, pose=pose, others=others, spacing_mm=spacing_mm)


def _within(hypothesis: Hypothesis, size: tuple[float, float]) -> bool:
    return size[0] < float(hypothesis.pose.scale[0]) < size[1]


def _coarse_rungs(
    scan: CleanScan, template: PoseTemplate, extents_mm: tuple[float, ...], rng: np.random.Generator
) -> list[tuple[float, float]]:
    """(score of the best coarse pose, scale) at each extent of a ladder where something stands out, best first."""
    rungs: list[tuple[float, float]] = []
    for extent_mm in extents_mm:
        mm_per_unit = extent_mm / scan.extent()
        cloud = scan.coarse_cloud(mm_per_unit)
        face = face_points(template, 200, rng)
        positions, directions = nose_candidates(cloud, max(20, int(20 * extent_mm / _HEAD_EXTENT_MM)))
        if not len(positions):
            continue
        _, scores = coarse_poses(grid_nearest(cloud), cloud.spacing_mm, template, face, positions, directions)
        rungs.append((float(scores.max()), mm_per_unit))
    return sorted(rungs, reverse=True)


def _best_at_rungs(
    scan: CleanScan, template: PoseTemplate, rungs: list[tuple[float, float]], rng: np.random.Generator
) -> Hypothesis | None:
    """The best hypothesis of a full search at the two most promising scales; None if none promises a face."""
    at_rungs = []
    for score, mm in rungs[:2]:
        if score > FAINT_SCORE:
            with suppress(InputError):  # nothing stands out at this scale
                at_rungs.append(search_at_scale(scan, template, mm, rng, noses_only=True))
    best = max(at_rungs, key=lambda hypothesis: hypothesis.score, default=None)
    if best is None or best.score > SURE_SCORE or scan.extent() * best.mm_per_unit > LARGE_MM:
        return best
    again = search_at_scale(scan, template, best.mm_per_unit, rng)
    return max(best, again, key=lambda hypothesis: hypothesis.score)
