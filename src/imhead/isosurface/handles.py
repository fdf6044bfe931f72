"""Where the mesh of a head has handles, by region. A head has none: each is a hole through a thin wall."""

from __future__ import annotations

import numpy as np

from imhead.regions import CENTERS_MM, REGIONS
from imhead.surfaces.handles import count_handles, handle_places
from imhead.types import FloatArray, Mesh


def handles_by_region(mesh: Mesh) -> tuple[int, tuple[str, ...]]:
    """How many handles a head's mesh has, head frame, mm, and the names of the regions nearest to them.

    Raises:
        InputError: as `count_handles`.
    """
    count = count_handles(mesh)
    if not count:
        return 0, ()
    return count, tuple(sorted(set(nearest_regions(handle_places(mesh)))))


def nearest_regions(places_mm: FloatArray) -> tuple[str, ...]:
    """Names of the regions nearest to places (N, 3), head frame, mm."""
    nearest = np.linalg.norm(places_mm[:, None] - CENTERS_MM, axis=2).argmin(axis=1)
    return tuple(REGIONS[k].name for k in nearest)
