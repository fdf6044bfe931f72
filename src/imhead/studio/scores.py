"""Where a head stands among people: its regions' places along their own principal directions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imhead import editing
from imhead.checkpoint import Model
from imhead.measure.carrier import carry
from imhead.measure.landmarks import SurfacePlaces
from imhead.regions import Region
from imhead.studio.surface import has_template
from imhead.template.surface import template_of
from imhead.types import FloatArray, Head

# a direction that varies less than this beside the first one is rounding
_LEAST_SPREAD = 1e-4
_MOST = 32
_EVERY = 12  # of the template's vertices, enough to tell large movements from small ones


def leading(regions: tuple[Region, ...], mirror: bool) -> tuple[Region, ...]:
    """The regions that an edit is thought of on: with `mirror`, the left one of a pair that is chosen whole."""
    chosen = {region.index for region in regions}
    return tuple(r for r in regions if not mirror or r.side >= 0 or r.mirror not in chosen)


def region_scores(model: Model, head: Head, regions: tuple[Region, ...], mirror: bool) -> FloatArray:
    """(K,) places of the regions along their principal directions, in standard deviations; 0 is the mean of people.

    With `mirror` the directions are those in which both sides change alike.
    """
    led = leading(regions, mirror)
    codes = editing.region_codes(model, head)[[region.index for region in led]]
    scores: FloatArray = _directions(model, led, mirror).read @ codes.reshape(-1)
    return scores


def direction_step(model: Model, regions: tuple[Region, ...], mirror: bool, index: int) -> FloatArray:
    """(n, 32) one standard deviation along a principal direction, for the n leading regions."""
    led = leading(regions, mirror)
    step: FloatArray = _directions(model, led, mirror).steps[index].reshape(len(led), -1)
    return step


def direction_shares(model: Model, regions: tuple[Region, ...], mirror: bool) -> FloatArray:
    """(K,) share of the movement among people that each direction explains, the largest first."""
    return _directions(model, leading(regions, mirror), mirror).shares


@dataclass(frozen=True, eq=False)
class _Directions:
    """K directions of some regions' codes, C numbers together."""

    steps: FloatArray
    """(K, C) one standard deviation each."""
    read: FloatArray
    """(K, C) codes → how many standard deviations along each."""
    shares: FloatArray
    """(K,)."""


@lru_cache(maxsize=64)
def _directions(model: Model, regions: tuple[Region, ...], mirror: bool) -> _Directions:
    """Principal directions by how far they move the surface, or without a template by how far they move the codes."""
    rows = [region.index for region in regions]
    unfold = model.net.decnet.weight.detach().cpu().numpy().astype(np.float64)
    if mirror:  # the identity dimensions that change both sides alike
        unfold = unfold[model.net.identity_parity.cpu().numpy() > 0]
    unfold = unfold[:, rows].reshape(len(unfold), -1)
    effect = unfold
    if has_template(model):
        effect = unfold @ _surface_basis(model)[rows].reshape(unfold.shape[1], -1)
    variance, along = np.linalg.eigh(effect @ effect.T)
    kept = np.flatnonzero(variance > _LEAST_SPREAD**2 * variance[-1])[::-1][:_MOST]
    along = along[:, kept]
    return _Directions(along.T @ unfold, (np.linalg.pinv(unfold) @ along).T, variance[kept] / variance.sum())


@lru_cache(maxsize=4)
def _surface_basis(model: Model) -> FloatArray:
    """(39, 32, L, 3) mm that one unit of a code moves some points spread over the template."""
    template = template_of(model)
    spread = np.arange(0, len(template.mean), _EVERY)
    places = SurfacePlaces(np.repeat(spread[:, None], 3, axis=1), np.tile([1.0, 0.0, 0.0], (len(spread), 1)))
    return carry(template, model, places).basis
