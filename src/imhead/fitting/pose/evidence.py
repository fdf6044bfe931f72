"""What speaks for a pose, and the probability that it is right.

Shape legend: K template points.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np

from imhead.fitting.pose.cloud import NearestPoints
from imhead.fitting.pose.poses import Poses
from imhead.fitting.pose.score import score_poses
from imhead.fitting.pose.template import PoseTemplate, template_points
from imhead.types import BoolArray

__all__ = ["PoseEvidence", "evidence_of", "probability_of"]

_NOSE_MM = 32.0
_EYES_MM = (12.0, 70.0)  # above the nose tip
_MOUTH_MM = 18.0  # below the nose tip


@dataclass(frozen=True)
class PoseEvidence:
    """What speaks for a refined pose. Scores are those of `score.score_poses`, on parts of the face."""

    score: float
    """Of the search, less for clutter before the face."""
    face: float
    """Of the whole face, after the last refinement."""
    nose: float
    """Of the points near the nose tip."""
    eyes: float
    """Of those above the nose: eyes and brows."""
    mouth: float
    """Of those below the nose: mouth and chin."""
    coverage: float
    """Part of the face with a scan point near and an agreeing normal."""
    runner_up: float
    """Score of the best clearly different pose, over the score."""
    size: float
    """|log| of the head's size over the mean head's."""
    free: float
    """1 where the scale was fitted, else 0."""


def evidence_of(
    template: PoseTemplate,
    nearest: NearestPoints,
    spacing_mm: float,
    pose: Poses,
    *,
    score: float,
    runner_up: float,
    free: bool,
) -> PoseEvidence:
    """What speaks for one pose.

    Args:
        template: of the mean head.
        nearest: looks up the scan.
        spacing_mm: gap between neighbours of the thinned scan.
        pose: the refined pose.
        score: of the search.
        runner_up: score of the best clearly different pose.
        free: whether the scale was fitted.
    """
    above = template.points[:, 1] - template.nose_tip_mm[1]
    to_tip = np.linalg.norm(template.points - template.nose_tip_mm, axis=1)
    parts: tuple[BoolArray, ...] = (
        template.face,
        template.face & (to_tip < _NOSE_MM),
        template.face & (above > _EYES_MM[0]) & (above < _EYES_MM[1]),
        template.face & (above < -_MOUTH_MM),
    )
    scores = [score_poses(nearest, spacing_mm, template_points(template, np.flatnonzero(part)), pose) for part in parts]
    face, nose, eyes, mouth = (float(part.score[0]) for part in scores)
    return PoseEvidence(
        score, face, nose, eyes, mouth, float(scores[0].coverage[0]), runner_up / max(score, 1e-6),
        abs(float(np.log(float(pose.scale[0])))), float(free),
    )  # fmt: skip


WEIGHTS = np.array([15.0, 15.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -4.5])
"""Of the fields of `PoseEvidence`, in their order: tools/pose_table.py --fit prints them."""
OFFSET = -10.5


def probability_of(evidence: PoseEvidence) -> float:
    """0..1, that the pose is right: logistic regression."""
    value = float(WEIGHTS @ np.array(astuple(evidence))) + OFFSET
    return float(1.0 / (1.0 + np.exp(-np.clip(value, -30.0, 30.0))))
