"""Search at one scale: coarse refinement of many initial poses, finer refinement of the best, a ranking."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from imhead.errors import InputError
from imhead.fitting.pose.candidates import everywhere_candidates, initial_poses, nose_candidates
from imhead.fitting.pose.cloud import CleanScan, Cloud, grid_nearest
from imhead.fitting.pose.coarse import FAINT_SCORE
from imhead.fitting.pose.icp import refine_poses
from imhead.fitting.pose.poses import Poses, concatenate_poses
from imhead.fitting.pose.score import PoseScore, clutter, score_poses
from imhead.fitting.pose.template import PoseTemplate, face_points
from imhead.fitting.pose.windows import LARGE_MM, promising_windows
from imhead.types import FloatArray

__all__ = ["SURE_SCORE", "Hypothesis", "OtherPose", "search_at_scale"]

SURE_SCORE = 0.40
"""Below this score, all other candidates and units are tried too."""
NOTHING_STANDS_OUT = "nothing in the scan stands out as a nose does; crop the file to one head, or give --landmarks"
_NOSE_CANDIDATES = 48
_EVERYWHERE_CANDIDATES = 100
_DISTINCT_MM = 45.0
_DISTINCT_DEG = 35.0
_WINDOWS = 5
_FAINT_WINDOWS = 2  # of those that promise less than `FAINT_SCORE`
_PROMISE_SHARE = 0.8  # of the best score: a window whose coarse score is lower cannot hold a better head


@dataclass(frozen=True)
class OtherPose:
    """A pose clearly different from the best one."""

    score: float
    """Its score."""
    distance_mm: float
    """From its nose tip to that of the best pose."""


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """The best pose at one scale of the scan."""

    mm_per_unit: float
    """Millimetres that one scan unit stands for."""
    pose: Poses
    """One pose, template → scan mm about the scan's median."""
    score: float
    """0..1, agreement of the mean head's face with the scan, less for clutter before the face."""
    coverage: float
    """0..1, see `PoseScore.coverage`."""
    others: tuple[OtherPose, ...] = ()
    """Clearly different poses, best first."""
    spacing_mm: float = 3.0
    """Gap between neighbours of the thinned scan."""
    window: CleanScan | None = None
    """The part of the scan around it, if the scan is much larger than a head."""

    def tip_mm(self, template: PoseTemplate) -> FloatArray:
        """(3,) where it puts the nose tip, scan mm."""
        tip: FloatArray = _nose_tips(template, self.pose)[0]
        return tip


def search_at_scale(
    scan: CleanScan, template: PoseTemplate, mm_per_unit: float, rng: np.random.Generator, noses_only: bool = False
) -> Hypothesis:
    """The best pose if one scan unit is `mm_per_unit`, within the spread of human sizes.

    Args:
        scan: to search, whole or, if it is much larger than a head, in the windows that promise one.
        template: of the mean head.
        mm_per_unit: scale of the scan.
        rng: draws template points.
        noses_only: take the best pose at a nose candidate, however low its score; else low scores lead to a search
            from everywhere.

    Raises:
        InputError: nothing to start from.
    """
    if scan.extent() * mm_per_unit <= LARGE_MM:
        return _search_whole(scan, template, mm_per_unit, rng, noses_only)
    found: list[Hypothesis] = []
    for window in islice(promising_windows(scan, template, mm_per_unit, rng), _WINDOWS):
        best = max((hypothesis.score for hypothesis in found), default=0.0)
        faint = window.promise < FAINT_SCORE
        if best > SURE_SCORE and (faint or window.promise < _PROMISE_SHARE * best):
            break
        if faint and len(found) >= _FAINT_WINDOWS:
            break
        try:
            hypothesis = _search_whole(window.scan, template, mm_per_unit, rng, noses_only=True)
        except InputError:
            continue  # nothing to start from in this window
        found.append(replace(hypothesis, window=window.scan))
    if not found:
        raise InputError(NOTHING_STANDS_OUT)
    return _best_of_windows(found, template)


def _best_of_windows(found: list[Hypothesis], template: PoseTemplate) -> Hypothesis:
    """The best hypothesis, with those of other windows among its others, best first."""
    found = sorted(found, key=lambda hypothesis: -hypothesis.score)
    best, tip = found[0], found[0].tip_mm(template)
    elsewhere = [OtherPose(h.score, float(np.linalg.norm(h.tip_mm(template) - tip))) for h in found[1:]]
    others = [*best.others, *(other for other in elsewhere if other.distance_mm > _DISTINCT_MM)]
    return replace(best, others=tuple(sorted(others, key=lambda other: -other.score)))


