"""Shapes of regions without a name: principal directions of their smooth movements that leave the words' readings.

People's faces differ as a whole. A region moved alone as people's are would stand out at its rim, so that a movement is
the less likely the more it strains the skin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imhead.checkpoint import Model
from imhead.editing.smoothness import strain_energy
from imhead.editing.steps import Regions, region_rows, symmetric, unfolding, with_mirrors
from imhead.editing.words import word_readings
from imhead.measure.carrier import landmark_points, surface_points
from imhead.measure.landmarks import SurfacePlaces
from imhead.template.surface import has_template, template_of
from imhead.types import FloatArray, Head

_LEAST_RELATIVE_SIGMA = 1e-4  # of the first shape's; what is below is rounding error
_MOST_SHAPES = 64
_STRAIN = 0.08  # weight of the strain beside the population
_VERTEX_STRIDE = 12  # every 12th template vertex suffices to rank shapes by their movement


@dataclass(frozen=True, eq=False)
class Shapes:
    """K shapes of n regions."""

    regions: Regions
    """The regions that lead: all, but with `mirror` only the left one of a complete pair."""
    steps: FloatArray
    """(K, n, 64) steps of one standard deviation."""
    project: FloatArray
    """(K, n · 64) maps steps of the codes to scores, in standard deviations."""
    shares: FloatArray
    """(K,) share of the movements' variance on the surface, largest first."""

    def scores(self, head: Head) -> FloatArray:
        """(K,) scores of a head, in standard deviations from the face of its identity code: 0 without edits."""
        found: FloatArray = self.project @ head.offsets[region_rows(self.regions)].reshape(-1)
        return found


def leading(regions: Regions, mirror: bool) -> Regions:
    """The regions an edit is computed on: all of them, but with `mirror` only the left one of a complete pair."""
    chosen = {region.index for region in regions}
    return tuple(r for r in regions if not mirror or r.side >= 0 or r.mirror not in chosen)


@lru_cache(maxsize=64)
def shapes_of(model: Model, regions: Regions, mirror: bool) -> Shapes:
    """The shapes of the regions, in the order of how far they move the surface; with `mirror`, symmetric ones only.

    A model without a template has no surface and no readings: then they are the principal directions of the codes.
    """
    led = leading(regions, mirror)
    unfold = unfolding(model)
    if mirror:
        unfold = unfold[model.net.identity_parity.cpu().numpy() > 0]
    steps = unfold[:, region_rows(led)]
    if has_template(model):
        steps = _smooth(model, led, steps, mirror)
    flat = steps.reshape(len(steps), -1)
    effect = flat
    if has_template(model):
        effect = flat @ _surface_basis(model)[region_rows(led)].reshape(flat.shape[1], -1)
    total = float((effect**2).sum())
    if has_template(model):
        slopes = _reading_slopes(model, regions, mirror, led, steps)
        effect = effect - np.linalg.pinv(slopes) @ (slopes @ effect)
    variance, along = np.linalg.eigh(effect @ effect.T)
    kept = np.flatnonzero(variance > _LEAST_RELATIVE_SIGMA**2 * variance[-1])[::-1][:_MOST_SHAPES]
    along = along[:, kept]
    moves = (along.T @ flat).reshape(len(kept), len(led), -1)
    return Shapes(led, moves, (np.linalg.pinv(flat) @ along).T, variance[kept] / total)


def _smooth(model: Model, led: Regions, steps: FloatArray, mirror: bool) -> FloatArray:
    """(K, n, 64) independent steps of one standard deviation: people's (I, n, 64), less likely the more they strain."""
    _, sigma, along = np.linalg.svd(steps.reshape(len(steps), -1), full_matrices=False)
    steps = (sigma[:, None] * along)[:_MOST_SHAPES].reshape(-1, *steps.shape[1:])
    moved, whole = led, steps
    if mirror:
        moved = with_mirrors(led)
        whole = symmetric(model, led, steps)[:, region_rows(moved)]
    precision = np.eye(len(steps)) + _STRAIN * strain_energy(model, moved, whole)
    # u ~ N(0, precision⁻¹) from its Cholesky factor
    factor = np.linalg.solve(np.linalg.cholesky(precision).T, np.eye(len(steps)))
    smooth: FloatArray = np.tensordot(factor.T, steps, axes=1)
    return smooth


def _reading_slopes(model: Model, regions: Regions, mirror: bool, led: Regions, steps: FloatArray) -> FloatArray:
    """(P, I) change of the words' readings, on the mean head, for each of I steps (I, n, 64) of the leading regions."""
    points, moved = landmark_points(model), led
    if mirror:
        steps = symmetric(model, led, steps)
        moved = with_mirrors(led)
        steps = steps[:, region_rows(moved)]
    moves = np.tensordot(steps, points.basis[region_rows(moved)], axes=2)
    mean = points.mean + points.shut
    readings = word_readings(model, regions, mirror).values()
    slopes = [np.tensordot(moves, reading.slope(mean), axes=2) for reading in readings]
    return np.stack(slopes) if slopes else np.zeros((0, len(steps)))


@lru_cache(maxsize=4)
def _surface_basis(model: Model) -> FloatArray:
    """(39, 64, L, 3) movement of L template vertices per unit of each code, mm."""
    template = template_of(model)
    spread = np.arange(0, len(template.mean), _VERTEX_STRIDE)
    places = SurfacePlaces(np.repeat(spread[:, None], 3, axis=1), np.tile([1.0, 0.0, 0.0], (len(spread), 1)))
    return surface_points(template, model, places).basis
