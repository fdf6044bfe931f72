"""Shapes laid on one another: generalised Procrustes analysis (Gower 1975; Dryden and Mardia 2016).

Shape legend: N shapes, V vertices.
"""

from __future__ import annotations

import numpy as np

from imhead.types import BoolArray, FloatArray

_ROUNDS = 12
_SETTLED_MM = 1e-4


def centroid_sizes(shapes: FloatArray) -> FloatArray:
    """(N,) root of the sum of squared distances to the centroid, of shapes (N, V, 3)."""
    away = shapes - shapes.mean(axis=1, keepdims=True)
    return np.sqrt(np.einsum("nvc,nvc->n", away, away))


def laid_on(shapes: FloatArray, target: FloatArray, on: BoolArray) -> FloatArray:
    """Shapes (N, V, 3) moved and turned onto a target (V, 3) by least squares over the vertices `on` (V,)."""
    middle, goal = shapes[:, on].mean(axis=1, keepdims=True), target[on].mean(axis=0)
    away = shapes - middle
    # many shapes at once; surfaces.transforms.aligned turns one
    u, _, vt = np.linalg.svd(np.einsum("nvi,vj->nij", away[:, on], target[on] - goal, optimize=True))
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    laid: FloatArray = away @ (u @ vt) + goal
    return laid


def superimposed(shapes: FloatArray, on: BoolArray, *, sizes: bool = True) -> FloatArray:
    """Shapes (N, V, 3) laid on their mean, which keeps the pose of the first.

    Args:
        on: (V,) vertices that are laid on one another.
        sizes: keep the size of each shape; without, all have the mean centroid size.
    """
    given = np.array(shapes, dtype=np.float64)
    if not sizes:
        size = centroid_sizes(given[:, on])
        given *= (size.mean() / size)[:, None, None]
    mean = given[0]
    for _ in range(_ROUNDS):
        laid = laid_on(given, mean, on)
        before, mean = mean, laid_on(laid.mean(axis=0, keepdims=True), given[0], on)[0]
        if np.abs((mean - before)[on]).max() < _SETTLED_MM:
            break
    return laid_on(given, mean, on)
