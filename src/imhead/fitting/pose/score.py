"""How well a pose explains the scan.

Shape legend: K template points, B poses. Vectors are (3, B, K), one plane for each axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imhead.fitting.pose.cloud import Cloud, NearestPoints
from imhead.fitting.pose.poses import Poses, dot
from imhead.fitting.pose.template import PoseTemplate, TemplatePoints
from imhead.types import FloatArray

__all__ = ["PoseScore", "clutter", "score_poses"]


@dataclass(frozen=True, eq=False)
class PoseScore:
    """Scores of B poses."""

    score: Tensor
    """(B,) up to 1: agreement of the template's face with the scan; poses are ranked by it."""
    coverage: Tensor
    """(B,) 0..1, part of the template's face with a scan point near and an agreeing normal."""


def score_poses(nearest: NearestPoints, spacing_mm: float, face: TemplatePoints, poses: Poses) -> PoseScore:
    """Agreement of the template's face with the scan, whose points lie `spacing_mm` apart."""
    points, normals = poses.apply(face.points), poses.rotate(face.normals)
    scan_points, scan_normals = nearest(points)
    cosine = dot(normals, scan_normals)
    scan_normals = scan_normals * torch.where(cosine < 0, -1.0, 1.0)
    cosine = cosine.abs()
    gap = points - scan_points
    distance = dot(gap, gap).sqrt()
    plane_distance = dot(gap, normals).abs()
    size = poses.scale[:, None]
    near = distance < max(14.0, 2.5 * spacing_mm) * size
    fit = torch.exp(-((plane_distance / (5.0 * size)) ** 2)) * ((cosine - 0.6) / 0.35).clamp(0, 1) * near.float()
    coverage = ((plane_distance < 6.0 * size) & near & (cosine > 0.75)).float().mean(1)
    # Is the scan's normal nearer to the face's own or to the smooth shape's? 1 for the first, -1 for the second.
    smooth = poses.rotate(face.smooth_normals)
    turn = normals - smooth
    squared_turn = dot(turn, turn)
    side = 2 * dot(scan_normals - smooth, turn) / squared_turn.clamp(min=1e-6) - 1
    weight = torch.exp(-((plane_distance / (7.0 * size)) ** 2)) * near.float() * squared_turn
    contrast = (side.clamp(-1, 1) * weight).sum(1) / squared_turn.sum(1)
    agreement = 0.4 * fit.mean(1) + 0.6 * (fit * (face.relief / face.relief.sum())).sum(1)
    return PoseScore(0.8 * agreement + 0.2 * contrast, coverage)


def clutter(cloud: Cloud, template: PoseTemplate, poses: Poses) -> FloatArray:
    """(B,) ratio of scan points that float before the face to those that lie on it: 0 for a clean scan."""
    ratios = []
    face_size = np.count_nonzero(template.face)
    for k in range(len(poses)):
        rotation = poses.rotation[k].double().numpy()
        local = (cloud.points - poses.translation[k].double().numpy()) @ rotation / float(poses.scale[k])
        local = local[np.linalg.norm(local - template.nose_tip_mm, axis=1) < 110.0]
        distance, nearest = template.lookup(local)
        at_face = template.face[nearest]
        on_face = at_face & (np.abs(distance) < 8.0)
        in_front = at_face & (distance > 12.0) & (distance < 38.0)
        ratios.append(in_front.sum() / max(on_face.sum(), 0.02 * face_size, 1.0))
    return np.array(ratios)
