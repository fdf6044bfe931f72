"""Where heads may be in a scan much larger than one: windows of a head's size, the most promising first.

The effort follows the scan. Flat parts are left out by sums over coarse cells; the points that stand out of the rest
are compared with a nose tip by the moments of the balls around them; the most alike are refined as poses at low
resolution, one block of space at a time. Only the best windows are then searched as a single head is.

Shape legend: N scan points, C candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from scipy.spatial import cKDTree

from imhead.fitting.pose.cloud import CleanScan, Cloud, grid_nearest, make_cloud
from imhead.fitting.pose.coarse import coarse_poses
from imhead.fitting.pose.template import NOSE_RADIUS_MM, PoseTemplate, face_points
from imhead.surfaces.sampling import even_subset
from imhead.types import BoolArray, FloatArray, IntArray

__all__ = ["LARGE_MM", "Window", "promising_windows"]

LARGE_MM = 700.0
"""A scan longer than this is searched by windows; a bust with shoulders is shorter."""
WINDOW_RADIUS_MM = 270.0
"""Of the ball about a nose tip that is searched: it holds the head, however it is turned, and the shoulders."""
_SPACING_MM = 8.0
_FLAT_CELL_MM = 50.0
_FLAT_MM = 5.0  # standard deviation across the plane of three cells; a face has over 10
_LEAST_POINTS = 60  # in three cells, at `_SPACING_MM`
_MIN_HEIGHT_MM = 3.0
_MIN_NEIGHBOURS = 8
_GAP_MM = 12.0
_BALLS_AT_ONCE = 4000
_SQUARES = np.array([3, 4, 5, 4, 6, 7, 5, 7, 8])  # xx, xy, xz, yx, … among the sums of a ball
_FIRST_SHARE = 16  # of the candidates that are refined, by the smallest ball alone
_SLAB_POINTS = 100_000
_RADII_MM = (25.0, 50.0, 90.0)
_RADII_SPACING_MM = (8.0, 12.0, 20.0)
_TOLERANCE = np.array([0.06, 0.035, 0.035, 0.035] * 3 + [0.12, 0.12])
"""Usual differences of `_descriptors` between the nose tips of people."""
_BLOCK_MM = 300.0
_MARGIN_MM = 150.0
_CANDIDATES = (96, 192)  # least and most that are refined
_AT_ONCE = 96
_CLEAR_SCORE = 0.55  # of a coarse pose; candidates that look less like a nose tip are then left out
_CANDIDATES_OF_A_FACE = 1  # for each face's area that is not flat; a nose tip is among the first three, as a rule
_FACE_AREA_MM2 = 40_000.0
_APART_MM = 110.0


@dataclass(frozen=True, eq=False)
class Window:
    """A part of the scan that may hold a head."""

    scan: CleanScan
    """The points within `WINDOW_RADIUS_MM` of a likely nose tip."""
    promise: float
    """Score of a coarse pose in it."""


def promising_windows(
    scan: CleanScan, template: PoseTemplate, mm_per_unit: float, rng: np.random.Generator
) -> Iterator[Window]:
    """Windows of a scan at a scale, the most promising first; none if nothing stands out of it.

    Args:
        scan: to search.
        template: of the mean head.
        mm_per_unit: scale of the scan.
        rng: draws template points.
    """
    points, normals = scan.denser(_points_for(scan.extent() * mm_per_unit))
    points = points * mm_per_unit
    rows = even_subset(points, _SPACING_MM)
    rows = rows[_curved(points[rows])]
    if len(rows) < _LEAST_POINTS:
        return
    thin = points[rows]
    candidates = _nose_like(thin, template)
    tips, scores = _coarse_poses(thin, None if normals is None else normals[rows], candidates, template, rng)
    free = np.ones(len(tips), dtype=bool)
    for k in np.argsort(-scores, kind="stable"):
        if not free[k]:
            continue
        free &= np.linalg.norm(tips - tips[k], axis=1) > _APART_MM
        near = np.linalg.norm(points - tips[k], axis=1) < WINDOW_RADIUS_MM
        part = scan.part(points[near] / mm_per_unit, None if normals is None else normals[near])
        if part is not None:
            yield Window(part, float(scores[k]))


def _points_for(extent_mm: float) -> int:
    """Points that leave gaps of a few mm on the surfaces of a scan of this extent."""
    return int(np.clip(3.0 * extent_mm**2 / 36.0, 60_000, 2_000_000))


def _curved(points: FloatArray) -> BoolArray:
    """(N,) whether the cells of 150 mm about a point hold more than a plane, and enough points for a face."""
    cell = np.floor((points - points.min(0)) / _FLAT_CELL_MM).astype(np.int64) + 1
    size = cell.max(0) + 2
    stride = np.array([size[1] * size[2], size[2], 1])
    keys, owner = np.unique(cell @ stride, return_inverse=True)
    x, y, z = points.T
    moments = np.stack([
        np.bincount(owner, weights=w, minlength=len(keys))
        for w in (np.ones(len(x)), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z)
    ])  # fmt: skip
    total = np.zeros_like(moments)
    steps = np.array([-1, 0, 1])
    for step in np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3):
        wanted = keys + int(step @ stride)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        total += moments[:, at] * (keys[at] == wanted)
    count, mean, square = total[0], total[1:4] / total[0], total[4:] / total[0]
    covariance = np.empty((len(keys), 3, 3))
    for k, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        covariance[:, a, b] = covariance[:, b, a] = square[k] - mean[a] * mean[b]
    thickness = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance)[:, 0], 0.0))
    kept: BoolArray = ((thickness > _FLAT_MM) & (count >= _LEAST_POINTS))[owner]
    return kept


def _nose_like(points: FloatArray, template: PoseTemplate) -> tuple[FloatArray, FloatArray]:
    """Positions (C, 3) and outward directions (C, 3) of points that stand out as a nose tip does, the likest first."""
    step = _steps_from_mean(points)
    height = np.linalg.norm(step, axis=1)
    tree = cKDTree(points)
    chosen: list[int] = []
    free = height >= _MIN_HEIGHT_MM
    for row in np.argsort(-height, kind="stable"):
        if height[row] < _MIN_HEIGHT_MM:
            break
        if free[row]:
            chosen.append(int(row))
            free[tree.query_ball_point(points[row], _GAP_MM)] = False
    if not chosen:
        return np.zeros((0, 3)), np.zeros((0, 3))
    faces = len(points) * _SPACING_MM**2 / _FACE_AREA_MM2
    limit = int(np.clip(_CANDIDATES_OF_A_FACE * faces, *_CANDIDATES))
    usual, _ = _descriptors(template.points, template.nose_tip_mm[None])
    at = points[chosen]
    if len(at) > _FIRST_SHARE * limit:  # the smallest ball alone leaves most of them out
        first, _ = _moments(points, at, _RADII_MM[0], _RADII_SPACING_MM[0])
        at = at[_likest(first, usual[:, :4], _TOLERANCE[:4], _FIRST_SHARE * limit)]
    found, direction = _descriptors(points, at)
    order = _likest(found, usual, _TOLERANCE, limit)
    return at[order], direction[order]


def _likest(found: FloatArray, usual: FloatArray, tolerance: FloatArray, limit: int) -> IntArray:
    """Rows of the figures (C, D) that differ least from the usual ones (1, D), at most `limit`, the likest first."""
    return np.argsort(np.square((found - usual) / tolerance).sum(1), kind="stable")[:limit]


def _steps_from_mean(points: FloatArray) -> FloatArray:
    """(N, 3) from the mean of the ball of `NOSE_RADIUS_MM` about each point to the point; zero where it holds few."""
    order = np.argsort(points[:, 0], kind="stable")
    x = points[order, 0]
    step = np.zeros_like(points)
    for first in range(0, len(points), _SLAB_POINTS):
        last = min(first + _SLAB_POINTS, len(points))
        low = np.searchsorted(x, x[first] - NOSE_RADIUS_MM)
        high = np.searchsorted(x, x[last - 1] + NOSE_RADIUS_MM, side="right")
        slab = points[order[low:high]]
        pairs = cKDTree(slab).query_pairs(NOSE_RADIUS_MM, output_type="ndarray")
        count, total = np.ones(len(slab)), slab.copy()
        for a, b in ((pairs[:, 0], pairs[:, 1]), (pairs[:, 1], pairs[:, 0])):
            count += np.bincount(a, minlength=len(slab))
            for axis in range(3):
                total[:, axis] += np.bincount(a, weights=slab[b, axis], minlength=len(slab))
        found = np.where(count[:, None] >= _MIN_NEIGHBOURS, slab - total / count[:, None], 0.0)
        step[order[first:last]] = found[first - low : last - low]
    return step


def _descriptors(points: FloatArray, at: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Moments of the balls of three radii about points (C, 3), which no rotation changes, and outward directions.

    Returns:
        (C, 14): for each radius the distance to the mean and the three standard deviations, over the radius; then the
        cosines between the steps of successive radii. And (C, 3) unit steps from the means of the middle radius.
    """
    balls = [_moments(points, at, radius, spacing) for radius, spacing in zip(_RADII_MM, _RADII_SPACING_MM)]
    inner, middle, outer = (step for _, step in balls)
    cosines = np.stack([np.einsum("ci,ci->c", inner, middle), np.einsum("ci,ci->c", middle, outer)], axis=1)
    lost = np.linalg.norm(inner, axis=1) < 0.5
    inner[lost] = (0.0, 0.0, 1.0)
    return np.concatenate([*(figures for figures, _ in balls), cosines], axis=1), inner


