"""The heads that are meshed: the mean head, and sampled ones with an edit and an expression."""

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
_EXPRESSIONS = 3  # nonzero ARKit weights of a head


def bench_heads(model: Model, count: int, seed: int) -> list[Head]:
    """`count` heads: the mean head, then sampled ones, each with one region sampled anew and three ARKit weights."""
    return [model.neutral(), *(_sampled_head(model, k, seed) for k in range(1, count))]


def _sampled_head(model: Model, index: int, seed: int) -> Head:
    rng = np.random.default_rng([seed, 0xBE, index])
    neutral = model.neutral()
    head = replace(neutral, z_id=rng.normal(0.0, _SPREAD, neutral.z_id.shape), provenance=(f"bench {index}",))
    edited = sample(model, head, (REGIONS[rng.integers(len(REGIONS))],), index, _EDIT_STRENGTH, False)
    names = rng.choice(ARKIT_NAMES, _EXPRESSIONS, replace=False)
    weights = {str(name): float(rng.uniform(0.3, 1.0)) for name in names}
    return replace(edited, z_exp=expression_code(model, weights))
