"""Shapes of lids that lie on the eyeballs, and a blink that shuts them.

Shape legend: V template vertices.
"""

from __future__ import annotations

import numpy as np

from imhead.avatar.eyes import look_turn, rotation
from imhead.avatar.parts import LASHES, Parts
from imhead.avatar.placing import lids_of, with_lids
from imhead.conventions import ARKIT_NAMES
from imhead.surfaces.eyeballs import eye_centers
from imhead.types import FloatArray, IntArray

_FLATTENED = 0.7  # share of a cornea's bulge that a shut lid takes away
_LID_SHAPES = ("eyeBlink", "eyeLook", "eyeSquint", "eyeWide", "cheekSquint")
_STILL_MM = 0.02
_OVERLAP = 0.02  # radians by which the roots of the upper lashes pass those of the lower ones; the margins then touch
_COLUMN = 0.06  # width in azimuth, radians, over which the gap is averaged
_ROUNDS = 3


def lid_shapes(parts: Parts, skin: FloatArray, shapes: FloatArray, eyes: FloatArray, part: IntArray) -> FloatArray:
    """The 52 shapes (52, V, 3) with their lids laid on the eyeballs at weight 1, and blinks that shut the eye.

    A shape moves a lid along straight lines, through the eye; and lids of another head are not as far apart as those
    of the mean.

    Args:
        skin: (V, 3) the neutral face.
        shapes: (52, V, 3) as the template has them.
        eyes: (2, 5) eyeballs.
        part: (V,) as in the topology.
    """
    lids, found = lids_of(parts), shapes.astype(np.float64)
    rows = lids.vertices
    for k, name in enumerate(ARKIT_NAMES):
        if not name.startswith(_LID_SHAPES):
            continue
        pressed = eyes.copy()
        blinks = name.startswith("eyeBlink")
        side = int(name.endswith("Right"))
        if blinks:
            pressed[side, 4] *= 1.0 - _FLATTENED
        # lids lie on the cornea where the look has turned it
        turn = rotation(look_turn(name, side)) if name.startswith("eyeLook") else np.eye(3)
        center = eye_centers(eyes)[side]
        moved = center + (lids.on_eyes(center + (skin + found[k] - center) @ turn, pressed) - center) @ turn.T
        for _ in range(_ROUNDS if blinks else 0):
            moved = lids.on_eyes(_shut(parts, moved, found[k], eyes, part, side), pressed)
        # a lid that the shape leaves alone stays where it is
        acts = (np.linalg.norm(found[k, rows], axis=1) > _STILL_MM) & ((parts.skin[rows, 0] > 0.0) == (side == 0))
        found[k, rows[acts]] = (moved - skin)[rows[acts]]
    return found


def _shut(parts: Parts, skin: FloatArray, shape: FloatArray, eyes: FloatArray, part: IntArray, side: int) -> FloatArray:
    """Vertices (V, 3) with the upper lid of a side turned down about the eye's centre until the lash roots meet."""
    center = eye_centers(eyes)[side]
    roots, upper, of_side = _lash_roots(parts, side)
    placed = with_lids(parts, skin, part, parts.lid_root)[roots]
    azimuth, height = _angles(placed[of_side] - center)
    above = upper[of_side]
    away = skin - center
    own, own_height = _angles(away)
    down = -shape[:, 1]
    share = np.clip(down / max(float(down.max()), 1e-6), 0.0, 1.0)
    rows = np.flatnonzero((share > 0.02) & (np.linalg.norm(away, axis=1) < 2.0 * eyes[side, 3]))
    gap = _mean_at(own[rows], azimuth[above], height[above]) - _mean_at(own[rows], azimuth[~above], height[~above])
    turn = -(gap + _OVERLAP) * share[rows]
    length = np.hypot(away[rows, 1], away[rows, 2])
    moved = skin.copy()
    moved[rows, 1] = center[1] + length * np.sin(own_height[rows] + turn)
    moved[rows, 2] = center[2] + length * np.cos(own_height[rows] + turn)
    return moved


def _lash_roots(parts: Parts, side: int) -> tuple[IntArray, FloatArray, FloatArray]:
    """Rows of the roots of lashes, which of them are on the upper lid, and which belong to a side."""
    rows = np.flatnonzero(parts.lid_piece == LASHES)
    root = parts.lid_root[rows]
    first, last = (parts.marks[42], parts.marks[45]) if side == 0 else (parts.marks[39], parts.marks[36])
    line = first[1] + (root[:, 0] - first[0]) / (last[0] - first[0]) * (last[1] - first[1])
    return rows, root[:, 1] > line, (root[:, 0] > 0.0) == (side == 0)


def _angles(away: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Azimuth and height (N,), radians, of vectors (N, 3) from an eye's centre."""
    return np.arctan2(away[:, 0], away[:, 2]), np.arctan2(away[:, 1], away[:, 2])


def _mean_at(azimuth: FloatArray, known: FloatArray, values: FloatArray) -> FloatArray:
    """Means (N,) of values (n,) at known azimuths (n,), weighted by nearness to each azimuth (N,)."""
    weight = np.exp(-0.5 * np.square((azimuth[:, None] - known) / _COLUMN)) + 1e-9
    mean: FloatArray = (weight @ values) / weight.sum(axis=1)
    return mean
