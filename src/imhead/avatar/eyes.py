"""Eyes of an avatar: a ball with a flat iris, and a clear cornea in front of it.

Both are built from the five numbers of an eyeball (surfaces/eyeballs.py). A right eye is the mirrored left one.
Shape legend: V vertices of one eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imhead.conventions import ARKIT_NAMES
from imhead.surfaces.eyeballs import eye_centers, on_eyeball
from imhead.types import FloatArray, IntArray, UvMap

GAZE = np.array([0.11, 0.0, 0.9939])
"""The way that a left eye looks at rest."""
LIMBUS = np.radians(23.5)
"""Angle between the gaze and the edge of the iris, seen from the eye's centre."""
BACK = np.radians(115.0)
"""Angle at which an eye ends, behind the lids."""
_SEGMENTS, _IRIS_RINGS, _WHITE_RINGS, _CORNEA_RINGS = 40, 5, 16, 9
_CORNEA = LIMBUS * 1.18  # the cornea ends a little outside the iris, where its slope meets the white's
_IRIS_DEPTH = 0.05  # of the iris's edge below the surface, over the radius
_LOOKS = {
    "eyeLookUp": (-1.0, 0.0, 24.0), "eyeLookDown": (1.0, 0.0, 27.0), "eyeLookOut": (0.0, 1.0, 32.0),
    "eyeLookIn": (0.0, -1.0, 32.0),
}  # fmt: skip
"""Turn of a left eye by each look: about x, about y, degrees at weight 1."""
_BLINK_BACK_MM = 0.9  # a shut lid presses the eye into its socket
_LOOK_BACK_MM = 0.4
_BLINK_SHAPES = {"eyeBlink": 1.0, "eyeSquint": 0.35}


@dataclass(frozen=True, eq=False)
class EyeMesh:
    """The sheet of an eye: unit directions from its centre, ring by ring from the gaze outwards."""

    directions: FloatArray
    """(V, 3) of a left eye."""
    angles: FloatArray
    """(V,) radians from the gaze."""
    faces: IntArray
    """(F, 3) of a left eye, counter-clockwise seen from outside."""
    uv: UvMap
    """The middle of its picture is the middle of the iris."""


@lru_cache(maxsize=4)
def eye_mesh(kind: str) -> EyeMesh:
    """The sheet of the `ball` or of the `cornea`."""
    if kind == "ball":
        inner = LIMBUS * np.linspace(0.0, 1.0, _IRIS_RINGS + 1)[1:]
        rings = np.concatenate([inner, np.linspace(LIMBUS * 1.03, BACK, _WHITE_RINGS)])
    else:
        rings = _CORNEA * np.linspace(0.0, 1.0, _CORNEA_RINGS + 1)[1:]
    turn = np.linspace(0.0, 2.0 * np.pi, _SEGMENTS, endpoint=False)
    right = np.cross([0.0, 1.0, 0.0], GAZE)
    right /= np.linalg.norm(right)
    up = np.cross(GAZE, right)
    around = np.cos(turn)[:, None] * right + np.sin(turn)[:, None] * up
    sheet = np.cos(rings)[:, None, None] * GAZE + np.sin(rings)[:, None, None] * around
    directions = np.concatenate([GAZE[None] / np.linalg.norm(GAZE), sheet.reshape(-1, 3)])
    angles = np.concatenate([[0.0], np.repeat(rings, _SEGMENTS)])
    k = np.arange(_SEGMENTS)
    after = (k + 1) % _SEGMENTS
    faces = [np.stack([np.zeros_like(k), 1 + k, 1 + after], axis=1)]
    for ring in range(len(rings) - 1):
        a, b = 1 + ring * _SEGMENTS, 1 + (ring + 1) * _SEGMENTS
        faces += [np.stack([a + k, b + k, b + after], axis=1), np.stack([a + k, b + after, a + after], axis=1)]
    flat = uv_radius(angles)[:, None] * np.concatenate([[[0.0, 0.0]], np.tile(_circle(turn), (len(rings), 1))]) + 0.5
    joined = np.concatenate(faces)
    return EyeMesh(directions, angles, joined, UvMap(flat, joined))


