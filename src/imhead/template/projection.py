"""Put points on a field's zero set without letting them leave their own sheet of it.

Each point is treated alone: what happens to one depends on no other, so an edit that does not reach a point's own field
does not move it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.types import DistanceField, FloatArray

_PROBE_MM = 0.2
# corners of a tetrahedron: four values give a gradient, and their mean the value in the middle
_TETRAHEDRON = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])


@dataclass(frozen=True)
class ProjectionConfig:
    """How far and how a point may go to the zero set."""

    reach_mm: float = 3.0
    """No point moves farther; from two thirds of it on it moves less and less."""
    steps: int = 3
    """Newton steps along the gradient at the start."""
    least_cosine: float = 0.2
    """Between gradient and reference normal: at this and below a point stays, for the sheet is another one."""
    sure_cosine: float = 0.5
    """From here on the angle holds nothing back."""


def gradient(field: DistanceField, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Value (N,) and gradient (N, 3) of a field, by four values around each point.

    Not by backpropagation or a product of matrices, whose rounding depends on the other points of the batch.
    """
    around = points[:, None] + _PROBE_MM / np.sqrt(3.0) * _TETRAHEDRON
    values = field(around.reshape(-1, 3)).reshape(-1, 4).astype(np.float64)
    return values.mean(axis=1), (values[:, :, None] * _TETRAHEDRON).sum(axis=1) * (np.sqrt(3.0) / (4.0 * _PROBE_MM))


def smoothstep(low: float, high: float, value: FloatArray) -> FloatArray:
    """0 up to `low`, 1 from `high` on, smooth in between; falling where `high` is the smaller."""
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
    """Points (N, 3) moved along the field's gradient onto its zero set, mm.

    Args:
        normals: (N, 3) unit vectors out of the sheet that each point belongs to.
        share: (N,) how much of the way to go; 0 leaves a point, and its field is not asked.
    """
    chosen = np.flatnonzero(share > 0.0)
    start = points[chosen]
    value, slope = gradient(field, start)
    steepness = np.linalg.norm(slope, axis=1)
    direction = slope / np.maximum(steepness, 1e-6)[:, None]
    cosine = np.einsum("nc,nc->n", direction, normals[chosen])
    # a flat field points nowhere, and a distance rises by no more than the way: no step goes beyond the zero set
    rate = 1.0 / np.clip(steepness, 1.0, 2.0)
    along = np.zeros(len(chosen))
    for _ in range(config.steps):
        along = np.clip(along - value * rate, -2.0 * config.reach_mm, 2.0 * config.reach_mm)
        value = field(start + along[:, None] * direction).astype(np.float64)
    along = along - value * rate
    kept = share[chosen] * smoothstep(config.least_cosine, config.sure_cosine, cosine)
    kept *= smoothstep(config.reach_mm, 2.0 / 3.0 * config.reach_mm, np.abs(along))
    moved = points.copy()
    moved[chosen] = start + (kept * along)[:, None] * direction
    return moved
