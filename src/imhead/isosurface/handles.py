"""Where the mesh of a head has handles, by region. A head has none: each is a hole through a thin wall."""

from __future__ import annotations

import numpy as np

from imhead.regions import CENTERS_MM, REGIONS
from imhead.surfaces.handles import count_handles, handle_places
from imhead.types import Mesh


def handles_by_region(mesh: Mesh) -> tuple[int, tuple[str, ...]]:
    """How many handles a head's mesh has, head frame, mm, and the names of the regions nearest to them.

    Raises:
        InputError: as `count_handles`.
    """
    count = count_handles(mesh)
    if not count:
        return 0, ()
    nearest = np.linalg.norm(handle_places(mesh)[:, None] - CENTERS_MM, axis=2).argmin(axis=1)
    return count, tuple(REGIONS[k].name for k in np.unique(nearest))
