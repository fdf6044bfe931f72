"""Where a head stands among people: its regions' places along their principal directions and along words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imhead import editing
from imhead.checkpoint import Model
from imhead.editing.steps import symmetric
from imhead.editing.words import OPPOSITES, named_step, words_for
from imhead.measure.carrier import carry
from imhead.measure.landmarks import SurfacePlaces
from imhead.regions import Region
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
    """(n, 64) one standard deviation along a principal direction, for the n leading regions."""
    led = leading(regions, mirror)
    step: FloatArray = _directions(model, led, mirror).steps[index].reshape(len(led), -1)
    return step


def direction_shares(model: Model, regions: tuple[Region, ...], mirror: bool) -> FloatArray:
    """(K,) share of the movement among people that each direction explains, the largest first."""
    return _directions(model, leading(regions, mirror), mirror).shares


def named_directions(model: Model, regions: tuple[Region, ...], mirror: bool) -> tuple[str, ...]:
    """The words that the regions have a direction for, such as `wider`; its opposite is the same one backwards."""
    return tuple(word for word in words_for(leading(regions, mirror)) if word not in OPPOSITES)


def word_score(model: Model, head: Head, regions: tuple[Region, ...], mirror: bool, word: str) -> float:
    """Where the regions stand along a word, in standard deviations; 0 is the mean of people."""
    along, _ = _named(model, leading(regions, mirror), mirror, word)
    return float(along @ region_scores(model, head, regions, mirror))


def word_step(model: Model, regions: tuple[Region, ...], mirror: bool, word: str) -> FloatArray:
    """(n, 64) what adds 1 to `word_score`, for the n leading regions."""
    return _named(model, leading(regions, mirror), mirror, word)[1]


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
    """Principal directions by how far they move the surface."""
    unfold = _unfolded(model, regions, mirror)
    effect = unfold @ _surface_basis(model)[[region.index for region in regions]].reshape(unfold.shape[1], -1)
    variance, along = np.linalg.eigh(effect @ effect.T)
    kept = np.flatnonzero(variance > _LEAST_SPREAD**2 * variance[-1])[::-1][:_MOST]
    along = along[:, kept]
    return _Directions(along.T @ unfold, (np.linalg.pinv(unfold) @ along).T, variance[kept] / variance.sum())


@lru_cache(maxsize=64)
def _named(model: Model, led: tuple[Region, ...], mirror: bool, word: str) -> tuple[FloatArray, FloatArray]:
    """A word as (K,) unit direction among the regions' scores, and as (n, 64) one standard deviation of the codes."""
    step = named_step(model, led, word)
    if mirror:  # what both sides share of it, which is nothing lopsided
        step = symmetric(model, led, step)[[region.index for region in led]]
    along = _directions(model, led, mirror).read @ step.reshape(-1)
    size = np.linalg.norm(along)
    return along / size, step / size


def _unfolded(model: Model, regions: tuple[Region, ...], mirror: bool) -> FloatArray:
    """(I, C) what each identity dimension does to the regions' codes; with `mirror` those that change both alike."""
    unfold = model.net.decnet.weight.detach().cpu().numpy().astype(np.float64)
    if mirror:
        unfold = unfold[model.net.identity_parity.cpu().numpy() > 0]
    part: FloatArray = unfold[:, [region.index for region in regions]].reshape(len(unfold), -1)
    return part


@lru_cache(maxsize=4)
def _surface_basis(model: Model) -> FloatArray:
    """(39, 64, L, 3) mm that one unit of a code moves some points spread over the template."""
    template = template_of(model)
    spread = np.arange(0, len(template.mean), _EVERY)
    places = SurfacePlaces(np.repeat(spread[:, None], 3, axis=1), np.tile([1.0, 0.0, 0.0], (len(spread), 1)))
    return carry(template, model, places).basis
