"""The encoder's input: vectors from basis points on the mean head to the scan."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from imhead.types import FloatArray

REACH_MM = 20.0
"""A basis point without a scan point within this distance counts as not observed."""
_NEIGHBOURS = 4
_SOFTENING_MM = 1.0


def basis_features(points_mm: FloatArray, basis_mm: FloatArray) -> FloatArray:
    """Mean vector from each basis point to its nearest scan points, and whether there are any.

    A basis point set (Prokudin et al., "Efficient learning on point clouds with basis point sets", ICCV 2019) turns any
    number of points into a vector of fixed length. The mean over a few neighbours makes coarse sampling matter less.

    Args:
        points_mm: (N, 3) scan points, head frame, mm.
        basis_mm: (M, 3) basis points, head frame, mm.

    Returns:
        (M, 4) float32: the vector in units of `REACH_MM`, and 1; all zero where no scan point is within reach.
    """
    if not len(points_mm):
        return np.zeros((len(basis_mm), 4), dtype=np.float32)
    count = min(_NEIGHBOURS, len(points_mm))
    distance, nearest = cKDTree(points_mm).query(basis_mm, k=np.arange(1, count + 1))
    weight = 1.0 / (distance + _SOFTENING_MM)
    weight /= weight.sum(axis=1, keepdims=True)
    vector = np.einsum("mk,mkc->mc", weight, points_mm[nearest]) - basis_mm
    observed = distance[:, 0] < REACH_MM
    columns = [np.where(observed[:, None], vector / REACH_MM, 0.0), observed[:, None]]
    return np.concatenate(columns, axis=1).astype(np.float32)