def _moments(points: FloatArray, at: FloatArray, radius: float, spacing: float) -> tuple[FloatArray, FloatArray]:
    """Of the ball about each point (C, 3): distance to the mean and three standard deviations over the radius (C, 4).

    And the unit steps (C, 3) from the mean; zero where it is the point itself.
    """
    thin = points[even_subset(points, spacing)]
    tree = cKDTree(thin)
    count = np.zeros(len(at))
    sums = np.zeros((len(at), 9))
    for first in range(0, len(at), _BALLS_AT_ONCE):
        here = at[first : first + _BALLS_AT_ONCE]
        lists = tree.query_ball_point(here, radius)
        length = np.array([len(rows) for rows in lists])
        owner = np.repeat(np.arange(len(here)), length)
        local = thin[np.fromiter(chain.from_iterable(lists), np.int64, len(owner))] - here[owner]
        x, y, z = local.T
        for k, figure in enumerate((x, y, z, x * x, x * y, x * z, y * y, y * z, z * z)):
            sums[first : first + len(here), k] = np.bincount(owner, figure, minlength=len(here))
        count[first : first + len(here)] = length
    sums /= np.maximum(count, 1.0)[:, None]
    mean = sums[:, :3]
    covariance = sums[:, _SQUARES].reshape(-1, 3, 3) - mean[:, :, None] * mean[:, None, :]
    spread = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0.0))
    away = np.linalg.norm(mean, axis=1)
    return np.column_stack([away, spread]) / radius, -mean / np.maximum(away, 1e-9)[:, None]


