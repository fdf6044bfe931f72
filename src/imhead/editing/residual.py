"""The residual of a fitted head under edits that make its sides alike.

Shape legend: M nodes of a residual.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from imhead.types import Ball, BoolArray, FloatArray, IntArray, Residual

_SUPPORT = 1.5  # of a spline, in spacings along each axis
_MARGIN_MM = 3.0  # inside a ball: the residual itself moves what lies at its rim


def mirrored_residual(residual: Residual) -> Residual:
    """The residual of the head mirrored in the mid-sagittal plane."""
    nodes, values = np.array(residual.nodes), np.array(residual.values)
    nodes[:, 1] *= -1
    values[:, 0] *= -1.0
    order = np.lexsort(nodes.T[::-1])
    return replace(residual, nodes=nodes[order], values=values[order])


def symmetric_residual(residual: Residual, balls: list[Ball], side: Literal["left", "right", "average"]) -> Residual:
    """A residual alike on both sides inside balls, like one side or like the mean of the two.

    Only splines that lie wholly inside the balls, on both sides, are changed: nothing moves outside.
    """
    image = mirrored_residual(residual)
    nodes = np.unique(np.concatenate([residual.nodes, image.nodes]), axis=0)
    own, other = _values_at(residual, nodes), _values_at(image, nodes)
    share = np.full((len(nodes), 1), 0.5)
    if side != "average":
        leading = 1 if side == "left" else -1
        share = 0.5 + 0.5 * leading * np.sign(nodes[:, 1:2])
    spacing = np.array(residual.spacings_mm)[nodes[:, 0]]
    inside = _inside(nodes[:, 1:] * spacing[:, None], spacing, balls)
    inside &= _inside(nodes[:, 1:] * spacing[:, None] * [-1.0, 1.0, 1.0], spacing, balls)
    return Residual(residual.spacings_mm, nodes, np.where(inside[:, None], share * own + (1.0 - share) * other, own))


def _values_at(residual: Residual, nodes: IntArray) -> FloatArray:
    """(M, 3) coefficients at nodes (M, 4), sorted, that hold all of the residual's; 0 at others."""
    values = np.zeros((len(nodes), 3))
    both = np.concatenate([nodes, residual.nodes])
    _, rows = np.unique(both, axis=0, return_inverse=True)
    values[rows[len(nodes) :]] = residual.values
    return values


def _inside(centers: FloatArray, spacing: FloatArray, balls: list[Ball]) -> BoolArray:
    """(M,) whether the supports of splines around centres (M, 3) lie wholly inside one of the balls."""
    inside = np.zeros(len(centers), dtype=bool)
    for ball in balls:
        farthest = np.abs(centers - ball.center_mm) + _SUPPORT * spacing[:, None]
        inside |= np.linalg.norm(farthest, axis=1) < ball.radius_mm - _MARGIN_MM
    return inside
