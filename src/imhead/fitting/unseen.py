"""What a scan does not show: the head's surface there follows the rim of what it shows.

A model knows what faces share, and nothing of what this face has of its own. Beside a hole the fit leaves residuals,
and they go on inside it. So the residuals of the seen points are carried into the unseen part as the posterior mean of
a Gaussian process, and the region offsets are fitted once more to both.

Shape legend: N scan points, K unseen places of the head's surface.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from torch import Tensor

from imhead.checkpoint import Model
from imhead.fitting.config import FitConfig
from imhead.fitting.gauss_newton import HeadPlaces
from imhead.fitting.objective import Codes, pair_jacobian
from imhead.surfaces.sampling import even_subset
from imhead.template.surface import posed_blend, template_of
from imhead.template.topology import SKIN
from imhead.types import FloatArray, IntArray

_KERNELS_MM = ((0.6, 32.0), (0.3, 16.0), (0.2, 8.0))  # standard deviation and length of each, mm, halved each time
_NOISE_MM = 0.15
_SPACING_MM = 2.5  # of the unseen places
_RIM_SPACING_MM = 3.5
_REACH_MM = 30.0  # of the rim, from an unseen place
_SEEN_MM = 3.5  # a place is seen where a scan point is nearer than this, or than three spacings of the scan
_INLIER_MM = 2.0
_ON_SURFACE_MM = 3.0
_MOST_RIM = 1800


def carried_into_unseen(
    model: Model, codes: Codes, points_mm: FloatArray, residual_mm: FloatArray, noise_mm: float, config: FitConfig
) -> HeadPlaces | None:
    """Where the surface of a fitted head is expected at its unseen places near the scan; None if the scan shows all.

    Args:
        model: with a template.
        codes: of the fitted head.
        points_mm: (N, 3) scan points on the skin, head frame.
        residual_mm: (N,) their signed distances to the head's surface.
        noise_mm: standard deviation of the scan's independent noise.
        config: settings.
    """
    inlier = np.abs(residual_mm) < _INLIER_MM
    points, residual = points_mm[inlier], residual_mm[inlier]
    if len(points) < 50:
        return None
    places, normals = _surface_places(model, codes)
    tree = cKDTree(points)
    spacing = float(np.median(tree.query(points, k=2)[0][:, 1]))
    away = tree.query(places)[0]
    unseen = (away > max(_SEEN_MM, 3.0 * spacing)) & (away < _REACH_MM)
    if not unseen.any():
        return None
    places, normals = places[unseen], normals[unseen]
    near = cKDTree(places).query(points)[0] < _REACH_MM
    rim, values = _thinned(points[near], residual[near])
    mean, variance = posterior(rim, values, places, max(_NOISE_MM, noise_mm))
    weight = config.unseen_share * config.effective_points / len(points_mm) / (variance + config.sigma_mm**2)

    def tensor(values: FloatArray) -> Tensor:
        return torch.from_numpy(values).to(codes.z_id)

    return HeadPlaces(
        tensor(places + mean[:, None] * normals),
        tensor(np.zeros(len(places))),
        tensor(weight),
        torch.zeros(len(places), dtype=torch.bool, device=codes.z_id.device),
    )


def posterior(
    points: FloatArray, values: FloatArray, places: FloatArray, noise_mm: float
) -> tuple[FloatArray, FloatArray]:
    """Mean (K,) and variance (K,) at places (K, 3) of the process with values (N,) at points (N, 3), mm."""
    gram = _kernel(points, points)
    gram[np.diag_indices_from(gram)] += noise_mm**2
    across = _kernel(places, points)
    lower = cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
    asked = np.column_stack([across.T, values])
    half = solve_triangular(lower, asked, lower=True, overwrite_b=True, check_finite=False)
    half, value = half[:, :-1], half[:, -1]
    mean = half.T @ value
    prior = sum(deviation**2 for deviation, _ in _KERNELS_MM)
    return mean, np.maximum(prior - (half**2).sum(axis=0), 0.0)


def _kernel(one: FloatArray, other: FloatArray) -> FloatArray:
    decay = np.exp(cdist(one, other, "sqeuclidean") / (-2.0 * _KERNELS_MM[0][1] ** 2))
    total = np.zeros_like(decay)
    for deviation, _ in _KERNELS_MM:
        total += deviation**2 * decay
        decay **= 4  # half the length
    return total


def _thinned(points: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Points (n, 3) about 3.5 mm apart, at most 1 800, and the mean values (n,) of the points around each."""
    kept: IntArray = even_subset(points, _RIM_SPACING_MM)[:_MOST_RIM]
    owner = cKDTree(points[kept]).query(points)[1]
    count = np.bincount(owner, minlength=len(kept))
    return points[kept], np.bincount(owner, values, minlength=len(kept)) / np.maximum(count, 1)


def _surface_places(model: Model, codes: Codes) -> tuple[FloatArray, FloatArray]:
    """Places (K, 3) about 2.5 mm apart on the skin of a head, mm, and its unit normals there (K, 3)."""
    template = template_of(model)
    shown = np.flatnonzero((template.part == SKIN) & (template.on_surface > 0.5))
    with torch.no_grad():
        z = (model.net.decnet(codes.z_id[None])[0] + codes.offsets).cpu().numpy()
    vertices = posed_blend(template, model, z, codes.weights.double().cpu().numpy())[shown]
    vertices = vertices[even_subset(vertices, _SPACING_MM)]
    found = pair_jacobian(model.net, codes, torch.from_numpy(vertices).to(codes.z_id))
    distance, slope = found.sdf_mm.double().cpu().numpy(), found.point.double().cpu().numpy()
    steep = np.linalg.norm(slope, axis=1)
    kept = (np.abs(distance) < _ON_SURFACE_MM) & (steep > 0.5)
    normals = slope[kept] / steep[kept, None]
    return vertices[kept] - (distance[kept] / steep[kept])[:, None] * normals, normals
