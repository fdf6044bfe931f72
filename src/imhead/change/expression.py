"""How the expressions of two visits differ, told apart from a change of the face.

An expression moves many places in a known way, about alike on both sides. A change of the face is somewhere else, or of
another shape. So the ARKit weights that explain the change are found with a robust loss, to which a place that
something else moved is an outlier, and under a prior of few weights, about equal left and right.

Shape legend: N places, K = 52 weights, P parameters of the motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.change.config import ChangeConfig
from imhead.conventions import ARKIT_NAMES
from imhead.types import FloatArray

_LEFT_OUT = np.array([name.startswith("eyeLook") or name == "tongueOut" for name in ARKIT_NAMES])
"""Weights that move no skin that a scan shows."""
_SCALES = (3.0, 2.0, 1.5, *6 * (1.0,))  # of the robust loss, in the steps
_LEAST_WEIGHT = 0.02  # below it a weight is held as if it were that


@dataclass(frozen=True, eq=False)
class Gap:
    """What tells a later visit from the first beside a change of the face."""

    weights: FloatArray
    """(K,) ARKit weights of the later visit less those of the first."""
    motion: FloatArray
    """(P,) what the alignment on the stable regions missed."""
    covariance: FloatArray
    """(K + P, K + P) of both."""


def gap_between(
    moved_mm: FloatArray, by_weight: FloatArray, by_motion: FloatArray, precision: FloatArray, motion: FloatArray,
    config: ChangeConfig,
) -> Gap:  # fmt: skip
    """The difference of the expressions, and the rest of the motion.

    Args:
        moved_mm: (N,) change along the normals.
        by_weight: (N, K) change by each weight.
        by_motion: (N, P) change by the motion that the alignment may have missed.
        precision: (N,) information of each place, 1/mm².
        motion: (P, P) covariance of that motion.
        config: settings.
    """
    count, size = len(ARKIT_NAMES), config.expression_size
    rows = np.concatenate([by_weight, by_motion], axis=1)
    kept = np.concatenate([np.flatnonzero(~_LEFT_OUT), count + np.arange(by_motion.shape[1])])
    prior = np.zeros((rows.shape[1], rows.shape[1]))
    prior[count:, count:] = np.linalg.inv(motion)
    for left, right in _pairs():
        block = np.ix_([left, right], [left, right])
        prior[block] += np.array([[1.0, -1.0], [-1.0, 1.0]]) / config.expression_lean**2
    found = np.zeros(rows.shape[1])
    covariance = np.zeros(prior.shape)
    for scale in _SCALES:
        height = moved_mm - rows @ found
        reach = scale * config.expression_robust_mm
        weight = precision * (reach**2 / (reach**2 + height**2)) ** 2
        # a Laplace prior by reweighting: few weights, some large
        few = np.zeros(rows.shape[1])
        few[:count] = 1.0 / (size * np.maximum(np.abs(found[:count]), _LEAST_WEIGHT))
        system = ((rows * weight[:, None]).T @ rows + prior + np.diag(few))[np.ix_(kept, kept)]
        goal = rows.T @ (weight * moved_mm)
        found = np.zeros(rows.shape[1])
        found[kept] = np.linalg.solve(system, goal[kept])
        covariance[np.ix_(kept, kept)] = np.linalg.inv(system)
    weights = found[:count].clip(-1.0, 1.0)
    weights[np.abs(weights) < _LEAST_WEIGHT] = 0.0
    return Gap(weights, found[count:], covariance)


def _pairs() -> list[tuple[int, int]]:
    """Rows of the weights of left and right."""
    index = {name: k for k, name in enumerate(ARKIT_NAMES)}
    lefts = [name.removesuffix("Left") for name in index if name.endswith("Left")]
    return [(index[f"{stem}Left"], index[f"{stem}Right"]) for stem in lefts if f"{stem}Right" in index]