def _coarse_poses(
    points: FloatArray,
    normals: FloatArray | None,
    candidates: tuple[FloatArray, FloatArray],
    template: PoseTemplate,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Nose tips (C, 3) and scores (C,) of the best coarse pose at each candidate in turn, until one is clear."""
    positions, directions = candidates
    face = face_points(template, 160, rng)
    tip = torch.from_numpy(template.nose_tip_mm.astype(np.float32))[None]
    tips, scores = positions.copy(), np.full(len(positions), -np.inf)
    block = np.floor(positions / _BLOCK_MM).astype(np.int64)
    tree = cKDTree(points)
    clouds: dict[tuple[int, ...], Cloud] = {}
    for first in range(0, len(positions), _AT_ONCE):
        here = slice(first, first + _AT_ONCE)
        for corner in np.unique(block[here], axis=0):
            key = tuple(corner.tolist())
            if key not in clouds:
                near = tree.query_ball_point((corner + 0.5) * _BLOCK_MM, _BLOCK_MM / 2 + _MARGIN_MM, p=np.inf)
                rows = np.sort(np.asarray(near, dtype=np.int64))
                own = None if normals is None else normals[rows]
                clouds[key] = make_cloud(points[rows], own, cell_mm=_SPACING_MM)
            nearest = grid_nearest(clouds[key])
            for part in _batches(first + np.flatnonzero((block[here] == corner).all(1))):
                poses, score = coarse_poses(
                    nearest, clouds[key].spacing_mm, template, face, positions[part], directions[part]
                )
                scores[part] = score.numpy()
                tips[part] = poses.apply(tip)[..., 0].T.double().numpy()
        if scores[here].max() > _CLEAR_SCORE:
            break
    tried = np.isfinite(scores)
    return tips[tried], scores[tried]


def _batches(rows: IntArray, size: int = 16) -> list[IntArray]:
    return [rows[k : k + size] for k in range(0, len(rows), size)]
