"""The best coarse pose at each candidate for a nose tip: cheap, and enough to tell where a face may be.

Shape legend: C candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imhead.fitting.pose.candidates import SPINS, initial_poses
from imhead.fitting.pose.cloud import NearestPoints
from imhead.fitting.pose.icp import refine_poses
from imhead.fitting.pose.poses import Poses
from imhead.fitting.pose.score import score_poses
from imhead.fitting.pose.template import PoseTemplate, TemplatePoints
from imhead.types import FloatArray

__all__ = ["FAINT_SCORE", "coarse_poses"]

FAINT_SCORE = 0.40
"""A coarse pose on a whole face scores more; on things that are no head, profiles and half faces it may score less."""
_FIRST_REACHES_MM = (40.0, 32.0)
_KEPT_SPINS = 5  # of `SPINS`, after the first steps
_LAST_REACHES_MM = (25.0, 20.0, 20.0)


def coarse_poses(
    nearest: NearestPoints,
    spacing_mm: float,
    template: PoseTemplate,
    face: TemplatePoints,
    positions: FloatArray,
    directions: FloatArray,
) -> tuple[Poses, Tensor]:
    """The best of the poses at each candidate, and its score.

    Args:
        nearest: looks up the scan.
        spacing_mm: gap between neighbours of the thinned scan.
        template: of the mean head.
        face: points of its face that are laid onto the scan.
        positions: (C, 3) candidates for the nose tip, scan mm.
        directions: (C, 3) unit, outwards.

    Returns:
        C poses, and their scores (C,) as of `score.score_poses`.
    """
    count = len(positions)
    poses = refine_poses(nearest, face, initial_poses(template, positions, directions, tilts=1), _FIRST_REACHES_MM)
    score = score_poses(nearest, spacing_mm, face, poses).score.view(count, SPINS)
    kept = score.topk(_KEPT_SPINS, dim=1).indices + torch.arange(count)[:, None] * SPINS
    poses = refine_poses(nearest, face, poses.take(kept.view(-1)), _LAST_REACHES_MM)
    score = score_poses(nearest, spacing_mm, face, poses).score.view(count, _KEPT_SPINS)
    best, at = score.max(dim=1)
    return poses.take(at + torch.arange(count) * _KEPT_SPINS), best
