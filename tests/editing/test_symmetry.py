"""One side like the other, and blends: what they change, and what they leave."""

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

REGION = st.sampled_from(["nose", "left_ear", "ears", "mouth", "right_cheek", "left_brow", "chin"])
SIDES = st.sampled_from(["left", "right", "average"])


def a_head(model: Model, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    plain = model.neutral()
    offsets = 0.2 * rng.normal(size=plain.offsets.shape)
    return replace(plain, z_id=rng.normal(size=plain.z_id.shape), offsets=offsets, provenance=(f"head {seed}",))


def image(model: Model, codes: np.ndarray) -> np.ndarray:
    return codes[MIRROR] * model.net.region_parity.numpy()


def rows_of(name: str) -> list[int]:
    return sorted({k for r in resolve(name) for k in (r.index, r.mirror)})


@settings(deadline=None, max_examples=25)
@given(name=REGION, side=SIDES, seed=st.integers(0, 99))
def test_symmetrised_regions_are_their_own_mirror_image_and_the_rest_stays(
    model: Model, name: str, side: editing.Side, seed: int
) -> None:
    head = a_head(model, seed)
    after = editing.symmetrised(model, head, resolve(name), side)
    codes, rows = editing.region_codes(model, after), rows_of(name)
    np.testing.assert_allclose(codes[rows], image(model, codes)[rows], atol=1e-5)
    rest = np.setdiff1d(np.arange(39), rows)
    np.testing.assert_array_equal(after.offsets[rest], head.offsets[rest])


@pytest.mark.parametrize(("side", "sign"), [("left", 1), ("right", -1)])
def test_the_side_that_leads_keeps_its_codes(model: Model, side: editing.Side, sign: int) -> None:
    head = a_head(model)
    before = editing.region_codes(model, head)
    after = editing.region_codes(model, editing.symmetrised(model, head, resolve(["ears", "left_cheek"]), side))
    leading = [k for k in rows_of("ears") + rows_of("left_cheek") if SIDE[k] == sign]
    np.testing.assert_allclose(after[leading], before[leading], atol=1e-6)
    assert np.abs(after - before)[MIRROR[leading]].max() > 0.1


def test_symmetrising_twice_changes_nothing_more(model: Model) -> None:
    once = editing.symmetrised(model, a_head(model), REGIONS, "average")
    twice = editing.symmetrised(model, once, REGIONS, "average")
    np.testing.assert_allclose(twice.offsets, once.offsets, atol=1e-6)


def test_an_unknown_side_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match="left, right or average"):
        editing.symmetrised(model, a_head(model), resolve("nose"), "middle")  # type: ignore[arg-type]


@settings(deadline=None, max_examples=15)
@given(share=st.floats(0.0, 1.0), name=REGION)
def test_a_blend_lies_between_the_heads_by_its_shares(model: Model, share: float, name: str) -> None:
    head, first, second = (a_head(model, seed) for seed in range(3))
    shares = (share, 0.5 * (1.0 - share))
    after = editing.blend(model, head, [(first, shares[0]), (second, shares[1])], resolve(name))
    own, one, two = (editing.region_codes(model, h) for h in (head, first, second))
    rows = [r.index for r in resolve(name)]
    wanted = (1.0 - sum(shares)) * own + shares[0] * one + shares[1] * two
    np.testing.assert_allclose(editing.region_codes(model, after)[rows], wanted[rows], atol=1e-5)
    rest = np.setdiff1d(np.arange(39), rows)
    np.testing.assert_array_equal(after.offsets[rest], head.offsets[rest])


@pytest.mark.parametrize("shares", [[], [0.7, 0.6], [-0.1], [float("nan")]])
def test_shares_that_are_none_are_refused(model: Model, shares: list[float]) -> None:
    with pytest.raises(InputError):
        editing.blend(model, a_head(model), [(a_head(model, 1), s) for s in shares], resolve("nose"))
