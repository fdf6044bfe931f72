"""Lips and cheeks that stay in front of the teeth, at rest and in every shape.

The teeth of a head are seen from the middle of their arch: for each direction and height, how far out they reach. Skin
that lies in front of them on the mean head is moved outwards until it does so here.

Shape legend: V template vertices, N points, T vertices of teeth.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import grey_dilation

from imhead.avatar.parts import UPPER_TEETH, Parts
from imhead.types import FloatArray, IntArray

_MIDDLE_Z_MM = 50.0
_STEP_RAD, _STEP_MM = np.radians(2.0), 1.0
_SPREAD = 4  # cells around a tooth's vertex that it reaches into, less far by `_SLOPE` times the distance
_SLOPE = 0.6
_GAP_MM = 0.3  # kept between teeth and skin
_REACH_MM = np.array([48.0, 34.0])  # of the skin that can touch teeth: sideways and up or down from the mouth's middle
_INSIDE_MM = 1.5  # what lies farther behind the front of the arch on the mean head is no lip and no cheek
_STILL_MM = 0.01


def clear_of_teeth(
    parts: Parts, skin: FloatArray, shapes: FloatArray, mouth: FloatArray, mouth_shapes: FloatArray, skin_part: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Neutral vertices (V, 3) and shapes (52, V, 3), with lips and cheeks in front of the teeth.

    Args:
        skin: (V, 3) the neutral face.
        shapes: (52, V, 3) its shapes.
        mouth: (M, 3) the placed parts of the mouth.
        mouth_shapes: (52, M, 3) their shapes.
        skin_part: (V,) as in the topology; eyes are left out.
    """
    rows = _in_front(parts, skin_part)
    teeth = parts.mouth_piece >= UPPER_TEETH
    clear = skin.copy()
    clear[rows] = _pushed(skin[rows], mouth[teeth])
    found = shapes.copy()
    for k in range(len(shapes)):
        if np.abs(shapes[k, rows]).max() > _STILL_MM or mouth_shapes[k, teeth].any():
            pushed = _pushed(clear[rows] + shapes[k, rows], (mouth + mouth_shapes[k])[teeth])
            found[k, rows] = pushed - clear[rows]
    return clear, found


def _in_front(parts: Parts, skin_part: IntArray) -> IntArray:
    """Template vertices (n,) that lie in front of the teeth on the mean head, or beside them."""
    middle = parts.marks[[62, 66]].mean(axis=0)
    near = (np.abs(parts.skin - middle)[:, :2] < _REACH_MM).all(axis=1) & (skin_part < 2)
    angle, radius = _polar(parts.skin)
    teeth_angle, teeth_radius = _polar(parts.mouth[parts.mouth_piece >= UPPER_TEETH])
    front = np.full(len(_angles()), 0.0)
    np.maximum.at(front, _cell(teeth_angle), teeth_radius)
    front = grey_dilation(front, 5)
    ahead = (radius > front[_cell(angle)] - _INSIDE_MM) & (front[_cell(angle)] > 0.0)
    return np.flatnonzero(near & ahead)


def _pushed(points: FloatArray, teeth: FloatArray) -> FloatArray:
    """Points (N, 3), moved away from the middle of the arch to where no tooth of `teeth` (T, 3) reaches."""
    low = float(teeth[:, 1].min()) - _SPREAD * _STEP_MM
    count = int((float(teeth[:, 1].max()) - low) / _STEP_MM) + _SPREAD + 2
    angle, radius = _polar(teeth)
    reach = np.zeros((len(_angles()), count))
    np.maximum.at(reach, (_cell(angle), np.round((teeth[:, 1] - low) / _STEP_MM).astype(int)), radius)
    offsets = np.arange(-_SPREAD, _SPREAD + 1)
    cone = -_SLOPE * np.maximum(np.hypot(1.4 * offsets[:, None], offsets[None]) - 1.5, 0.0)
    reach = grey_dilation(reach, structure=cone)
    own, out = _polar(points)
    row = np.round((points[:, 1] - low) / _STEP_MM).astype(int)
    least = np.where((row >= 0) & (row < count), reach[_cell(own), np.clip(row, 0, count - 1)] + _GAP_MM, 0.0)
    share = np.where(least > out, least / np.maximum(out, 1.0), 1.0)
    moved = points.copy()
    moved[:, 0] *= share
    moved[:, 2] = _MIDDLE_Z_MM + (points[:, 2] - _MIDDLE_Z_MM) * share
    return moved


def _polar(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Direction (N,), radians, and distance (N,) from the middle of the arch, seen from above."""
    away = points[:, 2] - _MIDDLE_Z_MM
    return np.arctan2(points[:, 0], away), np.hypot(points[:, 0], away)


def _angles() -> FloatArray:
    return np.arange(-np.pi, np.pi + _STEP_RAD, _STEP_RAD)


def _cell(angle: FloatArray) -> IntArray:
    return np.round((angle + np.pi) / _STEP_RAD).astype(np.int64)
