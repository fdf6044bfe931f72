"""Edits: the chosen regions change, nothing else does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead import editing
from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.regions import MIRROR, REGIONS, SIDE, resolve
from imhead.types import Head

REGION = st.sampled_from([r.name for r in REGIONS] + ["nose", "left_ear", "ears", "mouth"])
STRENGTH = st.floats(-3.0, 3.0)


def a_head(model: Model, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    plain = model.neutral()
    return replace(
        plain,
        z_id=rng.normal(size=plain.z_id.shape),
        z_exp=rng.normal(size=plain.z_exp.shape),
        offsets=0.2 * rng.normal(size=plain.offsets.shape),
        provenance=(f"head {seed}",),
    )


def unchosen(name: str) -> np.ndarray:
    chosen = {r.index for r in resolve(name)}
    return np.array([r.index not in chosen for r in REGIONS])


def assert_only(name: str, before: Head, after: Head) -> None:
    rest = unchosen(name)
    np.testing.assert_array_equal(after.offsets[rest], before.offsets[rest])
    np.testing.assert_array_equal(after.z_id, before.z_id)
    np.testing.assert_array_equal(after.z_exp, before.z_exp)
    assert after.model_hash == before.model_hash


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_a_mix_of_heads_is_of_assumed_scale_if_one_of_them_is(model: Model, first: bool, second: bool) -> None:
    one, other = (replace(a_head(model, k), scale_assumed=assumed) for k, assumed in enumerate((first, second)))
    regions = resolve("nose")
    assert editing.blend(model, one, [(other, 0.5)], regions).scale_assumed == (first or second)
    assert editing.from_other(model, one, other, regions, 1.0, False).scale_assumed == (first or second)
    assert editing.blend(model, one, [(other, 0.0)], regions).scale_assumed == first
    assert editing.sample(model, one, regions, 3, 1.0, False).scale_assumed == first


@settings(deadline=None, max_examples=25)
@given(name=REGION, seed=st.integers(0, 99), strength=STRENGTH)
def test_an_edit_changes_the_offsets_of_its_regions_only(model: Model, name: str, seed: int, strength: float) -> None:
    head, regions = a_head(model), resolve(name)
    for after in (
        editing.along_direction(model, head, regions, seed % 8, strength, False),
        editing.sample(model, head, regions, seed, strength, False),
        editing.from_other(model, head, a_head(model, 1), regions, strength, False),
    ):
        assert_only(name, head, after)
        assert len(after.provenance) == len(head.provenance) + 1
        assert all(region.name in after.provenance[-1] for region in regions)


def test_an_edit_does_change_its_regions(model: Model) -> None:
    head, regions = a_head(model), resolve("nose")
    rows = [r.index for r in regions]
    for after in (
        editing.along_direction(model, head, regions, 0, 1.0, False),
        editing.sample(model, head, regions, 5, 1.0, False),
        editing.from_other(model, head, a_head(model, 1), regions, 1.0, False),
    ):
        assert (np.abs(after.offsets - head.offsets)[rows].max(axis=1) > 1e-3).all()


@settings(deadline=None, max_examples=15)
@given(name=REGION, seed=st.integers(0, 99), mirror=st.booleans())
def test_strength_zero_is_the_identity(model: Model, name: str, seed: int, mirror: bool) -> None:
    head, regions = a_head(model), resolve(name)
    for after in (
        editing.along_direction(model, head, regions, 0, 0.0, mirror),
        editing.sample(model, head, regions, seed, 0.0, mirror),
        editing.from_other(model, head, a_head(model, 1), regions, 0.0, mirror),
    ):
        np.testing.assert_array_equal(after.offsets, head.offsets)


@pytest.mark.parametrize("name", ["left_ear", "left_brow", "right_cheek"])
def test_a_mirrored_edit_moves_both_sides_alike(model: Model, name: str) -> None:
    head, regions = model.neutral(), resolve(name)
    after = editing.sample(model, head, regions, 3, 1.0, True)
    plain = editing.sample(model, head, regions, 3, 1.0, False)
    rows = [r.index for r in regions]
    np.testing.assert_array_equal(after.offsets[rows], plain.offsets[rows])
    np.testing.assert_array_equal(after.offsets[MIRROR[rows]], plain.offsets[rows])
    touched = np.zeros(39, dtype=bool)
    touched[rows] = touched[MIRROR[rows]] = True
    assert not after.offsets[~touched].any()


def test_a_mirrored_edit_of_a_symmetric_head_leaves_it_symmetric(model: Model) -> None:
    head = model.neutral()
    for name in ("nose", "left_ear", "mouth", "ears", "chin"):
        after = editing.sample(model, head, resolve(name), 3, 1.0, True)
        np.testing.assert_array_equal(editing.mirrored(model, after).offsets, after.offsets)


def test_where_both_sides_are_chosen_the_left_one_leads(model: Model) -> None:
    head, regions = model.neutral(), resolve("ears")
    after = editing.sample(model, head, regions, 3, 1.0, True)
    plain = editing.sample(model, head, regions, 3, 1.0, False)
    left = [r.index for r in regions if r.side > 0]
    np.testing.assert_array_equal(after.offsets[left], plain.offsets[left])
    np.testing.assert_array_equal(after.offsets[MIRROR[left]], plain.offsets[left])


def test_a_region_taken_whole_from_another_head_has_that_head_s_codes(model: Model) -> None:
    head, other, regions = a_head(model), a_head(model, 1), resolve("mouth")
    rows = [r.index for r in regions]
    wanted = editing.region_codes(model, other)[rows]
    taken = editing.from_other(model, head, other, regions, 1.0, False)
    np.testing.assert_allclose(editing.region_codes(model, taken)[rows], wanted, atol=1e-5)
    half = editing.from_other(model, head, other, regions, 0.5, False)
    mean = 0.5 * (wanted + editing.region_codes(model, head)[rows])
    np.testing.assert_allclose(editing.region_codes(model, half)[rows], mean, atol=1e-5)


def test_region_codes_are_those_that_the_networks_see(model: Model) -> None:
    import torch

    head = a_head(model)
    seen = model.net.regional(torch.tensor(head.z_id)[None], torch.tensor(head.offsets)[None]).z[0]
    np.testing.assert_allclose(editing.region_codes(model, head), seen.numpy(), atol=1e-5)


def test_the_same_seed_draws_the_same_region_and_another_seed_another(model: Model) -> None:
    head, regions = a_head(model), resolve("nose")
    first, again, other = (editing.sample(model, head, regions, seed, 1.0, False) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.offsets, again.offsets)
    assert not np.array_equal(first.offsets, other.offsets)


def test_directions_are_sorted_orthogonal_and_explain_everything(model: Model) -> None:
    steps, share = editing.directions(model, resolve("nose"))
    assert steps.shape[1:] == (4, model.net.config.region_code_size)
    assert (np.diff(share) <= 0).all() and share.sum() == pytest.approx(1.0)
    flat = steps.reshape(len(steps), -1)
    gram = flat @ flat.T
    np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0.0, atol=1e-9)
    # a direction's square length is the variance of the identities along it
    unfold = model.net.decnet.weight[:, [r.index for r in resolve("nose")]].flatten(1).double().numpy()
    np.testing.assert_allclose(np.diag(gram).sum(), (unfold**2).sum(), rtol=1e-6)


@pytest.mark.parametrize("index", [-1, 8, 10_000])
def test_a_direction_that_does_not_exist_is_refused(model: Model, index: int) -> None:
    regions = resolve("nose_tip")
    with pytest.raises(InputError, match="outside 0 to 7 for nose_tip") as caught:
        editing.along_direction(model, a_head(model), regions, index, 1.0, False)
    assert "\n" not in str(caught.value)
    editing.along_direction(model, a_head(model), regions, 7, 1.0, False)


def test_a_strength_that_is_not_a_number_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match="NaN"):
        editing.sample(model, a_head(model), resolve("nose"), 1, float("nan"), False)


def test_mirroring_a_head_twice_is_the_identity(model: Model) -> None:
    head = replace(a_head(model), z_exp=np.zeros(model.net.config.expression_size))
    once = editing.mirrored(model, head)
    twice = editing.mirrored(model, once)
    assert not np.array_equal(once.offsets, head.offsets) and not np.array_equal(once.z_id, head.z_id)
    np.testing.assert_array_equal(twice.offsets, head.offsets)
    np.testing.assert_array_equal(twice.z_id, head.z_id)


def test_a_mirrored_head_has_its_regions_swapped(model: Model) -> None:
    head = a_head(model)
    before = editing.region_codes(model, head)
    after = editing.region_codes(model, editing.mirrored(model, head))
    pairs = SIDE != 0
    np.testing.assert_allclose(after[pairs], before[MIRROR][pairs], atol=1e-5)
