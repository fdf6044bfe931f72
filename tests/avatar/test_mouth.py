"""Lips: together at rest, in front of the teeth in every shape."""

from __future__ import annotations

import numpy as np
import pytest

from imhead.avatar.avatar import PosedTemplate
from imhead.avatar.clearance import clear_of_teeth
from imhead.avatar.lips import lips_shut
from imhead.avatar.parts import LOWER_GUM, TONGUE, UPPER_TEETH, Parts
from imhead.avatar.placing import mouth_on, mouth_shapes
from imhead.conventions import ARKIT_NAMES
from imhead.surfaces.crossings import edges_of
from imhead.surfaces.ray_tree import ray_tree
from imhead.template.topology import MOUTH, Topology
from imhead.types import FloatArray, IntArray


def apart(parts: Parts, skin: FloatArray, shapes: FloatArray, gap: float) -> FloatArray:
    """The skin with its lips `gap` mm apart."""
    close = shapes[ARKIT_NAMES.index("mouthClose")]
    return skin - close * gap / np.abs(close[:, 1]).max()


def test_lips_that_are_a_little_apart_come_together_and_nothing_else_moves(
    mean_template: PosedTemplate, topology: Topology, parts: Parts
) -> None:
    given = apart(parts, mean_template.skin, mean_template.shapes, 2.0)
    shut = lips_shut(parts, topology.faces, given, mean_template.shapes)
    moved = np.abs(shut - given).max(axis=1)
    assert 0.3 < moved.max() < 2.0
    lips = parts.marks[48:68]
    away = np.linalg.norm(parts.skin[moved > 0.0][:, None] - lips[None], axis=2).min(axis=1)
    assert away.max() < 15.0


def test_an_edit_of_the_nose_moves_no_lip(mean_template: PosedTemplate, topology: Topology, parts: Parts) -> None:
    given = apart(parts, mean_template.skin, mean_template.shapes, 2.0)
    nose = given.copy()
    near = np.linalg.norm(parts.skin - parts.marks[30], axis=1) < 20.0
    nose[near] += [0.0, 1.0, 3.0]
    before, after = (lips_shut(parts, topology.faces, skin, mean_template.shapes) for skin in (given, nose))
    assert np.array_equal((after - nose)[~near], (before - given)[~near])


def test_an_open_mouth_stays_open(mean_template: PosedTemplate, topology: Topology, parts: Parts) -> None:
    wide = mean_template.skin + 0.6 * mean_template.shapes[ARKIT_NAMES.index("jawOpen")]
    middle = np.linalg.norm(parts.skin - parts.marks[[62, 66]].mean(axis=0), axis=1) < 6.0
    shut = lips_shut(parts, topology.faces, wide, mean_template.shapes)
    assert np.abs(shut - wide)[middle].max() < 1e-6


def pierced(points: FloatArray, faces: IntArray, skin: FloatArray, skin_faces: IntArray) -> int:
    """Edges of a mesh that pass through the skin."""
    edges = edges_of(faces)
    start, along = points[edges[:, 0]], points[edges[:, 1]] - points[edges[:, 0]]
    length = np.linalg.norm(along, axis=1)
    hit = ray_tree(skin, skin_faces).first(start, along / np.maximum(length, 1e-9)[:, None], length)
    return int(((hit.face >= 0) & (hit.distance <= length)).sum())


@pytest.fixture(scope="module")
def cleared(
    mean_template: PosedTemplate, topology: Topology, parts: Parts
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Skin, its shapes, mouth and its shapes of a head whose lower face is small for its teeth."""
    small = mean_template.skin * [0.97, 1.0, 0.985]
    mouth = mouth_on(parts, mean_template.skin)
    moves = mouth_shapes(parts, mouth)
    return *clear_of_teeth(parts, small, mean_template.shapes, mouth, moves, topology.part), mouth, moves


@pytest.mark.parametrize("name", ["mouthRollLower", "mouthRollUpper", "mouthSmileLeft", "mouthPressRight", "jawOpen"])
def test_no_tooth_pierces_a_lip(
    cleared: tuple[FloatArray, FloatArray, FloatArray, FloatArray], topology: Topology, parts: Parts, name: str
) -> None:
    skin, shapes, mouth, moves = cleared
    row = ARKIT_NAMES.index(name)
    faces = topology.faces[(topology.part[topology.faces] < 2).all(axis=1)]
    outside = faces[~(topology.part[faces] == MOUTH).any(axis=1)]
    teeth = parts.mouth_faces[(parts.mouth_piece[parts.mouth_faces] >= UPPER_TEETH).all(axis=1)]
    assert pierced(mouth + moves[row], teeth, skin + shapes[row], outside) <= 2


def test_a_tongue_that_comes_out_stays_joined_to_the_floor_of_the_mouth(parts: Parts) -> None:
    moved = np.linalg.norm(mouth_shapes(parts, parts.mouth)[ARKIT_NAMES.index("tongueOut")], axis=1)
    piece = parts.mouth_piece[parts.mouth_faces]
    joint = parts.mouth_faces[(piece == TONGUE).any(axis=1) & (piece == LOWER_GUM).any(axis=1)]
    tongue = joint[parts.mouth_piece[joint] == TONGUE]
    assert moved.max() > 35.0 and np.median(moved[tongue]) < 12.0
