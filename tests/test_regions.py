"""The region table: what a person may name, and what it must cover."""

from __future__ import annotations

import numpy as np
import pytest

from imhead.regions import (
    CENTERS_MM,
    MIRROR,
    NET_COUNT,
    NET_OF_REGION,
    RADII_MM,
    REGION_COUNT,
    REGIONS,
    SIDE,
    groups,
    resolve,
)
from imhead.sources.ict import IctModel

EXCEPTIONS = 0
"""Vertices of the mean head's outside that no ball holds within 0.95 of its radius."""


def test_there_are_39_regions_with_names_of_their_own() -> None:
    assert REGION_COUNT == len(REGIONS) == 39
    assert len({r.name for r in REGIONS}) == 39
    assert [r.index for r in REGIONS] == list(range(39))


def test_16_pairs_and_7_midline_regions_share_23_networks() -> None:
    assert (SIDE > 0).sum() == (SIDE < 0).sum() == 16
    assert (SIDE == 0).sum() == 7
    assert NET_COUNT == 23
    assert sorted(set(NET_OF_REGION.tolist())) == list(range(23))
    np.testing.assert_array_equal(NET_OF_REGION[MIRROR], NET_OF_REGION)
    # pairs of a step are sorted by region and then taken network by network
    assert (np.diff(NET_OF_REGION) >= 0).all()


def test_mirroring_a_region_twice_is_the_identity() -> None:
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(39))
    np.testing.assert_array_equal(SIDE[MIRROR], -SIDE)
    np.testing.assert_array_equal(np.arange(39) == MIRROR, SIDE == 0)


def test_twins_are_mirror_images_of_each_other() -> None:
    np.testing.assert_array_equal(CENTERS_MM[MIRROR], CENTERS_MM * [-1.0, 1.0, 1.0])
    np.testing.assert_array_equal(RADII_MM[MIRROR], RADII_MM)
    assert (CENTERS_MM[SIDE > 0, 0] > 0).all()
    for left, right in ((r, REGIONS[r.mirror]) for r in REGIONS if r.side > 0):
        assert right.name == left.name.replace("left_", "right_")
        assert right.color == left.color


def test_every_region_belongs_to_exactly_one_group_of_its_own() -> None:
    own = [name for name in groups() if name not in ("eyes", "ears")]
    members = [member for name in own for member in groups()[name]]
    assert sorted(members) == sorted(r.name for r in REGIONS)


def test_eyes_and_ears_join_both_sides() -> None:
    assert set(groups()["eyes"]) == set(groups()["left_eye"]) | set(groups()["right_eye"])
    assert set(groups()["ears"]) == set(groups()["left_ear"]) | set(groups()["right_ear"])
    assert len(groups()["ears"]) == 6


def test_a_region_is_found_by_its_name() -> None:
    for region in REGIONS:
        assert resolve(region.name) == (region,)


def test_a_group_resolves_to_its_regions_in_region_order() -> None:
    assert [r.name for r in resolve("nose")] == ["left_nostril", "right_nostril", "nose_bridge", "nose_tip"]
    assert [r.name for r in resolve("jaw")] == ["left_jaw", "right_jaw"]
    for name, members in groups().items():
        found = resolve(name)
        assert {r.name for r in found} == set(members)
        assert [r.index for r in found] == sorted(r.index for r in found)


def test_names_and_groups_may_be_mixed_and_repeated() -> None:
    found = resolve(["nose_tip", "nose", "chin", "chin"])
    assert [r.name for r in found] == ["left_nostril", "right_nostril", "nose_bridge", "nose_tip", "chin"]
    assert resolve([]) == ()


@pytest.mark.parametrize(("typed", "meant"), [("nosetip", "nose_tip"), ("left_eer", "left_ear"), ("lips", "upper_lip")])
def test_a_near_miss_names_the_nearest_region_in_one_line(typed: str, meant: str) -> None:
    with pytest.raises(ValueError) as caught:
        resolve(["chin", typed])
    message = str(caught.value)
    assert repr(typed) in message and meant in message and "\n" not in message


def test_a_name_like_nothing_still_lists_some_that_exist() -> None:
    with pytest.raises(ValueError, match=r"did you mean [a-z_]+, ") as caught:
        resolve("0000")
    assert "\n" not in str(caught.value)


def test_every_place_on_the_outside_of_the_mean_head_is_well_inside_some_ball(ict: IctModel) -> None:
    for offset in (0.0, ict.canonical_offset):
        outside = (ict.mean + offset)[np.unique(ict.skin_open_faces)]
        nearest = (np.linalg.norm(outside[:, None] - CENTERS_MM, axis=2) / RADII_MM).min(axis=1)
        assert (nearest > 0.95).sum() <= EXCEPTIONS
