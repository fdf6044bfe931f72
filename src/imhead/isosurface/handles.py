"""Where on a head something is, such as a handle of its mesh: the nearest region."""

from __future__ import annotations

import numpy as np

from imhead.regions import CENTERS_MM, REGIONS
from imhead.types import FloatArray


def nearest_regions(places_mm: FloatArray) -> tuple[str, ...]:
    """Names of the regions nearest to places (N, 3), head frame, mm."""
    nearest = np.linalg.norm(places_mm[:, None] - CENTERS_MM, axis=2).argmin(axis=1)
    return tuple(REGIONS[k].name for k in nearest)
