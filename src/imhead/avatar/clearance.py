"""Lips and cheeks that stay in front of teeth and gums, at rest and in every shape.

Teeth and gums of each jaw, called an arch here, are seen from its middle: for each direction and height, how far out
they reach. Skin that lies in front of them on the mean head is moved outwards until it does so here. An arch is looked
at as it lies on the mean head, and skin is brought there, so that skin moves smoothly with the head.

Shape legend: V template vertices, N points, M vertices in the mouth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import grey_dilation, map_coordinates

from imhead.avatar.parts import TONGUE, Parts, in_lower_jaw
from imhead.types import FloatArray, IntArray

_MIDDLE_Z_MM = 50.0
_STEP_RAD, _STEP_MM = np.radians(2.0), 1.0
_SPREAD = 4  # cells around a tooth's vertex that it reaches into, less far by `_SLOPE` times the distance
_SLOPE = 0.6
_GAP_MM, _THICKER, _MOST_MM = 0.4, 0.15, 1.0  # kept between teeth and skin; more by this share of the depth of the lip
_REACH_MM = np.array([48.0, 34.0])  # of the skin that can touch teeth: sideways and up or down from the mouth's middle
_INSIDE_MM = 1.0  # what lies farther behind the teeth beside it on the mean head is no lip and no cheek
_BEHIND_MM = 10.0  # the middle of an arch, of its last teeth
_LEAST_OUT_MM = 26.0  # from the middle of an arch, of lips and cheeks
_STILL_MM = 0.01
_LEAST_MM = 5.0  # a shorter reach is none


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
    rows, gap = _in_front(parts, skin_part)
    teeth = parts.mouth_piece != TONGUE
    clear = skin.copy()
    clear[rows] = _pushed(parts, skin[rows], gap, mouth)
    found = shapes.copy()
    for k in range(len(shapes)):
        if np.abs(shapes[k, rows]).max() > _STILL_MM or mouth_shapes[k, teeth].any():
            moved = clear[rows] + shapes[k, rows]
            push = _pushed(parts, moved, gap, mouth + mouth_shapes[k]) - moved
            # at rest the skin is clear: a shape closes at most the way that skin and teeth move in it
            most = np.linalg.norm(shapes[k, rows], axis=1) + np.linalg.norm(mouth_shapes[k, teeth], axis=1).max(
                initial=0.0
            )
            length = np.linalg.norm(push, axis=1)
            found[k, rows] += push * np.minimum(1.0, most / np.maximum(length, 1e-9))[:, None]
    return clear, found


@dataclass(frozen=True, eq=False)
class _Arch:
    """Teeth and gums of a jaw on the mean head."""

    rows: IntArray
    """(m,) their vertices in the mouth."""
    low: float
    """Height of the first column of the table, mm."""
    reach: FloatArray
    """(A, H) how far out they reach, by direction and height, mm; 0 where there are none."""

    def depth(self, points: FloatArray) -> FloatArray:
        """How far in front of it points (N, 3) of the mean head lie, mm; infinite where nothing lies behind."""
        angle, out = _polar(points)
        place = [(angle + np.pi) / _STEP_RAD, (points[:, 1] - self.low) / _STEP_MM]
        reach = map_coordinates(self.reach, place, order=1, mode="constant")
        return np.where(reach > _LEAST_MM, out - reach, np.inf)


@lru_cache(maxsize=2)
def _arches(parts: Parts) -> tuple[_Arch, ...]:
    """The upper and the lower arch."""
    lower = in_lower_jaw(parts.mouth_piece)
    found = []
    for block in (0, 1):
        rows = np.flatnonzero((lower == block) & (parts.mouth_piece != TONGUE))
        teeth = parts.mouth[rows]
        low = float(teeth[:, 1].min()) - _SPREAD * _STEP_MM
        count = int((float(teeth[:, 1].max()) - low) / _STEP_MM) + _SPREAD + 2
        angle, radius = _polar(teeth)
        reach = np.zeros((int(2.0 * np.pi / _STEP_RAD) + 2, count))
        cell = np.round((angle + np.pi) / _STEP_RAD).astype(np.int64)
        np.maximum.at(reach, (cell, np.round((teeth[:, 1] - low) / _STEP_MM).astype(int)), radius)
        offsets = np.arange(-_SPREAD, _SPREAD + 1)
        cone = -_SLOPE * np.maximum(np.hypot(1.4 * offsets[:, None], offsets[None]) - 1.5, 0.0)
        found.append(_Arch(rows, low, np.maximum(grey_dilation(reach, structure=cone), 0.0)))
    return tuple(found)


def _in_front(parts: Parts, skin_part: IntArray) -> tuple[IntArray, FloatArray]:
    """Template vertices (n,) that lie in front of the teeth on the mean head, or beside them, and the gap (n,), mm,
    that each keeps from them: the outer skin of a lip keeps more than the inner one, so that both do not meet."""
    middle = parts.marks[[62, 66]].mean(axis=0)
    near = np.flatnonzero((np.abs(parts.skin - middle)[:, :2] < _REACH_MM).all(axis=1) & (skin_part < 2))
    points = parts.skin[near]
    arches = _arches(parts)
    depth = np.minimum(*(arch.depth(points) for arch in arches))
    # above and below the teeth: what lies outside the arch
    front = grey_dilation(np.max([arch.reach.max(axis=1) for arch in arches], axis=0), 5)
    angle, out = _polar(points)
    most = front[np.round((angle + np.pi) / _STEP_RAD).astype(np.int64)]
    depth = np.where(np.isfinite(depth), depth, np.where(most > 0.0, out - most, -np.inf))
    # floor and back of the mouth lie near the middle of an arch or behind it, where it has no direction
    kept = (depth > -_INSIDE_MM) & (out > _LEAST_OUT_MM) & (points[:, 2] > _MIDDLE_Z_MM - _BEHIND_MM)
    gap = _GAP_MM + np.clip(_THICKER * depth[kept], 0.0, _MOST_MM)
    return near[kept], gap


def _pushed(parts: Parts, points: FloatArray, gap: FloatArray, mouth: FloatArray) -> FloatArray:
    """Points (N, 3), moved away from the middle of each arch to `gap` (N,) in front of it.

    Args:
        mouth: (M, 3) the parts of the mouth where they are now.
    """
    moved = points
    for arch in _arches(parts):
        rest = np.column_stack([parts.mouth[arch.rows], np.ones(len(arch.rows))])
        turn = np.linalg.lstsq(rest, mouth[arch.rows], rcond=None)[0]  # a jaw moves by an affine map
        back = np.linalg.inv(turn[:3])
        there = (moved - turn[3]) @ back
        out = _polar(there)[1]
        push = np.maximum(gap - arch.depth(there), 0.0)
        away = there * [1.0, 0.0, 1.0] - [0.0, 0.0, _MIDDLE_Z_MM]
        moved = moved + (away * (push / np.maximum(out, 1.0))[:, None]) @ turn[:3]
    return moved


def _polar(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Direction (N,), radians, and distance (N,) from the middle of the arch, seen from above."""
    away = points[:, 2] - _MIDDLE_Z_MM
    return np.arctan2(points[:, 0], away), np.hypot(points[:, 0], away)
