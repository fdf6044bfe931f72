"""The unit of a scan follows from the size of the head that it would hold."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imhead.conventions import UNIT_MM
from imhead.fitting.pose.units import POSSIBLE_SIZE, unit_of_size


@given(unit=st.sampled_from(sorted(UNIT_MM)), size=st.floats(*POSSIBLE_SIZE))
def test_a_head_of_any_possible_size_is_given_its_own_unit(unit: str, size: float) -> None:
    assert unit_of_size({other: size * mm / UNIT_MM[unit] for other, mm in UNIT_MM.items()}) == unit


def test_no_two_units_both_give_a_possible_head() -> None:
    lengths = sorted(UNIT_MM.values())
    assert min(b / a for a, b in pairwise(lengths)) > POSSIBLE_SIZE[1] / POSSIBLE_SIZE[0]


@pytest.mark.parametrize("mm_of_the_mean_head", [48.0, 60.0])
def test_a_scale_at_which_no_unit_gives_a_head_stays_unknown(mm_of_the_mean_head: float) -> None:
    assert unit_of_size({unit: mm / mm_of_the_mean_head for unit, mm in UNIT_MM.items()}) is None
