"""The same scan twice: the same file under two names, or the same points, moved, scaled or in another order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial import cKDTree

from imhead.types import FloatArray

_LEVELS = 64
_SAME = 5e-5  # largest difference of the quantiles of two copies, in radii


def shape_print(points: FloatArray) -> FloatArray:
    """(64,) what no motion, mirror, unit or order of points (N, 3) changes: their distances from their middle."""
    away = points - points.mean(axis=0)
    distance = np.linalg.norm(away, axis=1)
    radius = float(np.sqrt(np.square(distance).mean()))
    quantiles: FloatArray = np.quantile(distance / max(radius, 1e-300), np.linspace(0.0, 1.0, _LEVELS))
    return quantiles


def copies(prints: Mapping[str, FloatArray]) -> dict[str, str]:
    """Name of each copy → that of the scan of which it is one, which comes before it."""
    names = list(prints)
    if len(names) < 2:
        return {}
    tree = cKDTree(np.stack([prints[name] for name in names]))
    found: dict[str, str] = {}
    for first, second in sorted(tree.query_pairs(_SAME, p=np.inf)):
        original = found.get(names[first], names[first])
        found.setdefault(names[second], original)
    return found
