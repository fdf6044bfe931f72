"""A copy is known by its points, however it was moved; another scan is none."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from imhead.curation.duplicates import copies, shape_print

FIRST, SECOND = (np.random.default_rng(seed).normal(size=(3000, 3)) * [80.0, 110.0, 90.0] for seed in (0, 1))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.001, 0.1, 1.0, 1.0 / 25.4]), st.booleans())
def test_a_moved_scaled_mirrored_and_reordered_copy_is_found(seed: int, unit: float, mirrored: bool) -> None:
    rng = np.random.default_rng(seed)
    turn = Rotation.random(random_state=seed).as_matrix() @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    moved = ((FIRST @ turn.T + rng.normal(0.0, 400.0, 3)) * unit)[rng.permutation(len(FIRST))].astype(np.float32)
    prints = {"a": shape_print(FIRST), "b": shape_print(SECOND), "c": shape_print(moved.astype(np.float64))}
    assert copies(prints) == {"c": "a"}


def test_a_scan_of_the_same_surface_is_no_copy() -> None:
    noisy = FIRST + np.random.default_rng(2).normal(0.0, 0.2, FIRST.shape)
    assert copies({"a": shape_print(FIRST), "b": shape_print(noisy)}) == {}


def test_every_further_copy_names_the_first() -> None:
    found = shape_print(FIRST)
    assert copies({"a": found, "b": found, "c": found}) == {"b": "a", "c": "a"}
