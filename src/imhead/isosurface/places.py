"""Where on a head something is, such as a handle of its mesh: the nearest region."""

from __future__ import annotations

from scipy.spatial import cKDTree

from imhead.regions import CENTERS_MM, REGIONS
from imhead.types import FloatArray, IntArray

_CENTERS = cKDTree(CENTERS_MM)


def nearest_rows(places_mm: FloatArray) -> IntArray:
    """(N,) index of the region nearest to each place (N, 3), head frame, mm."""
    rows: IntArray = _CENTERS.query(places_mm)[1]
    return rows


def nearest_regions(places_mm: FloatArray) -> tuple[str, ...]:
    """Names of the regions nearest to places (N, 3), head frame, mm."""
    return tuple(REGIONS[k].name for k in nearest_rows(places_mm))
