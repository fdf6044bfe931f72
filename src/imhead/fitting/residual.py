"""What the codes of a fit leave over of its scans, as a smooth displacement of canonical space.

A model knows what faces share, and nothing of what this face has of its own. Each scan point says how far the head's
surface is to move along its normal there. The most likely displacement under a Gaussian prior explains these heights:
coefficients of B-splines on lattices of several spacings, independent of one another. It carries on into what the scan
does not show, and fades there. It moves space rather than the surface, so both sides of a wall move together.

Shape legend: N points, M nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from scipy.spatial import cKDTree

from imhead.checkpoint import Model
from imhead.conventions import MODEL_UNIT_MM
from imhead.fitting.points import independent_noise_mm
from imhead.fitting.scan_points import ScanPoints
from imhead.fitting.splines import Splines
from imhead.isosurface.field import LEAST_SLOPE, HeadField
from imhead.isosurface.residual import ResidualMap
from imhead.surfaces.eyeballs import eyes_distance, near_eyes
from imhead.types import BoolArray, FloatArray, Head, Residual

_LEAST_POINTS = 50
_LEAST_WEIGHT = 1e-3
_MOST_SHORTENINGS = 6
_SHORTENED = 0.7
_SUPPORT = 1.5  # of a spline, in spacings to each side
_STEP_MM = 1.0  # over which the derivative of a displacement is measured


@dataclass(frozen=True)
class ResidualConfig:
    """Settings of the residual."""

    points: int = 30_000
    """Most points of each scan."""
    spacing_mm: tuple[float, ...] = (24.0, 12.0, 6.0)
    """Of the nodes of each lattice."""
    sigma_mm: tuple[float, ...] = (4.0, 2.0, 0.6)
    """Prior standard deviation of the coefficients of each lattice."""
    most_sigma: float = 3.0
    """Longest coefficient, in these; beyond, points at the rim of what is seen throw the surface far beside them."""
    cell_mm: float = 2.0
    """Side of a cell whose points count as one measurement: their errors are correlated beyond their noise."""
    floor_mm: float = 0.15
    """Standard deviation of such a measurement without noise."""
    shared_noise: float = 3.0
    """Noise that the points of a cell share, over that which is independent between neighbours: depth cameras and fused
    meshes smooth their noise."""
    robust_mm: float = 1.5
    """Scale of the robust loss."""
    reach_mm: float = 4.0
    """Points farther from the head say nothing."""
    least_cosine: float = 0.5
    """Between the normals of a point and of the head, for it to count."""
    turns: int = 2
    """Times that the displacement is solved for, each time linearised at the last."""
    least_squeeze: float = 0.25
    """Least factor by which space is scaled along any direction at a point of the scan: at 0 it would fold.
    Coefficients around a point below are shortened."""
    iterations: int = 100
    """Most steps of the conjugate gradients."""
    tolerance: float = 3e-3
    """They end where what is left falls below this share."""


@dataclass(frozen=True, eq=False)
class _Heights:
    """How far space is to move along the surface's normals at N places of canonical space.

    Space that moves inwards lifts the skin: the networks are asked farther inside.
    """

    places: FloatArray
    """(N, 3) mm."""
    normals: FloatArray
    """(N, 3) unit."""
    height_mm: FloatArray
    """(N,)."""
    variance: FloatArray
    """(N,) mm²."""


def residual_of(
    model: Model, shown: Sequence[tuple[Head, ScanPoints]], config: ResidualConfig = ResidualConfig()
) -> Residual | None:
    """What the codes leave over of the scans of one person; None where hardly a point lies near the head.

    Args:
        model: of the heads.
        shown: of each scan the person's head in its expression, and the points of its skin, in the head frame, mm.
        config: settings.
    """
    if not shown:
        return None
    found: Residual | None = None
    for _ in range(config.turns):
        fields_now = [HeadField(model, replace(head, residual=found)) for head, _ in shown]
        parts = [_heights(field, points, config) for field, (_, points) in zip(fields_now, shown)]
        heights = _Heights(*(np.concatenate([getattr(part, spec.name) for part in parts]) for spec in fields(_Heights)))
        if len(heights.places) < _LEAST_POINTS:
            return None
        found = _unfolded(_most_likely(heights, config), heights.places, config, model.device)
    return found


def _heights(field: HeadField, shown: ScanPoints, config: ResidualConfig) -> _Heights:
    """What the points of one scan say, averaged over cells."""
    points = shown.points[: config.points]
    found = field.linearized(points)
    outwards, _ = _unit(found.by_point)
    cosine = np.einsum("nc,nc->n", outwards, shown.normals[: config.points])
    if not shown.oriented:
        cosine = np.abs(cosine)
    elif cosine.sum() < 0.0:  # an inside-out scan: the majority decides
        cosine = -cosine
    near = (np.abs(found.distance) < config.reach_mm) & (cosine > config.least_cosine)
    near[near] = ~_on_eyes(field, points[near], found.distance[near])
    normals, slope = _unit(found.by_place[near])
    height = -found.distance[near] / slope
    robust = (config.robust_mm**2 / (config.robust_mm**2 + height**2)) ** 2
    # at the foot of each point on the surface: at the points themselves, noise would squeeze space onto the surface
    feet = found.places[near] + height[:, None] * normals
    asked, feet = feet, field.before_residual(feet)
    height = height + np.einsum("nc,nc->n", asked - feet, normals)
    other = cKDTree(points[near]).query(points[near], k=2)[1][:, 1] if near.sum() > 1 else np.zeros(0, dtype=np.int64)
    noise = independent_noise_mm(torch.from_numpy(height[: len(other)]), torch.from_numpy(other))
    return _averaged(_Heights(feet, normals, height, 1.0 / robust), shown.share, noise, config)


def _on_eyes(field: HeadField, points: FloatArray, skin_mm: FloatArray) -> BoolArray:
    """(N,) bool: points (N, 3) nearer to an eyeball than to the skin, at distances (N,)."""
    on_eyes = np.zeros(len(points), dtype=bool)
    near = near_eyes(points, field.eyes)
    on_eyes[near] = eyes_distance(points[near], field.eyes) < skin_mm[near]
    return on_eyes


def _unit(vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unit vectors (N, 3), and lengths (N,) of at least `LEAST_SLOPE`."""
    length = np.linalg.norm(vectors, axis=1).astype(np.float64)
    return vectors / np.maximum(length, 1e-9)[:, None], np.maximum(length, LEAST_SLOPE)


