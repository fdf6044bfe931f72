"""The septum stands between the nostrils, however deep their cavities go, and moves with them alone."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.conventions import MODEL_UNIT_MM
from imhead.model.septum import septum_distance, united_with_septum
from imhead.regions import CENTERS_MM, REGIONS

KEYPOINTS = torch.from_numpy(CENTERS_MM / MODEL_UNIT_MM).float()[None]
NOSTRILS = [next(r.index for r in REGIONS if r.name == f"{side}_nostril") for side in ("left", "right")]


def at(points_mm: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(points_mm) / MODEL_UNIT_MM).float()[None]


def test_a_cavity_that_joins_both_nostrils_is_parted_in_the_middle() -> None:
    middle = CENTERS_MM[NOSTRILS].mean(axis=0) + [0.0, 10.0, -2.5]
    across = middle + np.linspace(-6.0, 6.0, 25)[:, None] * [1.0, 0.0, 0.0]
    joined = united_with_septum(torch.full((1, 25), 5.0 / MODEL_UNIT_MM), at(across), KEYPOINTS)[0].numpy()
    inside = joined < 0.0
    assert inside[12] and not inside[:8].any() and not inside[-8:].any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_union_is_nowhere_outside_the_skin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = at(rng.uniform(-30.0, 30.0, (200, 3)) + [0.0, -5.0, 98.0])
    skin = torch.from_numpy(rng.normal(0.0, 0.05, (1, 200))).float()
    assert (united_with_septum(skin, points, KEYPOINTS) <= skin + 1e-7).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_it_moves_and_turns_with_the_nostrils_and_with_no_other_region(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, step = rng.uniform(-25.0, 25.0, (100, 3)) + [0.0, -5.0, 98.0], rng.normal(0.0, 4.0, 3)
    others = KEYPOINTS + torch.from_numpy(rng.normal(0.0, 0.1, KEYPOINTS.shape)).float()
    others[:, NOSTRILS] = KEYPOINTS[:, NOSTRILS]
    rest = septum_distance(at(points), KEYPOINTS)
    assert torch.equal(rest, septum_distance(at(points), others))
    moved = others.clone()
    moved[:, NOSTRILS] += torch.from_numpy(step / MODEL_UNIT_MM).float()
    torch.testing.assert_close(septum_distance(at(points + step), moved), rest, atol=1e-5, rtol=0.0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_it_is_no_steeper_than_a_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one = rng.uniform(-25.0, 25.0, (200, 3)) + [0.0, -5.0, 98.0]
    other = one + rng.normal(0.0, 1.0, (200, 3))
    apart = np.linalg.norm(one - other, axis=1)
    change = (septum_distance(at(one), KEYPOINTS) - septum_distance(at(other), KEYPOINTS))[0].abs().numpy()
    assert (change * MODEL_UNIT_MM <= 1.001 * apart + 1e-3).all()
