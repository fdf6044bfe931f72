"""How far a region lies from the mean, in standard deviations over the model's identities, and a limit on it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from imhead.checkpoint import Model
from imhead.editing.steps import Regions, region_codes, region_rows, stepped, unfolding
from imhead.errors import InputError
from imhead.types import FloatArray, Head

USUAL_SIGMA = 2.0
"""Default limit of `nearest_plausible`; a drawn identity has about 1."""
_FLOOR = 1e-4  # of the largest variance: code dimensions that identities hardly use count as this


@lru_cache(maxsize=16)
def whitening(model: Model, regions: Regions) -> FloatArray:
    """(n · 64, n · 64) map of the regions' codes together to independent ones of one standard deviation each."""
    flat = unfolding(model)[:, region_rows(regions)].reshape(len(unfolding(model)), -1)
    variance, axes = np.linalg.eigh(flat.T @ flat)
    scale: FloatArray = 1.0 / np.sqrt(np.maximum(variance, _FLOOR * variance.max()))
    return np.asarray(scale[:, None] * axes.T)


def region_sigma(model: Model, head: Head, regions: Regions) -> FloatArray:
    """(n,) how far each region lies from the mean, in standard deviations per √dimension: about 1 for an identity."""
    codes = region_codes(model, head)
    return np.array(
        [np.sqrt(np.mean((whitening(model, (r,)) @ codes[r.index]) ** 2)) for r in regions], dtype=np.float64
    )


def nearest_plausible(model: Model, head: Head, regions: Regions, limit: float = USUAL_SIGMA) -> Head:
    """Bring each region that lies beyond `limit` standard deviations back to that distance from the mean.

    Raises:
        InputError: the limit is not above 0.
    """
    sigma = region_sigma(model, head, regions)
    return _scaled(model, head, regions, sigma, np.minimum(sigma, _checked(limit)), f"within {limit:g} sigma")


def _scaled(model: Model, head: Head, regions: Regions, sigma: FloatArray, wanted: FloatArray, what: str) -> Head:
    codes = region_codes(model, head)[region_rows(regions)]
    share = np.divide(wanted, sigma, out=np.ones_like(sigma), where=sigma > 0.0)
    return stepped(model, head, regions, (share - 1.0)[:, None] * codes, False, what)


def _checked(limit: float) -> float:
    if not np.isfinite(limit) or limit <= 0.0:
        raise InputError(f"a limit of {limit:g} sigma leaves nothing; give a number above 0, 2 for instance")
    return limit
