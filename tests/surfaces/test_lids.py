"""Lids: no vertex too near to its eyeball, no margin off it, and nothing else touched."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.surfaces.eyeballs import eye_centers, eyes_distance, on_eyeball
from imhead.surfaces.lids import Lids
from imhead.types import FloatArray

MIRROR = np.array([-1.0, 1.0, 1.0])
EYES = np.array([[31.0, 30.0, 69.0, 15.4, 2.1]] * 2)
ROWS, RINGS = 24, 6
SEEDS = st.integers(0, 2**31)


@lru_cache
def sheet() -> FloatArray:
    """(2 · 24 · 6 + 20, 3) skin around both eyeballs, from 0.5 mm inside them to 10 mm outside, and 20 far places."""
    turn = np.linspace(0.0, 2.0 * np.pi, ROWS, endpoint=False)
    rings = []
    for height in np.linspace(-0.5, 10.0, RINGS):
        opening = 0.9 + 0.05 * height
        ways = np.stack([np.sin(opening) * np.cos(turn), np.sin(opening) * np.sin(turn), np.cos(opening) + 0 * turn], 1)
        rings.append(on_eyeball(ways, EYES[0]) + height * ways)
    left = np.concatenate(rings)
    far = np.random.default_rng(0).uniform([-80.0, -100.0, -80.0], [80.0, -20.0, 40.0], (20, 3))
    return np.concatenate([left, left * MIRROR, far])


@pytest.fixture(scope="module")
def lids() -> Lids:
    mean = sheet()
    return Lids.of(mean, np.arange(len(mean)), EYES)


def crumpled(seed: int, by_mm: float) -> tuple[FloatArray, FloatArray]:
    """The sheet, each vertex moved at random, and other eyeballs."""
    rng = np.random.default_rng(seed)
    sizes = np.stack([EYES[0] + rng.normal(0.0, 1.0, 5) * [1.0, 1.0, 1.0, 0.5, 0.2] for _ in range(2)])
    return sheet() + rng.normal(0.0, by_mm, (len(sheet()), 3)), sizes


def test_lids_are_the_skin_near_the_eyeballs(lids: Lids) -> None:
    distance = eyes_distance(sheet(), EYES)
    assert np.array_equal(np.sort(lids.vertices), np.flatnonzero(distance < 5.0))
    assert (lids.least_mm <= np.clip(distance[lids.vertices], None, 1.0) + 1e-9).all()
    assert (lids.least_mm >= -0.5).all() and (lids.most_mm >= lids.least_mm).all()
    skin_only = Lids.of(sheet(), np.arange(ROWS), EYES)
    assert set(skin_only.vertices) <= set(range(ROWS))


def test_the_lids_of_the_mean_head_stay_where_they_are(lids: Lids) -> None:
    np.testing.assert_allclose(lids.on_eyes(sheet(), EYES), sheet(), atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.floats(0.0, 3.0))
def test_no_vertex_is_nearer_to_its_eyeball_than_its_clearance(lids: Lids, seed: int, by_mm: float) -> None:
    vertices, eyes = crumpled(seed, by_mm)
    away = eyes_distance(lids.on_eyes(vertices, eyes)[lids.vertices], eyes)
    assert (away >= lids.least_mm - 0.05).all()
    assert (away <= lids.most_mm + 0.05).all()


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.floats(0.0, 3.0))
def test_nothing_away_from_the_eyes_is_touched_and_no_lid_that_lies_well(lids: Lids, seed: int, by_mm: float) -> None:
    vertices, eyes = crumpled(seed, by_mm)
    before = vertices.copy()
    moved = lids.on_eyes(vertices, eyes)
    np.testing.assert_array_equal(vertices, before)
    others = np.delete(np.arange(len(vertices)), lids.vertices)
    np.testing.assert_array_equal(moved[others], vertices[others])
    distance = eyes_distance(vertices[lids.vertices], eyes)
    well = lids.vertices[(distance > lids.least_mm) & (distance < lids.most_mm)]
    np.testing.assert_allclose(moved[well], vertices[well], atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.floats(0.0, 3.0))
def test_lids_move_along_rays_from_the_eyeball_s_centre(lids: Lids, seed: int, by_mm: float) -> None:
    vertices, eyes = crumpled(seed, by_mm)
    moved = lids.on_eyes(vertices, eyes)
    centers = eye_centers(eyes)[np.where(vertices[:, 0] > 0.0, 0, 1)]
    before, after = ((v - centers) / np.linalg.norm(v - centers, axis=1, keepdims=True) for v in (vertices, moved))
    np.testing.assert_allclose(after, before, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.floats(0.0, 3.0))
def test_lids_that_lie_on_the_eyes_stay_there(lids: Lids, seed: int, by_mm: float) -> None:
    vertices, eyes = crumpled(seed, by_mm)
    once = lids.on_eyes(vertices, eyes)
    np.testing.assert_allclose(lids.on_eyes(once, eyes), once, atol=0.05)


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_mirrored_lids_lie_on_mirrored_eyes(lids: Lids, seed: int) -> None:
    vertices, eyes = crumpled(seed, 1.0)
    twin = np.arange(len(vertices))
    half = ROWS * RINGS
    twin[: 2 * half] = np.roll(twin[: 2 * half], half)
    moved = lids.on_eyes(vertices, eyes)[: 2 * half]
    mirrored = lids.on_eyes((vertices * MIRROR)[twin], eyes[::-1])[: 2 * half]
    np.testing.assert_allclose(mirrored, (moved * MIRROR)[twin[: 2 * half]], atol=1e-9)
