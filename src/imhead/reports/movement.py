"""How far a surface moved between two heads, over all of it and inside a region."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from imhead.surfaces.distances import signed_distance
from imhead.types import Ball, FloatArray, Mesh

MovementField = Callable[[FloatArray], FloatArray]
"""Points (N, 3) in mm → how far the surface moved there (N,), mm, outwards positive."""


_DOUBT = 0.25  # below this share of the mesh's movement, the fields' value is taken


@dataclass(frozen=True)
class Movement:
    """How far a part of the surface moved, weighted by area; positive is outwards."""

    median: float
    """Median signed movement, mm."""
    mean: float
    """Mean signed movement, mm."""
    mean_abs: float
    """Mean size of the movement, mm."""
    p95: float
    """95th percentile of the size of the movement, mm."""
    max: float
    """Largest size of the movement, mm."""
    outwards: float
    """Largest movement outwards, mm; 0 where nothing moved outwards."""
    inwards: float
    """Largest movement inwards, as a positive number of mm."""
    area_cm2: float
    """Area that these figures are over, square centimetres."""


def signed_movement(before: Mesh, after: Mesh, movement_field: MovementField | None = None) -> FloatArray:
    """(V,) signed distance in mm from each vertex of `after` to the surface of `before`; positive is outwards.

    Args:
        movement_field: the movement by the heads' own fields. A mesh may show the mouth behind the lips on one head
            and not on the other; where the fields say that the surface moved much less, their value is taken.
    """
    moved = signed_distance(after.vertices, before)
    rows = np.flatnonzero(moved)
    if movement_field is not None and len(rows):
        by_field = movement_field(after.vertices[rows])
        doubtful = np.abs(by_field) < _DOUBT * np.abs(moved[rows])
        moved[rows] = np.where(doubtful, by_field, moved[rows])
    return moved


def in_any_ball(points: FloatArray, balls: Sequence[Ball]) -> NDArray[np.bool_]:
    """(N,) whether each point (N, 3) lies in any of the balls."""
    inside = np.zeros(len(points), dtype=bool)
    for ball in balls:
        inside |= ((points - ball.center_mm) ** 2).sum(axis=1) <= ball.radius_mm**2
    return inside


def movement_of(moved: FloatArray, area: FloatArray, chosen: NDArray[np.bool_]) -> dict[str, float] | None:
    """`Movement` of the chosen vertices (V,) as a dict, weighted by their area (V,); None where they have no area."""
    value, weight = moved[chosen & (area > 0)], area[chosen & (area > 0)]
    if not len(value):
        return None
    size = np.abs(value)
    return asdict(
        Movement(
            median=_quantile(value, weight, 0.5),
            mean=float(np.average(value, weights=weight)),
            mean_abs=float(np.average(size, weights=weight)),
            p95=_quantile(size, weight, 0.95),
            max=float(size.max()),
            outwards=float(max(value.max(), 0.0)),
            inwards=float(max(-value.min(), 0.0) + 0.0),
            area_cm2=float(weight.sum() / 100.0),
        )
    )


def _quantile(value: FloatArray, weight: FloatArray, share: float) -> float:
    order = np.argsort(value, kind="stable")
    total = np.cumsum(weight[order])
    return float(value[order][min(np.searchsorted(total, share * total[-1]), len(value) - 1)])
