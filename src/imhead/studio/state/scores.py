"""Scores of a head in the population: along its regions' principal directions and along named directions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imhead import editing
from imhead.checkpoint import Model
from imhead.editing.steps import symmetric, unfolding
from imhead.editing.words import OPPOSITES, named_step, words_for
from imhead.measure.carrier import surface_points
from imhead.measure.landmarks import SurfacePlaces
from imhead.regions import Region
from imhead.template.surface import template_of
from imhead.types import FloatArray, Head

_LEAST_RELATIVE_SIGMA = 1e-4  # of the first direction's; what is below is rounding error
_MOST_DIRECTIONS = 32
_VERTEX_STRIDE = 12  # every 12th template vertex suffices to rank directions by their movement


def leading(regions: tuple[Region, ...], mirror: bool) -> tuple[Region, ...]:
    """The regions an edit is computed on: all of them, but with `mirror` only the left one of a complete pair."""
    chosen = {region.index for region in regions}
    return tuple(r for r in regions if not mirror or r.side >= 0 or r.mirror not in chosen)


def region_scores(model: Model, head: Head, regions: tuple[Region, ...], mirror: bool) -> FloatArray:
    """(K,) scores of the regions along their principal directions, in standard deviations from the population mean.

    With `mirror`, only symmetric directions count.
    """
    led = leading(regions, mirror)
    codes = editing.region_codes(model, head)[[region.index for region in led]]
    scores: FloatArray = _directions(model, led, mirror).project @ codes.reshape(-1)
    return scores


def direction_step(model: Model, regions: tuple[Region, ...], mirror: bool, index: int) -> FloatArray:
    """(n, 64) step of one standard deviation along a principal direction, for the n leading regions."""
    led = leading(regions, mirror)
    step: FloatArray = _directions(model, led, mirror).steps[index].reshape(len(led), -1)
    return step


def direction_shares(model: Model, regions: tuple[Region, ...], mirror: bool) -> FloatArray:
    """(K,) share of the surface's variance over the population explained by each direction, largest first."""
    return _directions(model, leading(regions, mirror), mirror).shares


def named_directions(model: Model, regions: tuple[Region, ...], mirror: bool) -> tuple[str, ...]:
    """Names of the regions' named directions, such as `wider`; opposites, such as `narrower`, are left out."""
    return tuple(word for word in words_for(leading(regions, mirror)) if word not in OPPOSITES)


def word_score(model: Model, head: Head, regions: tuple[Region, ...], mirror: bool, word: str) -> float:
    """Score of the regions along a named direction, in standard deviations from the population mean."""
    along, _ = _named(model, leading(regions, mirror), mirror, word)
    return float(along @ region_scores(model, head, regions, mirror))


def word_step(model: Model, regions: tuple[Region, ...], mirror: bool, word: str) -> FloatArray:
    """(n, 64) step that adds 1 to `word_score`, for the n leading regions."""
    return _named(model, leading(regions, mirror), mirror, word)[1]


@dataclass(frozen=True, eq=False)
class _Directions:
    """K principal directions of the codes of some regions, flattened to C numbers."""

    steps: FloatArray
    """(K, C) steps of one standard deviation."""
    project: FloatArray
    """(K, C) maps codes to scores, in standard deviations."""
    shares: FloatArray
    """(K,) share of the variance explained by each."""


@lru_cache(maxsize=64)
def _directions(model: Model, regions: tuple[Region, ...], mirror: bool) -> _Directions:
    """Principal directions, in order of how far they move the surface."""
    unfold = _unfolded(model, regions, mirror)
    effect = unfold @ _surface_basis(model)[[region.index for region in regions]].reshape(unfold.shape[1], -1)
    variance, along = np.linalg.eigh(effect @ effect.T)
    kept = np.flatnonzero(variance > _LEAST_RELATIVE_SIGMA**2 * variance[-1])[::-1][:_MOST_DIRECTIONS]
    along = along[:, kept]
    return _Directions(along.T @ unfold, (np.linalg.pinv(unfold) @ along).T, variance[kept] / variance.sum())


@lru_cache(maxsize=64)
def _named(model: Model, led: tuple[Region, ...], mirror: bool, word: str) -> tuple[FloatArray, FloatArray]:
    """A named direction as a (K,) unit vector of scores, and as an (n, 64) step of one standard deviation."""
    step = named_step(model, led, word)
    if mirror:  # its symmetric part
        step = symmetric(model, led, step)[[region.index for region in led]]
    along = _directions(model, led, mirror).project @ step.reshape(-1)
    size = np.linalg.norm(along)
    return along / size, step / size


def _unfolded(model: Model, regions: tuple[Region, ...], mirror: bool) -> FloatArray:
    """(I, C) change of the regions' codes per identity dimension; with `mirror`, symmetric dimensions only."""
    unfold = unfolding(model)
    if mirror:
        unfold = unfold[model.net.identity_parity.cpu().numpy() > 0]
    part: FloatArray = unfold[:, [region.index for region in regions]].reshape(len(unfold), -1)
    return part


@lru_cache(maxsize=4)
def _surface_basis(model: Model) -> FloatArray:
    """(39, 64, L, 3) movement of L template vertices per unit of each code, mm."""
    template = template_of(model)
    spread = np.arange(0, len(template.mean), _VERTEX_STRIDE)
    places = SurfacePlaces(np.repeat(spread[:, None], 3, axis=1), np.tile([1.0, 0.0, 0.0], (len(spread), 1)))
    return surface_points(template, model, places).basis
