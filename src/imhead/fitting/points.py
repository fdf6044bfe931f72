"""The scan points that enter a fit, their robust weights, and the priors that depend on them."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM, FACE_RADIUS_MM
from imhead.fitting.config import FitConfig
from imhead.fitting.objective import geman_mcclure
from imhead.fitting.pose import PoseTemplate
from imhead.model.fusion import wendland
from imhead.regions import CENTERS_MM, RADII_MM
from imhead.surfaces.sampling import draw_points
from imhead.surfaces.transforms import transform_points
from imhead.types import BoolArray, FloatArray, IntArray, Scan

_OBSERVED_MM = 15.0  # the mean head is observed where a scan point is nearer than this: heads differ by about as much
_MIN_SHARE = 0.1
_MAX_SAMPLES = 60_000
_LEAST_NEAR = 0.25  # share of the samples near the head, below which the scan holds much else
_NEAR_MM = 60.0
_MEDIAN_OF_NORMAL = 0.6745  # median size of a normal distribution, in standard deviations


def scan_samples(scan: Scan, config: FitConfig, count: int = _MAX_SAMPLES) -> tuple[FloatArray, FloatArray | None]:
    """At most `count` points (S, 3) of the scan and normals: drawn by area from a mesh, at random from a cloud."""
    rng = np.random.default_rng([config.seed, 1])
    if scan.faces is None:
        keep = rng.permutation(len(scan.points))[:count]
        return scan.points[keep], None if scan.normals is None else scan.normals[keep]
    points, normals, _ = draw_points(scan.points, scan.faces, count, rng)
    return points, normals


def samples_near_head(
    scan: Scan, samples: FloatArray, normals: FloatArray | None, scan_to_head: FloatArray, config: FitConfig
) -> tuple[FloatArray, FloatArray | None]:
    """Samples (S, 3) and normals of a scan whose pose (4, 4) is known: drawn anew near the head if few are there."""
    if _near_head(samples, scan_to_head).mean() >= _LEAST_NEAR:
        return samples, normals
    near = _near_head(scan.points, scan_to_head)
    if scan.faces is None:
        own = None if scan.normals is None else scan.normals[near]
        return scan_samples(Scan(scan.name, scan.points[near], own), config)
    faces = scan.faces[near[scan.faces].any(axis=1)]
    return scan_samples(Scan(scan.name, scan.points, scan.normals, faces), config) if len(faces) else (samples, normals)


def _near_head(points: FloatArray, scan_to_head: FloatArray) -> BoolArray:
    """(N,) whether points (N, 3) of a scan lie in the model's bounds, or a little outside."""
    placed = transform_points(scan_to_head, points)
    return np.asarray(((placed > BOUNDS_MIN_MM - _NEAR_MM) & (placed < BOUNDS_MAX_MM + _NEAR_MM)).all(axis=1))


def within_bounds(
    samples: FloatArray, scan_to_head: FloatArray, nose_tip_mm: FloatArray, config: FitConfig
) -> tuple[IntArray, BoolArray]:
    """Rows (N,) of the samples (S, 3) that enter a fit, and which of them (N,) lie on the face; those come first."""
    rng = np.random.default_rng([config.seed, 2])
    points = transform_points(scan_to_head, samples)
    inside = np.flatnonzero(((points > BOUNDS_MIN_MM) & (points < BOUNDS_MAX_MM)).all(axis=1))
    face = np.linalg.norm(points[inside] - nose_tip_mm, axis=1) < FACE_RADIUS_MM
    wanted = int(config.points * config.face_share)
    on_face = rng.permutation(inside[face])[:wanted]
    elsewhere = rng.permutation(inside[~face])[: config.points - len(on_face)]
    rows = np.concatenate([on_face, elsewhere])
    return rows, np.arange(len(rows)) < len(on_face)


def point_weights(
    residual_mm: Tensor, face: Tensor, robust_mm: float, config: FitConfig, with_offsets: bool = False
) -> Tensor:
    """Weights (N,) of the points in a step: robust weight times precision.

    The precision is that of the inliers' residuals on the face, so a noisy scan counts less against the priors. Off the
    face it is `elsewhere_weight` of that; for region offsets it is that of the inliers there, low under hair.

    Args:
        residual_mm: (N,).
        face: (N,) bool, points on the face.
        robust_mm: scale of the robust loss.
        config: settings.
        with_offsets: weights for region offsets.
    """
    size = residual_mm.abs()
    inlier = size < 4.0 * robust_mm
    weight = geman_mcclure(residual_mm, robust_mm) * inlier * (config.effective_points / len(residual_mm))

    def precision(group: Tensor) -> float:
        noise = float(size[inlier & group].nanmedian()) / 0.67  # standard deviation, if normally distributed
        return max(config.sigma_mm, robust_mm / 4.0, 0.0 if math.isnan(noise) else noise) ** -2.0

    on_face = precision(face)
    elsewhere = precision(~face) if with_offsets else config.elsewhere_weight * on_face
    return weight * (elsewhere + (on_face - elsewhere) * face)


def nearest_neighbours(points: FloatArray) -> IntArray:
    """Row (N,) of the nearest other point of each of points (N, 3); 0 for a single point."""
    return cKDTree(points).query(points, k=2)[1][:, 1] if len(points) > 1 else np.zeros(len(points), np.int64)


def independent_noise_mm(residual_mm: Tensor, neighbour: Tensor) -> float:
    """Standard deviation of the noise in residuals (N,) that is independent between a point and its `neighbour` (N,).

    Model error is about the same for neighbours, so it cancels in the difference of their residuals; noise does not.
    """
    if not len(neighbour):
        return 0.0
    return float((residual_mm - residual_mm[neighbour]).abs().median()) / (_MEDIAN_OF_NORMAL * math.sqrt(2.0))


def offset_priors(template: PoseTemplate, points_mm: FloatArray, noise_mm: float, config: FitConfig) -> FloatArray:
    """Weight (39,) of the L1 norm of each region's offsets: higher where less of the region is observed.

    A region is observed where points (N, 3) lie near the mean head's surface. Where the independent noise exceeds
    `sigma_mm`, all weights grow in proportion.
    """
    observed = cKDTree(points_mm).query(template.points, distance_upper_bound=_OBSERVED_MM)[0] < _OBSERVED_MM
    distance = np.linalg.norm(template.points - CENTERS_MM[:, None], axis=2) / RADII_MM[:, None]
    weight = wendland(torch.from_numpy(distance)).numpy()
    share = (weight * observed).sum(axis=1) / weight.sum(axis=1)
    noise = max(1.0, noise_mm / config.sigma_mm)
    prior: FloatArray = config.offset_prior * noise / np.maximum(share, _MIN_SHARE) ** 2
    return prior
