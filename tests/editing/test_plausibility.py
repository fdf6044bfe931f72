"""How usual a region is, and the way back to usual."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead import editing
from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.regions import REGIONS, resolve
from imhead.types import Head

LIMIT = st.floats(0.5, 3.0)


def a_head(model: Model, seed: int = 0, size: float = 3.0) -> Head:
    rng = np.random.default_rng(seed)
    plain = model.neutral()
    return replace(plain, z_id=size * rng.normal(size=plain.z_id.shape))


def test_drawn_identities_have_about_one_sigma_and_the_mean_head_none(model: Model) -> None:
    drawn = [editing.region_sigma(model, a_head(model, seed, 1.0), REGIONS) for seed in range(40)]
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(drawn), axis=0)), 1.0, atol=0.25)
    assert not editing.region_sigma(model, model.neutral(), REGIONS).any()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99), limit=LIMIT)
def test_the_nearest_plausible_head_lies_within_the_limit_and_is_its_own(model: Model, seed: int, limit: float) -> None:
    head = a_head(model, seed)
    near = editing.nearest_plausible(model, head, REGIONS, limit)
    assert editing.region_sigma(model, near, REGIONS).max() <= limit * (1.0 + 1e-4)
    again = editing.nearest_plausible(model, near, REGIONS, limit)
    np.testing.assert_allclose(again.offsets, near.offsets, atol=1e-4)


def test_usual_regions_and_regions_that_were_not_chosen_stay(model: Model) -> None:
    head = a_head(model, 1, 0.5)
    np.testing.assert_allclose(editing.nearest_plausible(model, head, REGIONS, 2.0).offsets, head.offsets, atol=1e-7)
    wild = a_head(model, 1, 8.0)
    nose = [r.index for r in resolve("nose")]
    tamed = editing.nearest_plausible(model, wild, resolve("nose"), 1.0)
    assert np.abs(tamed.offsets[nose]).max() > 0.1
    assert not np.delete(tamed.offsets, nose, axis=0).any()


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_that_is_none_is_refused(model: Model, limit: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        editing.nearest_plausible(model, a_head(model), REGIONS, limit)
