"""The change between two visits at each vertex of the template, with its own standard deviation.

Shape legend: V vertices of the template.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from imhead.change.alignment import Alignment, align
from imhead.change.config import ChangeConfig
from imhead.change.expression import gap_between
from imhead.change.noise import Noise, measured_noise
from imhead.change.surface import crossings, shown_vertices, target
from imhead.change.visits import Visit, in_regions
from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.regions import Region, resolve
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.properties import vertex_areas
from imhead.template.surface import TemplateSurface, template_of
from imhead.types import BoolArray, FloatArray, IntArray, Mesh

_USUAL_NOISE_MM = 0.2  # of a scan for which `ChangeConfig.window_mm` is meant
_LARGEST_GROWTH = 4.0  # of the scanner's error at a place that was badly seen


@dataclass(frozen=True, eq=False)
class Change:
    """How far the surface moved between two visits."""

    before: FloatArray
    """(V, 3) the template on the first visit, mm."""
    after: FloatArray
    """(V, 3) on the later one, in the expression that is compared, in the frame of the first."""
    alike: FloatArray
    """(V, 3) the later one in the expression of the first, in the frame of the first."""
    normals: FloatArray
    """(V, 3) of the first."""
    area: FloatArray
    """(V,) mm² of the first that each vertex stands for."""
    moved_mm: FloatArray
    """(V,) signed distance along the normals, outwards positive; NaN where it was not compared."""
    sigma_mm: FloatArray
    """(V,) its standard deviation: half of the 68 % interval."""
    own_mm2: FloatArray
    """(V,) the part of its variance that neighbours do not share."""
    causes: FloatArray
    """(V, P) change by each of what all places share: the motion and, where it was taken out, the expression."""
    covariance: FloatArray
    """(P, P) of these."""
    weights: FloatArray
    """(52,) ARKit weights of the later visit less those of the first."""
    expression_mm: FloatArray
    """(V,) how far the model says that this moves each vertex along its normal."""
    compared: BoolArray
    """(V,) vertices that both visits show."""
    alignment: Alignment
    """Of the later visit on the first."""
    noise: Noise
    """Of the scanner, as in `sigma_mm`."""

    @property
    def beyond(self) -> BoolArray:
        """(V,) vertices that moved by more than the noise: their 95 % interval does not hold 0."""
        moved = np.where(self.compared, self.moved_mm, 0.0)
        beyond: BoolArray = np.abs(moved) > self.noise.factor_95 * self.sigma_mm
        return beyond & self.compared


def stable_regions(names: tuple[str, ...]) -> tuple[Region, ...]:
    """The regions of the names, which must be at least one.

    Raises:
        InputError: no names, or an unknown one.
    """
    if not names:
        raise InputError("no stable region is named; give --stable one that did not change, such as forehead")
    return resolve(names)


def change_between(
    model: Model, before: Visit, after: Visit, config: ChangeConfig, scanner_mm: float | None, same_expression: bool
) -> Change:
    """The change from one visit to a later one.

    Args:
        model: of both.
        before: the first visit.
        after: the later one.
        config: settings.
        scanner_mm: repeatability of the scanner, standard deviation of a distance between two scans; None measures it.
        same_expression: whether the model takes the later visit to the expression of the first.

    Raises:
        InputError: hardly a place of the stable regions is shown in both.
    """
    template = template_of(model)
    normals, _ = vertex_normals(before.vertices, template.faces)
    shown = shown_vertices(template)
    area = vertex_areas(Mesh(before.vertices, template.faces[shown[template.faces].all(axis=1)]))
    places = before.vertices + before.left_mm[:, None] * normals
    seen = np.flatnonzero(_without_rim(before.vertices, before.measured & after.measured, shown, config.rim_mm))
    rows = seen[in_regions(template, model, stable_regions(config.stable))[seen]]
    alignment = align(
        target(template, after.vertices, after.left_mm), rows, places[rows], normals[rows], area[rows], config.stable,
        robust_mm=config.robust_mm, correlated_mm2=config.correlated_mm2, reach_mm=config.reach_mm,
        least_cosine=config.least_cosine, scale_free=before.scale_assumed or after.scale_assumed,
    )  # fmt: skip
    moved, own = _distances(template, before, after, alignment.moved(after.vertices), places, normals, seen, config)
    noise = _noise(moved, area, own, rows, scanner_mm, config)
    by_weight = np.einsum("kvc,vc->vk", template.shapes, normals, optimize=True).astype(np.float64)
    by_motion = alignment.rows(before.vertices, normals)
    found = np.flatnonzero(np.isfinite(moved))
    precision = area[found] / ((noise.common_mm**2 + own[found]) * config.correlated_mm2)
    gap = gap_between(moved[found], by_weight[found], by_motion[found], precision, alignment.covariance, config)
    weights = len(gap.weights)
    # distances grow with the gap, so the motion that closes it is its opposite
    if config.refine:
        alignment = alignment.refined(-gap.motion, gap.covariance[weights:, weights:])
    expression = by_weight @ gap.weights
    later = alignment.moved(after.vertices)
    covariance, causes = alignment.covariance, by_motion
    # the shapes are offsets in the head's frame, in which both visits stand
    alike = later - np.einsum("k,kvc->vc", gap.weights, template.shapes)
    if same_expression:
        later = alike
        causes = np.concatenate([by_weight, by_motion], axis=1)
        covariance = _both(gap.covariance, alignment.covariance, weights)
    moved, own = _distances(template, before, after, later, places, normals, seen, config)
    if same_expression:
        own = own + (config.expression_share * expression) ** 2
    growth = _growth(own, area, rows[np.isfinite(moved[rows])], config)
    moved, own = _averaged(before.vertices, normals, area, moved, own, window_mm(before, after, config))
    noise = _noise(moved, area, own, rows, scanner_mm, config)
    shared = np.einsum("vp,pq,vq->v", causes, covariance, causes, optimize=True)
    sigma = np.sqrt(own + shared + (noise.common_mm * growth) ** 2)
    return Change(
        before.vertices, later, alike, normals, area, moved, sigma, own, causes, covariance, gap.weights, expression,
        np.isfinite(moved), alignment, noise,
    )  # fmt: skip


def window_mm(before: Visit, after: Visit, config: ChangeConfig) -> float:
    """Standard deviation of the window over which the change of two visits is averaged."""
    noise = max(before.noise_mm, after.noise_mm)
    return float(min(config.window_mm * max(1.0, noise / _USUAL_NOISE_MM), config.largest_window_mm))


def _distances(
    template: TemplateSurface, before: Visit, after: Visit, later: FloatArray, places: FloatArray,
    normals: FloatArray, seen: IntArray, config: ChangeConfig,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """(V,) signed distance along the normals to the later surface, NaN where there is none; and (V,) variance of it by
    the scatter of the points."""
    met = crossings(
        target(template, later, after.left_mm), seen, places[seen], normals[seen], config.reach_mm, config.least_cosine
    )
    # where points of the later scan lack at the place that is met, nothing is compared
    held = np.einsum("nk,nk->n", met.shares, after.measured[met.corners].astype(np.float64)) > 0.5
    moved, own = np.full(len(places), np.nan), np.zeros(len(places))
    moved[seen] = np.where(held, met.height_mm, np.nan)
    own[seen] = before.sigma_mm[seen] ** 2 + np.einsum("nk,nk->n", met.shares, after.sigma_mm[met.corners] ** 2)
    return moved, own


def _noise(
    moved: FloatArray, area: FloatArray, own: FloatArray, stable: IntArray, scanner_mm: float | None,
    config: ChangeConfig,
) -> Noise:  # fmt: skip
    rows = stable[np.isfinite(moved[stable])]
    if not len(rows):
        raise InputError(
            f"the stable regions ({', '.join(config.stable)}) are not shown in both; name others with --stable"
        )
    return measured_noise(moved[rows], area[rows], own[rows], scanner_mm, config)


def _growth(own: FloatArray, area: FloatArray, stable: IntArray, config: ChangeConfig) -> FloatArray:
    """(V,) by how much the scanner's error is larger at each vertex than on the stable places, from 1 to 4.

    Where few points, or points that scatter, show a place, it was seen by few cameras, or at a slant.
    """
    usual = max(float(np.average(own[stable], weights=area[stable])), 1e-8)
    return np.asarray(((own / usual) ** config.growth_power).clip(1.0, _LARGEST_GROWTH))


def _without_rim(vertices: FloatArray, measured: BoolArray, shown: BoolArray, rim_mm: float) -> BoolArray:
    """(V,) measured vertices farther than this from shown ones that are not measured."""
    missing = shown & ~measured
    if not missing.any():
        return measured
    away, _ = cKDTree(vertices[missing]).query(vertices, distance_upper_bound=rim_mm)
    return np.asarray(measured & ~np.isfinite(away))


def _averaged(
    vertices: FloatArray, normals: FloatArray, area: FloatArray, moved: FloatArray, own: FloatArray, window_mm: float
) -> tuple[FloatArray, FloatArray]:
    """Change (V,) and its own variance (V,) averaged over a window of places that look the same way."""
    rows = np.flatnonzero(np.isfinite(moved))
    if not len(rows) or window_mm <= 0.0:
        return moved, own
    tree = cKDTree(vertices[rows])
    pairs = tree.sparse_distance_matrix(tree, 2.5 * window_mm, output_type="coo_matrix")
    cosine = np.einsum("nc,nc->n", normals[rows[pairs.row]], normals[rows[pairs.col]])
    weight = np.exp(-0.5 * (pairs.data / window_mm) ** 2) * np.clip(cosine, 0.0, 1.0) ** 2 * area[rows[pairs.col]]
    shares = csr_matrix((weight, (pairs.row, pairs.col)), shape=(len(rows), len(rows)))
    shares = csr_matrix(shares.multiply(1.0 / np.asarray(shares.sum(axis=1)).clip(1e-12)))
    smooth, left = moved.copy(), own.copy()
    smooth[rows] = shares @ moved[rows]
    left[rows] = shares.multiply(shares) @ own[rows]
    return smooth, left


def _both(gap: FloatArray, motion: FloatArray, weights: int) -> FloatArray:
    """The covariance (K + P, K + P) of weights and motion, with this of the motion."""
    covariance: FloatArray = gap.copy()
    covariance[weights:, weights:] = motion
    return covariance
