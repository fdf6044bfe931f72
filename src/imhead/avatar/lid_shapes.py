"""Shapes of lids that lie on the eyeballs, and a blink that shuts them.

Shape legend: V template vertices.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from imhead.avatar.eyes import look_turn, rotation
from imhead.avatar.parts import Parts
from imhead.avatar.placing import lids_of
from imhead.conventions import ARKIT_NAMES
from imhead.surfaces.eyeballs import eye_centers
from imhead.surfaces.lids import Lids
from imhead.template.lid_margins import LidMargins
from imhead.template.surface import BLINKS
from imhead.template.topology import SKIN, Topology
from imhead.types import FloatArray

_FLATTENED = 0.7  # share of a cornea's bulge that a shut lid takes away
_LID_SHAPES = ("eyeBlink", "eyeLook", "eyeSquint", "eyeWide", "cheekSquint")
_STILL_MM = 0.02


def lid_shapes(parts: Parts, topology: Topology, skin: FloatArray, shapes: FloatArray, eyes: FloatArray) -> FloatArray:
    """The 52 shapes (52, V, 3) with smooth lids that lie on the eyeballs at weight 1, and blinks that shut the eye.

    A shape moves a lid along straight lines, through the eye; and lids of another head are not as far apart as those
    of the mean.

    Args:
        topology: of the template.
        skin: (V, 3) the neutral face.
        shapes: (52, V, 3) as the template has them.
        eyes: (2, 5) eyeballs.
    """
    lids, found = lids_of(parts), shapes.astype(np.float64)
    faces = topology.faces[(topology.part[topology.faces] == SKIN).all(axis=1)]
    margins = LidMargins.of(parts.skin, faces, np.ones(len(skin)), shapes[BLINKS], parts.eyes)
    centers, rows = eye_centers(eyes), margins.rows
    for k, name in enumerate(ARKIT_NAMES):
        if not name.startswith(_LID_SHAPES):
            continue
        side = int(name.endswith("Right"))
        pressed, weights = eyes.copy(), np.zeros(2)
        if name.startswith("eyeBlink"):
            pressed[side, 4] *= 1.0 - _FLATTENED
            weights[side] = 1.0
        # lids lie on the cornea where the look has turned it
        turn = rotation(look_turn(name, side)) if name.startswith("eyeLook") else np.eye(3)
        on_eyes = partial(_on_turned_eyes, lids, pressed, centers[side], turn)
        moved = margins.faired(skin + found[k], parts.skin + found[k], weights, centers, on_eyes)
        # a lid that the shape leaves alone stays where it is
        acts = (np.linalg.norm(found[k, rows], axis=1) > _STILL_MM) & ((parts.skin[rows, 0] > 0.0) == (side == 0))
        found[k, rows[acts]] = (moved - skin)[rows[acts]]
    return found


def _on_turned_eyes(
    lids: Lids, eyes: FloatArray, center: FloatArray, turn: FloatArray, vertices: FloatArray
) -> FloatArray:
    """Vertices (V, 3) whose lids are at their clearance from eyeballs (2, 5) that a rotation (3, 3) has turned."""
    placed: FloatArray = center + (lids.on_eyes(center + (vertices - center) @ turn, eyes) - center) @ turn.T
    return placed
