"""What a change amounts to: by region, in places that moved by more than the noise, and in millilitres.

Shape legend: V vertices of the template, R regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.change.change import Change
from imhead.change.config import ChangeConfig
from imhead.checkpoint import Model
from imhead.measure.volumes import region_shares, swept_volumes
from imhead.regions import REGIONS
from imhead.surfaces.crossings import edges_of
from imhead.surfaces.pieces import piece_of_vertices
from imhead.template.surface import TemplateSurface, template_of
from imhead.types import BoolArray, FloatArray, IntArray

_LEAST_PLACE_CM2 = 0.5  # of a place that is said to have moved
_LEAST_REGION_CM2 = 0.5  # compared area of a region that has an amount
_LEAST_SHOWN = 0.05  # share of its skin


@dataclass(frozen=True)
class Amount:
    """How much a part of the surface moved; ± are halves of 68 % intervals."""

    mean_mm: float
    """Signed mean over the part, outwards positive."""
    error_mm: float
    """± of the mean."""
    largest_mm: float
    """Signed movement of largest size, after the 1 % of the area that moved most is left out."""
    volume_ml: float
    """Swept by the surface, outwards positive."""
    volume_error_ml: float
    """± of the volume."""
    area_cm2: float
    """Compared area."""
    shown_share: float
    """Share of the part's skin that both scans show."""
    beyond_share: float
    """Share of the compared area that moved by more than the noise."""
    beyond_noise: bool
    """Whether the 95 % interval of the mean does not hold 0."""


def by_region(model: Model, change: Change, config: ChangeConfig) -> dict[str, Amount]:
    """The amounts of the regions of which both scans show at least 0.5 cm² and 5 %."""
    shares = region_shares(template_of(model), model)
    found = {region.name: _amount(model, change, shares[:, region.index], config) for region in REGIONS}
    return {name: part for name, part in found.items() if part is not None and part.shown_share > _LEAST_SHOWN}


def whole(model: Model, change: Change, config: ChangeConfig) -> Amount | None:
    """The amount of all that both scans show; None where they share nothing."""
    return _amount(model, change, np.ones(len(change.area)), config)


@dataclass(frozen=True)
class Place:
    """A connected part of the surface that moved by more than the noise."""

    region: str
    """The region that holds most of it."""
    amount: Amount
    """How much."""
    middle_mm: tuple[float, float, float]
    """Its middle, head frame."""


def places_beyond(model: Model, change: Change, config: ChangeConfig) -> list[Place]:
    """Connected places of at least 0.5 cm² beyond the noise, the largest volume first."""
    template = template_of(model)
    shares = region_shares(template, model)
    found = []
    for sign in (1.0, -1.0):
        inside = change.beyond & (sign * np.nan_to_num(change.moved_mm) > 0.0)
        for rows in _patches(template, inside):
            if change.area[rows].sum() < 100.0 * _LEAST_PLACE_CM2:
                continue
            part = np.zeros(len(inside))
            part[rows] = 1.0
            amount = _amount(model, change, part, config)
            # of so many places some pass 95 % by chance
            peak = float((np.abs(change.moved_mm[rows]) / change.sigma_mm[rows]).max())
            if amount is None or not amount.beyond_noise or peak < config.place_sigma:
                continue
            region = REGIONS[int((change.area[rows] @ shares[rows]).argmax())].name
            x, y, z = (float(k) for k in np.average(change.before[rows], axis=0, weights=change.area[rows]))
            found.append(Place(region, amount, (round(x, 1), round(y, 1), round(z, 1))))
    return sorted(found, key=lambda place: -abs(place.amount.volume_ml))


def _patches(template: TemplateSurface, inside: BoolArray) -> list[IntArray]:
    """Vertices of each connected part of the vertices (V,) inside."""
    edges = edges_of(template.faces)
    label = piece_of_vertices(edges[inside[edges].all(axis=1)], len(inside))
    rows = np.flatnonzero(inside)
    order = rows[np.argsort(label[rows], kind="stable")]
    return np.split(order, np.flatnonzero(np.diff(label[order])) + 1) if len(order) else []


def _amount(model: Model, change: Change, share: FloatArray, config: ChangeConfig) -> Amount | None:
    """The amount of a part, of which each vertex is a share (V,)."""
    used = change.compared & (share > 0.0)
    weight = np.where(used, share * change.area, 0.0)
    total = float(weight.sum())
    if total < 100.0 * _LEAST_REGION_CM2 * min(1.0, share.max()):
        return None
    moved = np.where(used, change.moved_mm, 0.0)
    mean = float(weight @ moved / total)
    error = mean_sigma(change, weight / total, config)
    template = template_of(model)
    faces = template.faces[change.compared[template.faces].all(axis=1)]
    after = change.before + np.where(change.compared, change.moved_mm, 0.0)[:, None] * change.normals
    swept = float(share @ swept_volumes(change.before, after, faces))
    size = np.abs(moved)
    order: IntArray = np.argsort(size)
    last = np.searchsorted(np.cumsum(weight[order]), 0.99 * total)
    largest = float(moved[order[min(int(last), len(order) - 1)]])
    beyond = float(weight[change.beyond].sum() / total)
    shown = total / max(float((share * change.area).sum()), 1e-9)
    return Amount(
        mean, error, largest, swept, error * total / 1000.0, total / 100.0, shown, beyond,
        abs(mean) > change.noise.factor_95 * error,
    )  # fmt: skip


def mean_sigma(change: Change, weight: FloatArray, config: ChangeConfig) -> float:
    """Standard deviation of a weighted mean of the change, weights (V,) of sum 1.

    The error of the alignment moves all places together. That of the scanner is alike within `averaged_mm2`.
    """
    rows = np.flatnonzero(weight)
    shared = weight[rows] @ change.causes[rows]
    by_alignment = float(shared @ change.covariance @ shared)
    # of a small part, all places err alike
    alike = min(1.0, config.averaged_mm2 * float((weight[rows] ** 2 / np.maximum(change.area[rows], 1e-9)).sum()))
    local = change.noise.common_mm**2 * alike + float(weight[rows] ** 2 @ change.own_mm2[rows])
    return float(np.sqrt(by_alignment + local))
