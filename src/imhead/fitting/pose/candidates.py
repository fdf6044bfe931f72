"""Where the search starts: candidates for the nose tip, and the initial poses at each of them.

Shape legend: C candidates.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from imhead.fitting.pose.cloud import Cloud
from imhead.fitting.pose.poses import Poses
from imhead.fitting.pose.template import NOSE_RADIUS_MM, PoseTemplate
from imhead.surfaces.sampling import even_subset
from imhead.types import FloatArray

__all__ = ["SPINS", "everywhere_candidates", "initial_poses", "nose_candidates"]

SPINS = 12
"""Turns about the nose axis that are tried at each candidate."""
_TILTS_DEG = (0.0, -22.0, 22.0)
_CANDIDATE_GAP_MM = 10.0
_MIN_HEIGHT_MM = 3.0
_MIN_NEIGHBOURS = 12


def nose_candidates(cloud: Cloud, limit: int) -> tuple[FloatArray, FloatArray]:
    """Points that stand out from the ball around them as a nose tip does.

    Returns:
        positions (C, 3) and outward unit directions (C, 3), the most prominent first.
    """
    rows = even_subset(cloud.points, 4.0 if len(cloud.points) < 20000 else 5.0)
    points, normals = cloud.points[rows], cloud.normals[rows]
    tree = cKDTree(points)
    pairs = tree.query_pairs(NOSE_RADIUS_MM, output_type="ndarray")
    count = np.ones(len(points))
    total = points.copy()
    for a, b in ((pairs[:, 0], pairs[:, 1]), (pairs[:, 1], pairs[:, 0])):
        count += np.bincount(a, minlength=len(points))
        for axis in range(3):
            total[:, axis] += np.bincount(a, weights=points[b, axis], minlength=len(points))
    step = points - total / count[:, None]
    # along the normal: at the rim of an open surface the mean lies sideways, and a rim is no nose
    height = np.abs(np.einsum("ni,ni->n", step, normals))
    height[count < _MIN_NEIGHBOURS] = 0.0
    chosen: list[int] = []
    free = np.ones(len(points), dtype=bool)
    for row in np.argsort(-height):
        if not free[row] or height[row] < _MIN_HEIGHT_MM:
            continue
        chosen.append(int(row))
        free[tree.query_ball_point(points[row], _CANDIDATE_GAP_MM)] = False
        if len(chosen) == limit:
            break
    direction = step[chosen] / np.maximum(np.linalg.norm(step[chosen], axis=1, keepdims=True), 1e-9)
    return points[chosen], direction


def everywhere_candidates(cloud: Cloud, limit: int) -> tuple[FloatArray, FloatArray]:
    """At most `limit` points spread over the scan, each with both signs of its normal: no nose needs to show.

    Returns:
        positions (C, 3) and unit directions (C, 3).
    """
    gap = 20.0
    rows = even_subset(cloud.points, gap)
    while len(rows) > limit:
        gap *= 1.15
        rows = even_subset(cloud.points, gap)
    outward = np.stack([cloud.normals[rows], -cloud.normals[rows]], 1).reshape(-1, 3)
    return np.repeat(cloud.points[rows], 2, axis=0), outward


def initial_poses(template: PoseTemplate, positions: FloatArray, directions: FloatArray, tilts: int) -> Poses:
    """Poses at scale 1 that put the template's nose tip on each candidate and its nose axis along the direction.

    Args:
        template: of the mean head.
        positions: (C, 3) scan mm.
        directions: (C, 3) unit.
        tilts: how many of three tilts to try with each of the 12 spins about the nose axis.

    Returns:
        C · 12 · tilts poses, those of a candidate side by side.
    """
    to_direction = _rotations_between(template.nose_axis, directions)
    spin = Rotation.from_rotvec(np.outer(np.arange(SPINS) * 2 * np.pi / SPINS, template.nose_axis))
    tilt = Rotation.from_euler("x", np.array(_TILTS_DEG[:tilts])[:, None], degrees=True)
    local = np.einsum("aij,bjk->abik", spin.as_matrix(), tilt.as_matrix()).reshape(-1, 3, 3)
    rotation = np.einsum("cij,ljk->clik", to_direction, local).reshape(-1, 3, 3)
    translation = np.repeat(positions, len(local), axis=0) - rotation @ template.nose_tip_mm
    return Poses(
        torch.ones(len(rotation)),
        torch.from_numpy(rotation.astype(np.float32)),
        torch.from_numpy(translation.astype(np.float32)),
    )


def _rotations_between(start: FloatArray, ends: FloatArray) -> FloatArray:
    """(C, 3, 3) smallest rotations from one unit vector to each of (C, 3)."""
    axis = np.cross(start, ends)
    cosine = ends @ start
    opposite = cosine < -0.9999
    side = np.cross(start, [1.0, 0.0, 0.0]) if abs(start[0]) < 0.9 else np.cross(start, [0.0, 1.0, 0.0])
    axis[opposite] = side
    length = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(np.where(opposite, 0.0, length[:, 0]), cosine)
    return Rotation.from_rotvec(axis / np.maximum(length, 1e-12) * angle[:, None]).as_matrix()