def _circle(turn: FloatArray) -> FloatArray:
    return np.stack([np.cos(turn), np.sin(turn)], axis=1)


def uv_radius(angles: FloatArray) -> FloatArray:
    """Distance from the middle of an eye's picture at angles from the gaze: the iris gets more room than the white."""
    radius: FloatArray = 0.49 * np.sqrt(np.asarray(angles) / BACK)
    return radius


def angle_at(radius: FloatArray) -> FloatArray:
    """The inverse of `uv_radius`."""
    angle: FloatArray = BACK * np.square(np.asarray(radius) / 0.49)
    return angle


def eye_vertices(kind: str, eyes: FloatArray, side: int) -> FloatArray:
    """Vertices (V, 3) of the ball or the cornea of one of two eyeballs (2, 5), side 0 left, 1 right, mm."""
    sheet, eyeball = eye_mesh(kind), eyes[side].copy()
    eyeball[4] = max(eyeball[4], 0.0)
    points = on_eyeball(sheet.directions, eyeball)
    if kind == "ball":  # the iris is flat, and lies below the cornea
        iris = sheet.angles <= LIMBUS + 1e-6
        edge = on_eyeball(sheet.directions[iris][-1:], eyeball)[0] - eyeball[:3]
        axis = GAZE / np.linalg.norm(GAZE)
        depth = float(edge @ axis) - _IRIS_DEPTH * eyeball[3]
        reach = np.linalg.norm(edge - (edge @ axis) * axis)
        away = sheet.directions[iris] - (sheet.directions[iris] @ axis)[:, None] * axis
        share = np.linalg.norm(away, axis=1, keepdims=True) / np.sin(LIMBUS)
        flat = away / np.sin(LIMBUS) * reach
        points[iris] = eyeball[:3] + flat + (depth - 0.03 * eyeball[3] * (1.0 - share)) * axis
    return points * [-1.0, 1.0, 1.0] if side else points


def eye_faces(kind: str, side: int) -> IntArray:
    """Faces (F, 3), seen from outside."""
    faces = eye_mesh(kind).faces
    return faces[:, [0, 2, 1]] if side else faces


def eye_uv(kind: str, side: int) -> UvMap:
    """UVs; both eyes share one picture, mirrored."""
    uv = eye_mesh(kind).uv
    return UvMap(uv.uv, eye_faces(kind, side)) if side else uv


def look_turn(name: str, side: int) -> FloatArray:
    """The rotation vector (3,) about the eye's centre, radians, of an `eyeLook…` name on side 0 left, 1 right."""
    x, y, degrees = _LOOKS[name.removesuffix("Left").removesuffix("Right")]
    turn = np.radians(degrees) * np.array([x, y, 0.0])
    return turn * [1.0, -1.0, 1.0] if side else turn


def looks(side: int) -> tuple[str, ...]:
    """The four names that turn the eye of a side."""
    return tuple(stem + ("Left", "Right")[side] for stem in _LOOKS)


def eye_shapes(vertices: FloatArray, eyes: FloatArray, side: int, *, turning: bool = True) -> FloatArray:
    """(52, V, 3) movements of an eye's vertices (V, 3), mm: looks turn it about its centre, blinks press it back.

    Args:
        turning: False leaves the looks out, for eyes that joints turn.
    """
    shapes = np.zeros((len(ARKIT_NAMES), len(vertices), 3))
    away = vertices - eye_centers(eyes)[side]
    for name in looks(side) if turning else ():
        turned = away @ (rotation(look_turn(name, side)) - np.eye(3)).T
        # between rest and the whole turn a lid moves straight, through the cornea: the eye yields a little
        shapes[ARKIT_NAMES.index(name)] = turned - [0.0, 0.0, _LOOK_BACK_MM]
    for stem, share in _BLINK_SHAPES.items():
        shapes[ARKIT_NAMES.index(stem + ("Left", "Right")[side])] = [0.0, 0.0, -share * _BLINK_BACK_MM]
    return shapes


def rotation(vector: FloatArray) -> FloatArray:
    """The matrix (3, 3) of a rotation vector (3,)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    matrix: FloatArray = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return matrix
