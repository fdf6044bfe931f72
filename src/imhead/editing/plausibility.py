"""How usual a region is, in standard deviations over the identities that the model knows, and the way back to usual."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from imhead.checkpoint import Model
from imhead.editing.steps import Regions, region_codes, rows, stepped, unfolding
from imhead.errors import InputError
from imhead.types import FloatArray, Head

USUAL_SIGMA = 2.0
"""Where `nearest_plausible` and `soft_clamped` stop unless told otherwise; a drawn identity has about 1."""
_KNEE = 0.7  # share of the limit up to which a soft clamp changes nothing
_FLOOR = 1e-4  # of the largest variance: a code dimension that identities hardly use


@lru_cache(maxsize=16)
def whitening(model: Model, regions: Regions) -> FloatArray:
    """(n · 64, n · 64) map of the regions' codes together to independent ones of one standard deviation each."""
    flat = unfolding(model)[:, rows(regions)].reshape(len(unfolding(model)), -1)
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
    """Each region that lies beyond `limit` brought to the nearest place at it, as standard deviations measure near.

    Raises:
        InputError: the limit is not above 0.
    """
    sigma = region_sigma(model, head, regions)
    return _scaled(model, head, regions, sigma, np.minimum(sigma, _checked(limit)), f"within {limit:g} sigma")


def soft_clamped(model: Model, head: Head, regions: Regions, limit: float = USUAL_SIGMA) -> Head:
    """Each region eased towards `limit`, which none reaches: usual ones stay, the order of unusual ones is kept.

    Raises:
        InputError: the limit is not above 0.
    """
    sigma = region_sigma(model, head, regions)
    knee = _KNEE * _checked(limit)
    eased = knee + (limit - knee) * np.tanh((sigma - knee) / (limit - knee))
    return _scaled(model, head, regions, sigma, np.where(sigma > knee, eased, sigma), f"eased to {limit:g} sigma")


def _scaled(model: Model, head: Head, regions: Regions, sigma: FloatArray, wanted: FloatArray, what: str) -> Head:
    codes = region_codes(model, head)[rows(regions)]
    share = np.divide(wanted, sigma, out=np.ones_like(sigma), where=sigma > 0.0)
    return stepped(model, head, regions, (share - 1.0)[:, None] * codes, False, what)


def _checked(limit: float) -> float:
    if not np.isfinite(limit) or limit <= 0.0:
        raise InputError(f"a limit of {limit:g} sigma leaves nothing; give a number above 0, 2 for instance")
    return limit
