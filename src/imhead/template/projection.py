"""Project points onto a field's zero set without letting them change to another sheet of it.

Each point is projected independently, so an edit that does not change the field around a point does not move it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.types import DistanceField, FloatArray

_PROBE_MM = 0.2
_LEFT_MM = 0.05
_MOST_SHARE = 0.99  # of the move; others are to end on their way
# corners of a tetrahedron: four values give the gradient, and their mean the value at the centre
_TETRAHEDRON = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])


@dataclass(frozen=True)
class ProjectionConfig:
    """Limits of the projection."""

    reach_mm: float = 6.0
    """Longest move, mm; moves longer than two thirds of it are damped smoothly, to zero at this length."""
    turns: int = 2
    """Times that a point which is not on the zero set yet takes its steps, each time along a new gradient."""
    steps: int = 3
    """Newton steps along the gradient at the starting point."""
    least_cosine: float = 0.2
    """Cosine between gradient and reference normal at or below which a point stays: it faces another sheet."""
    sure_cosine: float = 0.5
    """Cosine from which on the angle does not damp the move."""


def gradient(field: DistanceField, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Value (N,) and gradient (N, 3) of a field, from four values around each point.

    Not by backpropagation or a matrix product: their rounding depends on the other points of the batch.
    """
    around = points[:, None] + _PROBE_MM / np.sqrt(3.0) * _TETRAHEDRON
    values = field(around.reshape(-1, 3)).reshape(-1, 4).astype(np.float64)
    return values.mean(axis=1), (values[:, :, None] * _TETRAHEDRON).sum(axis=1) * (np.sqrt(3.0) / (4.0 * _PROBE_MM))


def smoothstep(low: float, high: float, value: FloatArray) -> FloatArray:
    """0 up to `low`, 1 from `high` on, smooth in between; decreasing if `high` is the smaller."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    result: FloatArray = t * t * (3.0 - 2.0 * t)
    return result


def onto_zero_set(
    field: DistanceField,
    points: FloatArray,
    normals: FloatArray,
    share: FloatArray,
    config: ProjectionConfig = ProjectionConfig(),
) -> FloatArray:
    """Points (N, 3) projected along the field's gradient onto its zero set, mm.

    Args:
        normals: (N, 3) unit normals of the sheet that each point belongs to, outwards.
        share: (N,) fraction of the move, 0 to 1; where it is 0 the field is not evaluated.
    """
    moved = points.copy()
    chosen = np.flatnonzero(share > 0.0)
    for _ in range(config.turns):
        moved[chosen], left = _stepped(field, moved[chosen], normals[chosen], share[chosen], config)
        # the gradient at a far start may point past the surface: those points go on along a new one
        chosen = chosen[left > _LEFT_MM]
        if not len(chosen):
            break
    return moved


def _stepped(
    field: DistanceField, start: FloatArray, normals: FloatArray, share: FloatArray, config: ProjectionConfig
) -> tuple[FloatArray, FloatArray]:
    """Points (N, 3) after Newton steps along the gradient at their start, and what is left of the way (N,), mm."""
    value, slope = gradient(field, start)
    steepness = np.linalg.norm(slope, axis=1)
    direction = slope / np.maximum(steepness, 1e-6)[:, None]
    cosine = np.einsum("nc,nc->n", direction, normals)
    # a distance changes by at most 1 mm per mm, so a rate of at most 1 never overshoots the zero set
    rate = 1.0 / np.clip(steepness, 1.0, 2.0)
    along = np.zeros(len(start))
    for _ in range(config.steps):
        along = np.clip(along - value * rate, -2.0 * config.reach_mm, 2.0 * config.reach_mm)
        value = field(start + along[:, None] * direction).astype(np.float64)
    last = -value * rate
    along = along + last
    kept = smoothstep(config.least_cosine, config.sure_cosine, cosine)
    kept *= smoothstep(config.reach_mm, 2.0 / 3.0 * config.reach_mm, np.abs(along))
    left = np.where(share > _MOST_SHARE, np.abs((1.0 - kept) * along) + np.abs(last), 0.0)
    return start + (share * kept * along)[:, None] * direction, left
