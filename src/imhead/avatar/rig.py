"""Five joints at places measured on a head, and how much of each vertex they carry.

Shape legend: V template vertices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from imhead.avatar.eyes import rotation
from imhead.avatar.parts import MOVED_SHAPES, Parts, affine
from imhead.surfaces.eyeballs import eye_centers
from imhead.template.projection import smoothstep
from imhead.types import FloatArray, IntArray

NECK, HEAD, JAW, LEFT_EYE, RIGHT_EYE = range(5)
JOINTS = ("neck", "head", "jaw", "left_eye", "right_eye")
PARENTS: tuple[int | None, ...] = (None, NECK, HEAD, HEAD, HEAD)
# at rest, mm: the lowest vertebra of the neck, and the joint between skull and spine
_NECK_MM, _HEAD_MM = np.array([0.0, -118.0, -28.0]), np.array([0.0, -6.0, -12.0])
_TILT = np.array([0.0, 0.8, 0.6])
_NAPE_MM, _SKULL_MM = -98.0, -44.0  # along the tilt: below the first all is neck, above the second all is head
_CARRIERS = 60


@dataclass(frozen=True, eq=False)
class Rig:
    """The skeleton of one head."""

    places: FloatArray
    """(5, 3) mm, in the order of `JOINTS`."""
    jaw_turn: FloatArray
    """(3,) rotation vector of the jaw at `jawOpen` 1, radians."""
    head_share: FloatArray
    """(V,) how much of a template vertex the head carries, the neck the rest."""
    jaw_share: FloatArray
    """(V,) how much of a template vertex the jaw carries, if joints drive it."""


def rig_of(parts: Parts, skin: FloatArray, eyes: FloatArray, jaw_open: FloatArray) -> Rig:
    """The skeleton of the head with template vertices `skin` (V, 3) and eyeballs `eyes` (2, 5).

    Args:
        jaw_open: (V, 3) movement of the template by `jawOpen` at weight 1, mm.
    """
    hinge, turn = jaw_hinge(parts)
    places = np.stack([_NECK_MM, _HEAD_MM, hinge])
    places = places + np.stack([_carried(parts, skin, place) for place in places])
    along = parts.skin @ _TILT
    share = smoothstep(_NAPE_MM, _SKULL_MM, along)
    bone = affine(parts.jaw[MOVED_SHAPES.index("jawOpen")], parts.skin, parts.centers[1])
    length = np.maximum(np.square(bone).sum(axis=1), 1.0)
    jaw = np.clip((jaw_open * bone).sum(axis=1) / length, 0.0, 1.0)
    return Rig(np.concatenate([places, eye_centers(eyes)]), turn, share, jaw)


def jaw_hinge(parts: Parts) -> tuple[FloatArray, FloatArray]:
    """The middle of the axis (3,) about which the jaw opens on the mean head, and its turn (3,), radians."""
    numbers = parts.jaw[MOVED_SHAPES.index("jawOpen")].reshape(3, 4)
    u, _, vt = np.linalg.svd(numbers[:, :3] + np.eye(3))
    matrix = u @ vt
    angle = float(np.arctan2(matrix[2, 1] - matrix[1, 2], matrix[1, 1] + matrix[2, 2]))
    turn = np.array([angle, 0.0, 0.0])
    # where the turn about x leaves the jaw's centre as far moved as the map does
    spin = rotation(turn) - np.eye(3)
    place = parts.centers[1] - np.linalg.pinv(spin) @ numbers[:, 3]
    return np.array([0.0, place[1], place[2]]), turn


def _carried(parts: Parts, skin: FloatArray, place: FloatArray) -> FloatArray:
    """The movement (3,) from the mean head of a place inside: of the skin around it, both sides alike."""
    near = cKDTree(parts.skin).query(place * [0.0, 1.0, 1.0] + [[62.0, 0.0, 0.0], [-62.0, 0.0, 0.0]], k=_CARRIERS)[1]
    moved: FloatArray = (skin[near.ravel()] - parts.skin[near.ravel()]).mean(axis=0)
    return moved


def skin_weights(rig: Rig, *, jaw: bool) -> tuple[IntArray, FloatArray]:
    """Joints (V, 4) and weights (V, 4) of the template's vertices.

    Args:
        jaw: whether the jaw's joint drives the jaw.
    """
    count = len(rig.head_share)
    share = rig.jaw_share * rig.head_share if jaw else np.zeros(count)
    weights = np.stack([1.0 - rig.head_share, rig.head_share - share, share, np.zeros(count)], axis=1)
    return _tidy(np.tile([NECK, HEAD, JAW, 0], (count, 1)), weights)


def whole_weights(count: int, joint: int) -> tuple[IntArray, FloatArray]:
    """Joints and weights (N, 4) of vertices that one joint carries."""
    return np.tile([joint, 0, 0, 0], (count, 1)), np.tile([1.0, 0.0, 0.0, 0.0], (count, 1))


def _tidy(joints: IntArray, weights: FloatArray) -> tuple[IntArray, FloatArray]:
    """Weights that add up to 1 as single floats, and joint 0 where a weight is 0, as importers expect."""
    weights = np.where(weights < 1e-4, 0.0, weights)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.where(weights > 0, joints, 0), weights


def residual_open(rig: Rig, points: FloatArray, moved: FloatArray, share: FloatArray) -> FloatArray:
    """What a shape has still to do (N, 3) when the jaw's joint opens the jaw, so that both reach `points + moved`."""
    turn, pivot = rotation(rig.jaw_turn), rig.places[JAW]
    blend = np.eye(3) + share[:, None, None] * (turn - np.eye(3))
    wanted = points + moved - pivot
    left: FloatArray = np.linalg.solve(blend, wanted[:, :, None])[:, :, 0] + pivot - points
    return left