def _search_whole(
    scan: CleanScan, template: PoseTemplate, mm_per_unit: float, rng: np.random.Generator, noses_only: bool
) -> Hypothesis:
    cloud = scan.cloud(mm_per_unit)
    at_noses = _multistart(cloud, template, *nose_candidates(cloud, _NOSE_CANDIDATES), 3, mm_per_unit, rng)
    if at_noses is not None and (at_noses.score > SURE_SCORE or noses_only):
        return at_noses
    everywhere = _multistart(
        cloud, template, *everywhere_candidates(cloud, _EVERYWHERE_CANDIDATES), 1, mm_per_unit, rng
    )
    found = [hypothesis for hypothesis in (at_noses, everywhere) if hypothesis is not None]
    if not found:
        raise InputError(NOTHING_STANDS_OUT)
    return max(found, key=lambda hypothesis: hypothesis.score)


def _multistart(
    cloud: Cloud,
    template: PoseTemplate,
    positions: FloatArray,
    directions: FloatArray,
    tilts: int,
    mm_per_unit: float,
    rng: np.random.Generator,
) -> Hypothesis | None:
    """The best pose from candidates: coarse on all, medium on the best of each place, fine on a dozen."""
    if not len(positions):
        return None
    nearest, spacing = grid_nearest(cloud), cloud.spacing_mm
    coarse, medium, fine = (face_points(template, count, rng) for count in (250, 700, 4000))
    batches = [
        refine_poses(
            nearest, coarse, initial_poses(template, positions[k : k + 8], directions[k : k + 8], tilts),
            (40.0, 35.0, 30.0, 25.0),
        )
        for k in range(0, len(positions), 8)
    ]  # fmt: skip
    poses = concatenate_poses(batches)
    score = score_poses(nearest, spacing, coarse, poses).score
    poses = poses.take(_best_distinct(template, poses, score, 12.0, 15.0, 96))
    poses = refine_poses(nearest, medium, poses, (25.0, 20.0, 20.0, 16.0, 16.0, 12.0, 12.0, 12.0))
    score = score_poses(nearest, spacing, medium, poses).score
    poses = poses.take(_best_distinct(template, poses, score, 8.0, 8.0, 12))
    poses = refine_poses(nearest, fine, poses, (12.0,) * 6)
    return _ranked(cloud, template, poses, mm_per_unit, score_poses(nearest, spacing, fine, poses))


def _ranked(cloud: Cloud, template: PoseTemplate, poses: Poses, mm_per_unit: float, scores: PoseScore) -> Hypothesis:
    """The pose with the best score after clutter is charged, and the clearly different ones behind it."""
    score = scores.score.double().numpy() / (1.0 + 0.5 * clutter(cloud, template, poses))
    order = np.argsort(-score)
    poses, score = poses.take(order), score[order]
    tips, rotations = _nose_tips(template, poses), poses.rotation.double().numpy()
    distance = np.linalg.norm(tips - tips[0], axis=1)
    angle = np.degrees(Rotation.from_matrix(rotations[0].T @ rotations).magnitude())
    distinct = np.flatnonzero((distance > _DISTINCT_MM) | (angle > _DISTINCT_DEG))
    others = tuple(OtherPose(float(score[k]), float(distance[k])) for k in distinct)
    coverage = float(scores.coverage[int(order[0])])
    return Hypothesis(mm_per_unit, poses.take(np.array([0])), float(score[0]), coverage, others, cloud.spacing_mm)


def _nose_tips(template: PoseTemplate, poses: Poses) -> FloatArray:
    """(B, 3) where each pose puts the nose tip."""
    tip = torch.from_numpy(template.nose_tip_mm.astype(np.float32))[None]
    tips: FloatArray = poses.apply(tip)[..., 0].T.double().numpy()
    return tips


def _best_distinct(
    template: PoseTemplate, poses: Poses, score: Tensor, apart_mm: float, apart_deg: float, limit: int
) -> NDArray[np.int64]:
    """Rows of the best poses, at most `limit`, any two of them apart by `apart_mm` or `apart_deg`."""
    order = np.argsort(-score.numpy(), kind="stable")[: 12 * limit]
    tips, rotations = _nose_tips(template, poses)[order], poses.rotation.double().numpy()[order]
    free = np.ones(len(order), dtype=bool)
    chosen: list[int] = []
    for k in range(len(order)):
        if not free[k]:
            continue
        chosen.append(k)
        if len(chosen) == limit:
            break
        cosine = (np.einsum("bij,ij->b", rotations, rotations[k]) - 1) / 2
        free &= (np.linalg.norm(tips - tips[k], axis=1) > apart_mm) | (cosine < np.cos(np.radians(apart_deg)))
    return order[chosen]
