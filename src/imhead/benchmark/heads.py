"""The heads that are timed: the mean head, and drawn ones that are edited and smile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.editing import sample
from imhead.isosurface.field import expression_code
from imhead.regions import REGIONS
from imhead.types import Head

_SPREAD = 0.8
_EDIT_STRENGTH = 2.0
_EXPRESSIONS = 3  # ARKit weights of a head that are not zero


def bench_heads(model: Model, count: int, seed: int) -> list[Head]:
    """`count` heads: the mean head, then drawn ones, each with one region drawn anew and three ARKit weights."""
    return [model.neutral(), *(_drawn(model, k, seed) for k in range(1, count))]


def _drawn(model: Model, index: int, seed: int) -> Head:
    rng = np.random.default_rng([seed, 0xBE, index])
    neutral = model.neutral()
    head = replace(neutral, z_id=rng.normal(0.0, _SPREAD, neutral.z_id.shape), provenance=(f"bench {index}",))
    edited = sample(model, head, (REGIONS[rng.integers(len(REGIONS))],), index, _EDIT_STRENGTH, False)
    names = rng.choice(ARKIT_NAMES, _EXPRESSIONS, replace=False)
    weights = {str(name): float(rng.uniform(0.3, 1.0)) for name in names}
    return replace(edited, z_exp=expression_code(model, weights))
