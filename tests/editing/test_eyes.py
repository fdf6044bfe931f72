"""Eyeballs in edits: they stay, unless all regions around one change; then they follow the lids or another head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead import editing
from imhead.checkpoint import Model
from imhead.isosurface.field import HeadField, eyes_of
from imhead.regions import REGIONS, resolve
from imhead.types import Head

SEEDS = st.integers(0, 99)
NAMES = st.sampled_from([r.name for r in REGIONS] + ["nose", "mouth", "ears", "cheek"])


def a_head(model: Model, seed: int) -> Head:
    """A head whose eyes have offsets of their own."""
    rng, plain = np.random.default_rng(seed), model.neutral()
    return replace(
        plain,
        z_id=rng.normal(size=plain.z_id.shape),
        offsets=0.2 * rng.normal(size=plain.offsets.shape),
        eyes=rng.normal(0.0, 0.5, (2, 5)),
    )


@settings(deadline=None, max_examples=25)
@given(NAMES, SEEDS, st.booleans())
def test_an_edit_of_a_region_moves_no_eyeball(model: Model, name: str, seed: int, mirror: bool) -> None:
    head, other, regions = a_head(model, 0), a_head(model, 1), resolve(name)
    for after in (
        editing.sample(model, head, regions, seed, 1.0, mirror),
        editing.along_direction(model, head, regions, seed % 5, 1.0, mirror),
        editing.nearest_plausible(model, head, regions, 0.5),
        editing.from_other(model, head, other, regions, 1.0, mirror),
        editing.blend(model, head, [(other, 0.5)], regions, mirror),
    ):
        np.testing.assert_array_equal(eyes_of(model, after), eyes_of(model, head))


def lid_centers(model: Model, head: Head) -> np.ndarray:
    """(2, 3) where the keypoints of the lids of each eye are, on the mean, as those of a left eye, mm."""
    field = HeadField(model, head)
    lids = [[r.index for r in resolve(f"{side}_eye") if "lid" in r.name] for side in ("left", "right")]
    sides = [np.mean([field.ball(row).center_mm for row in rows], axis=0) for rows in lids]
    return np.array(sides) * [[1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]]


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(["left_eye", "right_eye"]), st.floats(-2.0, 2.0), SEEDS, st.booleans())
def test_an_eyeball_follows_its_lids_when_its_whole_group_moves(
    model: Model, name: str, strength: float, seed: int, mirror: bool
) -> None:
    head, regions = a_head(model, seed), resolve(name)
    own = lid_centers(model, head)
    for after in (
        editing.along_direction(model, head, regions, seed % 5, strength, mirror),
        editing.sample(model, head, regions, seed, strength, mirror),
    ):
        change = eyes_of(model, after) - eyes_of(model, head)
        moved = lid_centers(model, after) - own
        side = 0 if name == "left_eye" else 1
        np.testing.assert_allclose(change[side, :3], moved[side], atol=1e-3)
        np.testing.assert_array_equal(change[:, 3:], 0.0)
        if mirror:
            np.testing.assert_allclose(change[1 - side], change[side], atol=1e-4)
        else:
            np.testing.assert_array_equal(change[1 - side], 0.0)


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(["left_eye", "right_eye"]), st.floats(0.0, 1.0), SEEDS)
def test_an_eye_taken_from_another_head_brings_its_eyeball(model: Model, name: str, share: float, seed: int) -> None:
    head, other = a_head(model, seed), a_head(model, seed + 1)
    own, taken = eyes_of(model, head), eyes_of(model, other)
    side = 0 if name == "left_eye" else 1
    for after in (
        editing.from_other(model, head, other, resolve(name), share, False),
        editing.blend(model, head, [(other, share)], resolve(name)),
    ):
        found = eyes_of(model, after)
        np.testing.assert_allclose(found[side], own[side] + share * (taken[side] - own[side]), atol=1e-4)
        np.testing.assert_array_equal(found[1 - side], own[1 - side])


def test_a_mirrored_take_moves_both_eyeballs_alike(model: Model) -> None:
    head, other = a_head(model, 0), a_head(model, 1)
    after = editing.from_other(model, head, other, resolve("left_eye"), 1.0, True)
    change = eyes_of(model, after) - eyes_of(model, head)
    np.testing.assert_allclose(change[0], eyes_of(model, other)[0] - eyes_of(model, head)[0], atol=1e-4)
    np.testing.assert_allclose(change[1], change[0], atol=1e-4)


@settings(deadline=None, max_examples=15)
@given(SEEDS)
def test_a_mirrored_head_has_the_mirrored_eyes_and_twice_is_the_identity(model: Model, seed: int) -> None:
    head = a_head(model, seed)
    mirrored = editing.mirrored(model, head)
    np.testing.assert_array_equal(eyes_of(model, mirrored), eyes_of(model, head)[::-1])
    np.testing.assert_array_equal(editing.mirrored(model, mirrored).eyes, head.eyes)


@pytest.mark.parametrize("side", ["left", "right", "average"])
def test_symmetrised_eyes_have_the_same_eyeball_on_both_sides(model: Model, side: editing.Side) -> None:
    head = a_head(model, 3)
    own = eyes_of(model, head)
    found = eyes_of(model, editing.symmetrised(model, head, resolve("left_eye"), side))
    wanted = {"left": own[0], "right": own[1], "average": own.mean(axis=0)}[side]
    np.testing.assert_allclose(found, np.tile(wanted, (2, 1)), atol=1e-4)
    nose = editing.symmetrised(model, head, resolve("nose"), side)
    np.testing.assert_array_equal(eyes_of(model, nose), own)
