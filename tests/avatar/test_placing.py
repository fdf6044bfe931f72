"""Teeth, tongue and lashes on any head: they follow their own part of the face and nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.avatar.avatar import PosedTemplate
from imhead.avatar.eyes import look_turn, rotation
from imhead.avatar.lid_shapes import lid_shapes
from imhead.avatar.parts import LASHES, LOWER_TEETH, TONGUE, UPPER_TEETH, Parts
from imhead.avatar.placing import lids_of, mouth_on, mouth_shapes, with_lids
from imhead.conventions import ARKIT_NAMES
from imhead.surfaces.eyeballs import eye_centers, eyes_distance
from imhead.template.topology import Topology


def test_on_the_mean_head_the_parts_are_where_they_were_stored(parts: Parts, topology: Topology) -> None:
    assert np.abs(mouth_on(parts, parts.skin) - parts.mouth).max() < 1e-6
    assert np.abs(with_lids(parts, parts.skin, topology.part, parts.lids) - parts.lids).max() < 1e-6


def test_an_edit_that_moves_no_anchor_moves_no_tooth(parts: Parts) -> None:
    others = np.setdiff1d(np.arange(len(parts.skin)), parts.anchors)
    moved = parts.skin.copy()
    moved[others] += np.random.default_rng(0).normal(0.0, 5.0, (len(others), 3))
    assert np.array_equal(mouth_on(parts, moved), mouth_on(parts, parts.skin))


def test_an_edit_of_the_mouth_moves_no_lash(parts: Parts, topology: Topology) -> None:
    moved = parts.skin.copy()
    moved[parts.anchors] += [0.0, 2.0, 3.0]
    before = with_lids(parts, parts.skin, topology.part, parts.lids)
    assert np.array_equal(with_lids(parts, moved, topology.part, parts.lids), before)


@settings(max_examples=15, deadline=None)
@given(shift=st.tuples(*[st.floats(-20.0, 20.0)] * 3))
def test_a_head_that_is_shifted_takes_its_lashes_along(
    parts: Parts, topology: Topology, shift: tuple[float, float, float]
) -> None:
    moved = with_lids(parts, parts.skin + shift, topology.part, parts.lids)
    assert np.abs(moved - parts.lids - shift).max() < 1e-6


@settings(max_examples=15, deadline=None)
@given(angle=st.floats(-0.6, 0.6))
def test_a_head_that_is_turned_turns_its_lashes(parts: Parts, topology: Topology, angle: float) -> None:
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    moved = with_lids(parts, parts.skin @ turn.T, topology.part, parts.lids)
    assert np.abs(moved - parts.lids @ turn.T).max() < 1e-6


def test_no_tooth_bends_on_another_head(parts: Parts) -> None:
    rng = np.random.default_rng(1)
    moved = mouth_on(parts, parts.skin + [0.0, 3.0, 2.0] + rng.normal(0.0, 1.0, (len(parts.skin), 3)))
    for tooth in range(UPPER_TEETH, LOWER_TEETH + 16):
        rows = parts.mouth_piece == tooth
        rest = np.column_stack([parts.mouth[rows], np.ones(rows.sum())])
        fitted = rest @ np.linalg.lstsq(rest, moved[rows], rcond=None)[0]
        assert np.abs(fitted - moved[rows]).max() < 1e-6


def test_the_jaw_takes_the_lower_teeth_and_the_tongue_and_leaves_the_upper_ones(parts: Parts) -> None:
    opened = mouth_shapes(parts, parts.mouth)[ARKIT_NAMES.index("jawOpen")]
    upper = (parts.mouth_piece >= UPPER_TEETH) & (parts.mouth_piece < LOWER_TEETH)
    front = parts.mouth[:, 2] > 85.0
    assert not opened[upper].any()
    assert (opened[(parts.mouth_piece >= LOWER_TEETH) & front, 1] < -20.0).all()
    assert (opened[(parts.mouth_piece == TONGUE) & (parts.mouth[:, 2] > 80.0), 1] < -15.0).all()


def test_tongue_out_moves_the_tongue_out_and_nothing_else(parts: Parts) -> None:
    out = mouth_shapes(parts, parts.mouth)[ARKIT_NAMES.index("tongueOut")]
    tongue = parts.mouth_piece == TONGUE
    assert not out[~tongue].any()
    lips = parts.skin[parts.anchors, 2].max()
    assert (parts.mouth + out)[tongue, 2].max() > lips + 5.0


def test_lids_stay_out_of_the_eyes_in_every_shape_of_theirs(
    parts: Parts, topology: Topology, mean_template: PosedTemplate
) -> None:
    head = mean_template
    shapes = lid_shapes(parts, topology, head.skin, head.shapes, head.eyes)
    lids = lids_of(parts)
    for name in ("eyeLookDownLeft", "eyeSquintRight", "eyeWideLeft", "eyeBlinkRight"):
        moved = head.skin + shapes[ARKIT_NAMES.index(name)]
        eyes = head.eyes.copy()
        if name.startswith("eyeLook"):  # seen from the turned eye
            center = eye_centers(eyes)[0]
            moved = center + (moved - center) @ rotation(look_turn(name, 0))
        if name.startswith("eyeBlink"):  # a shut lid presses the cornea in
            eyes[int(name.endswith("Right")), 4] *= 0.3
        away = eyes_distance(moved[lids.vertices], eyes) - lids.least_mm
        acts = np.abs(shapes[ARKIT_NAMES.index(name)][lids.vertices]).max(axis=1) > 0.1
        assert away[acts].min() > -0.1


def test_a_blink_brings_the_roots_of_the_lashes_together(
    parts: Parts, topology: Topology, mean_template: PosedTemplate
) -> None:
    head = mean_template
    shapes = lid_shapes(parts, topology, head.skin, head.shapes, head.eyes)
    shut = with_lids(parts, head.skin + shapes[ARKIT_NAMES.index("eyeBlinkLeft")], topology.part, parts.lid_root)
    rows = (parts.lid_piece == LASHES) & (np.abs(parts.lid_root[:, 0] - 32.0) < 6.0)
    upper = rows & (parts.lid_root[:, 1] > 30.0)
    lower = rows & (parts.lid_root[:, 1] < 30.0)
    rest = parts.lid_root[upper, 1].mean() - parts.lid_root[lower, 1].mean()
    assert rest > 6.0
    assert abs(shut[upper, 1].mean() - shut[lower, 1].mean()) < 0.8


def test_a_lash_is_as_long_in_a_blink_as_at_rest(
    parts: Parts, topology: Topology, mean_template: PosedTemplate
) -> None:
    head = mean_template
    shapes = lid_shapes(parts, topology, head.skin, head.shapes, head.eyes)
    lashes = parts.lid_piece == LASHES
    lengths = []
    for skin in (head.skin, head.skin + shapes[ARKIT_NAMES.index("eyeBlinkRight")]):
        placed = with_lids(parts, skin, topology.part, parts.lids)
        root = with_lids(parts, skin, topology.part, parts.lid_root)
        lengths.append(np.linalg.norm(placed - root, axis=1)[lashes])
    assert np.abs(lengths[0] - lengths[1]).max() < 1e-6
