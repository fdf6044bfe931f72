"""What of a scan enters a fit, and how much each point counts."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM, FACE_RADIUS_MM
from imhead.fitting.config import FitConfig
from imhead.fitting.objective import geman_mcclure
from imhead.fitting.pose.template import PoseTemplate
from imhead.model.fusion import wendland
from imhead.regions import CENTERS_MM, RADII_MM
from imhead.surfaces.sampling import draw_points
from imhead.surfaces.transforms import transform_points
from imhead.types import BoolArray, FloatArray, IntArray, Scan

_SHOWN_MM = 15.0  # a place of the mean head with a point nearer than this is shown: heads differ by about as much
_LEAST_SHARE = 0.1


def scan_samples(scan: Scan, config: FitConfig) -> tuple[FloatArray, FloatArray | None]:
    """Points spread evenly over the surface: area-weighted on a mesh, as they are in a cloud; at most 60 000."""
    rng = np.random.default_rng([config.seed, 1])
    limit = 60_000
    if scan.faces is None:
        keep = rng.permutation(len(scan.points))[:limit]
        return scan.points[keep], None if scan.normals is None else scan.normals[keep]
    points, normals, _ = draw_points(scan.points, scan.faces, limit, rng)
    return points, normals


def within_bounds(
    source: FloatArray, scan_to_head: FloatArray, nose_tip_mm: FloatArray, config: FitConfig
) -> tuple[IntArray, BoolArray]:
    """Rows (N,) of the samples that enter a fit, and which of them (N,) lie on the face; those come first."""
    rng = np.random.default_rng([config.seed, 2])
    points = transform_points(scan_to_head, source)
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
    """Weight (N,) of each point in a step whose robust loss has scale `robust_mm`.

    The noisier the points on the `face` (N,) bool are that it trusts, the less all of them count against the prior.
    Region offsets hear the others too, by the noise of their own: much hair there, and they count little.
    """
    size = residual_mm.abs()
    near = size < 4.0 * robust_mm
    weight = geman_mcclure(residual_mm, robust_mm) * near * (config.effective_points / len(residual_mm))

    def precision(group: Tensor) -> float:
        # the median of a normal distribution's size is 0.67 of its deviation
        noise = float(size[near & group].nanmedian()) / 0.67
        return max(config.sigma_mm, robust_mm / 4.0, 0.0 if math.isnan(noise) else noise) ** -2.0

    on_face = precision(face)
    elsewhere = precision(~face) if with_offsets else config.elsewhere_weight * on_face
    return weight * (elsewhere + (on_face - elsewhere) * face)


def nearest_neighbours(points: FloatArray) -> IntArray:
    """Row (N,) of the point nearest to each of points (N, 3), itself apart; a lone point's is its own."""
    return cKDTree(points).query(points, k=2)[1][:, 1] if len(points) > 1 else np.zeros(len(points), np.int64)


def independent_noise_mm(residual_mm: Tensor, neighbour: Tensor) -> float:
    """Standard deviation of the noise in residuals (N,) of points that they do not share with their `neighbour` (N,).

    What a head cannot explain of a shape is alike for neighbours, so it drops out of the difference of their residuals;
    noise does not.
    """
    if not len(neighbour):
        return 0.0
    # the median of a normal distribution's size is 0.6745 of its deviation
    return float((residual_mm - residual_mm[neighbour]).abs().median()) / (0.6745 * math.sqrt(2.0))


def offset_priors(template: PoseTemplate, points_mm: FloatArray, noise_mm: float, config: FitConfig) -> FloatArray:
    """Weight (39,) of the L1 norm of each region's offsets: the less of its surface has points (N, 3) near, the more.

    The surface is the mean head's. A scan with more independent noise than the model's own error gets a higher weight,
    in proportion.
    """
    near = cKDTree(points_mm).query(template.points, distance_upper_bound=_SHOWN_MM)[0] < _SHOWN_MM
    reach = np.linalg.norm(template.points - CENTERS_MM[:, None], axis=2) / RADII_MM[:, None]
    weight = wendland(torch.from_numpy(reach)).numpy()
    share = (weight * near).sum(axis=1) / weight.sum(axis=1)
    noisier = max(1.0, noise_mm / config.sigma_mm)
    prior: FloatArray = config.offset_prior * noisier / np.maximum(share, _LEAST_SHARE) ** 2
    return prior
