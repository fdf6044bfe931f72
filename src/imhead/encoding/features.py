"""What the encoder sees of a scan: how far it lies from fixed places on the mean head."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from imhead.types import FloatArray

REACH_MM = 20.0
"""A place without a scan point within this distance counts as not seen."""
_NEIGHBOURS = 4
_SOFTEN_MM = 1.0


def basis_features(points_mm: FloatArray, basis_mm: FloatArray) -> FloatArray:
    """Mean step from each basis point to its nearest scan points, and whether there are any.

    A basis point set (Prokudin et al., "Efficient learning on point clouds with basis point sets", ICCV 2019) makes a
    vector of fixed length of any number of points, whole or partial. The mean over a few neighbours makes up for how
    coarsely a scan happens to be sampled there.

    Args:
        points_mm: (N, 3) scan points, head frame, mm.
        basis_mm: (M, 3) basis points, head frame, mm.

    Returns:
        (M, 4) float32: the step in units of `REACH_MM`, zero where nothing was seen, and 1 where something was.
    """
    if not len(points_mm):
        return np.zeros((len(basis_mm), 4), dtype=np.float32)
    wanted = min(_NEIGHBOURS, len(points_mm))
    distance, nearest = cKDTree(points_mm).query(basis_mm, k=np.arange(1, wanted + 1))
    weight = 1.0 / (distance + _SOFTEN_MM)
    weight /= weight.sum(axis=1, keepdims=True)
    step = np.einsum("mk,mkc->mc", weight, points_mm[nearest]) - basis_mm
    seen = distance[:, 0] < REACH_MM
    columns = [np.where(seen[:, None], step / REACH_MM, 0.0), seen[:, None]]
    return np.concatenate(columns, axis=1).astype(np.float32)
