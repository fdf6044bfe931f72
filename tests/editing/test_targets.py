"""Edits by number and by word, on the shipped model: what is asked for is reached, and nothing else moves."""

from __future__ import annotations

import re

import numpy as np
import pytest

from imhead import InputError, editing, load
from imhead.api import EditableHead
from imhead.regions import resolve


@pytest.fixture(scope="module")
def head() -> EditableHead:
    opened = load(device="cpu")
    if not opened.has_template:
        pytest.skip("the shipped model has no template yet: imhead train writes it, copy it beside the model")
    return opened.sample(1, seed=6)[0]


@pytest.mark.parametrize(
    ("group", "name", "change"),
    [("nose", "tip_projection", -2.0), ("chin", "chin_projection", 2.0), ("mouth", "mouth_width", 1.0)],
)
def test_a_target_is_reached_while_the_other_lengths_stay(
    head: EditableHead, group: str, name: str, change: float
) -> None:
    after, reached = head.by_number(group, {name: change})
    before_mm, after_mm = head.measure(), after.measure()
    assert after_mm[name] - before_mm[name] == pytest.approx(change, abs=0.1)
    assert len(reached.held) >= 1
    for held in reached.held:
        assert after_mm[held] == pytest.approx(before_mm[held], abs=0.3)
    rest = np.setdiff1d(np.arange(39), [r.index for r in resolve(group)])
    np.testing.assert_array_equal(after.codes.offsets[rest], head.codes.offsets[rest])
    assert f"{name} " in after.codes.provenance[-1]


def test_two_targets_are_reached_at_once(head: EditableHead) -> None:
    _, reached = head.by_number("nose", {"tip_projection": -1.0, "alar_width": 1.5})
    changes = [change.after - change.before for change in reached.targets.values()]
    np.testing.assert_allclose(changes, [-1.0, 1.5], atol=0.1)
    assert "nasal_length" in reached.held


def test_with_mirror_both_ears_grow_alike(head: EditableHead) -> None:
    _, reached = head.by_number("left_ear", {"left_ear_length": 2.0}, mirror=True)
    grown = reached.moved["right_ear_length"]
    assert reached.targets["left_ear_length"].after - reached.targets["left_ear_length"].before == pytest.approx(
        2.0, abs=0.1
    )
    assert grown.after - grown.before == pytest.approx(2.0, abs=0.5)


def test_a_target_out_of_reach_is_refused_with_the_nearest_value_which_is_reached(head: EditableHead) -> None:
    with pytest.raises(InputError, match="nearest reachable value is") as refused:
        head.by_number("nose_tip", {"tip_projection": -30.0})
    assert "\n" not in str(refused.value)
    named = re.search(r"a change of ([+-][\d.]+)mm", str(refused.value))
    assert named is not None
    nearest = float(named.group(1))
    assert -30.0 < nearest < 0.0
    _, reached = head.by_number("nose_tip", {"tip_projection": nearest})
    assert reached.sigma <= editing.LIMIT_SIGMA


@pytest.mark.parametrize(
    ("group", "name", "change", "words"),
    [
        ("chin", "tip_projection", 1.0, "edit nose"),
        ("nose", "tip_projektion", 1.0, "did you mean tip_projection"),
        ("nose", "tip_projection", float("nan"), "-500 to 500"),
        ("nose", "nose_volume", 1.0, "a volume"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(
    head: EditableHead, group: str, name: str, change: float, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        head.by_number(group, {name: change})


def test_a_wider_nose_is_wider_and_a_narrower_one_its_opposite(head: EditableHead) -> None:
    start = head.measure()["alar_width"]
    wider, narrower = (head.along("nose", word).measure()["alar_width"] for word in ("wider", "narrower"))
    assert wider > start + 1.0 and narrower < start - 1.0


def test_words_belong_to_their_regions(head: EditableHead) -> None:
    assert {"wider", "narrower", "longer", "shorter"} <= set(editing.words_for(resolve("ears")))
    with pytest.raises(InputError, match="they have fuller"):
        head.along("mouth", "upturned")
    left = editing.along_word(head.model, head.codes, resolve("left_ear"), "longer", 1.0, False).head
    moved = np.abs(left.offsets - head.codes.offsets).max(axis=1) > 0
    assert set(np.flatnonzero(moved)) == {r.index for r in resolve("left_ear")}