def displacement(residual: Residual, places_mm: FloatArray, device: torch.device) -> FloatArray:
    """Displacement (N, 3) of a residual at canonical places (N, 3), mm."""
    x = torch.from_numpy(places_mm / MODEL_UNIT_MM).to(device)
    moved: FloatArray = ((ResidualMap(residual, device)(x) - x) * MODEL_UNIT_MM).cpu().numpy()
    return moved


def _averaged(heights: _Heights, independent: float, noise_mm: float, config: ResidualConfig) -> _Heights:
    """The weighted means of the heights in each cell, apart for each octant of the normal: not both sides of a lip.

    Args:
        independent: measurements over points.
        noise_mm: standard deviation of the noise that is independent between neighbours.
    """
    cell = np.floor(heights.places / config.cell_mm).astype(np.int64)
    _, owner, count = np.unique(
        np.column_stack([cell, heights.normals > 0.0]), axis=0, return_inverse=True, return_counts=True
    )
    weight = 1.0 / heights.variance
    total = np.bincount(owner, weight, len(count))

    def mean(values: FloatArray) -> FloatArray:
        """(cells, k) of values (N, k)."""
        sums = [np.bincount(owner, weight * column, len(count)) for column in values.T]
        return np.stack(sums, axis=1) / total[:, None]

    own = 1.0 / np.maximum(total * independent, _LEAST_WEIGHT)
    variance = (noise_mm**2 * (own + config.shared_noise**2) + config.floor_mm**2) * count / total
    normals, _ = _unit(mean(heights.normals))
    averaged = (mean(heights.places), normals, mean(heights.height_mm[:, None])[:, 0], variance)
    kept = total > _LEAST_WEIGHT * count
    return _Heights(*(part[kept] for part in averaged))


def _unfolded(residual: Residual, places: FloatArray, config: ResidualConfig, device: torch.device) -> Residual:
    """A residual whose finest coefficients are shortened around those places (N, 3) where it squeezes space too much.

    The wide lattices are too smooth to fold space.
    """
    finest = len(residual.spacings_mm) - 1
    rows = np.flatnonzero(residual.nodes[:, 0] == finest)
    spacing = residual.spacings_mm[finest]
    for _ in range(_MOST_SHORTENINGS):
        squeezed = places[_squeeze(residual, places, device) < config.least_squeeze]
        if not len(squeezed):
            break
        near = cKDTree(squeezed).query(residual.nodes[rows, 1:] * spacing)[0] < _SUPPORT * spacing
        values = np.array(residual.values)
        values[rows[near]] *= _SHORTENED
        residual = replace(residual, values=values)
    return residual


def _squeeze(residual: Residual, places: FloatArray, device: torch.device) -> FloatArray:
    """(N,) least factor by which a residual scales a length at places (N, 3)."""
    steps = np.concatenate([np.zeros((1, 3)), _STEP_MM * np.eye(3)])
    moved = displacement(residual, (places[:, None] + steps).reshape(-1, 3), device).reshape(-1, 4, 3)
    slopes = np.eye(3) + (moved[:, 1:] - moved[:, :1]) / _STEP_MM
    return np.asarray(np.linalg.svd(slopes, compute_uv=False)[:, -1])


def _most_likely(heights: _Heights, config: ResidualConfig) -> Residual:
    """Posterior mean of the displacement.

    Preconditioned conjugate gradients on coefficients in units of their prior.
    """
    splines = Splines.at(heights.places, config.spacing_mm, config.sigma_mm)
    precision, normals = 1.0 / heights.variance, heights.normals
    pulling = normals * precision[:, None]

    def applied(coefficients: FloatArray) -> FloatArray:
        """The normal equations' matrix times coefficients (M, 3)."""
        along = np.einsum("nc,nc->n", normals, splines.summed(coefficients))
        return splines.gathered(pulling * along[:, None]) + coefficients

    def product(one: FloatArray, other: FloatArray) -> float:
        """The scalar product; that of a BLAS would wake its threads at every step."""
        return float(np.einsum("mc,mc->", one, other))

    diagonal = splines.squared(pulling * normals) + 1.0
    left = splines.gathered(pulling * heights.height_mm[:, None])
    found, step = np.zeros_like(left), left / diagonal
    size = first = product(left, step)
    for _ in range(config.iterations):
        if size <= config.tolerance**2 * first:
            break
        image = applied(step)
        length = size / product(step, image)
        found += length * step
        left -= length * image
        conditioned = left / diagonal
        before, size = size, product(left, conditioned)
        step = conditioned + (size / before) * step
    values = np.array(config.sigma_mm)[splines.nodes[:, 0], None] * _shortened(found, config.most_sigma)
    return Residual(config.spacing_mm, splines.nodes, values.astype(np.float16))


def _shortened(vectors: FloatArray, most: float) -> FloatArray:
    """Vectors (M, 3) of a length of at most `most`."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors * np.minimum(1.0, most / np.maximum(length, 1e-12)))
