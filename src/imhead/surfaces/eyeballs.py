"""An eyeball as an analytic solid: a ball and a smaller one for the cornea, joined smoothly.

Shape legend: N points. An eyeball is five numbers: centre x, y, z, radius and bulge of the cornea, mm; a right eyeball
is written as the left one of the mirrored head.
"""

from __future__ import annotations

import numpy as np

from imhead.types import FloatArray, IntArray

EYEBALL_NUMBERS = 5
_GAZE = np.array([0.11, 0.0, 0.9939])  # of a left eye at rest, outwards, measured on ICT's mean head
_CORNEA_RADIUS = 0.51  # over the radius of the ball
_BLEND = 1.35  # width of the smooth union, over the bulge
_LEAST_BLEND_MM = 0.05
_MIRROR = np.array([-1.0, 1.0, 1.0])
_REACH_MM = 6.0
_STEP_MM = 1e-3
_FIT_STEPS, _DAMPING, _LONGEST_STEP_MM, _SETTLED_MM = 15, 1e-3, 3.0, 1e-4


def eyeball_distance(points: FloatArray, eyeball: FloatArray) -> FloatArray:
    """Distance (N,) of points (N, 3) to a left eyeball (5,), mm, negative inside.

    It is exact to the ball and to the cornea, and a lower bound where the two are joined.
    """
    center, radius, bulge = eyeball[:3], eyeball[3], eyeball[4]
    cornea = _CORNEA_RADIUS * radius
    ball = _length(points - center) - radius
    front = _length(points - (center + (radius + bulge - cornea) * _GAZE)) - cornea
    blend = _LEAST_BLEND_MM + _BLEND * np.maximum(bulge, 0.0)
    share = np.clip(0.5 + 0.5 * (front - ball) / blend, 0.0, 1.0)
    joined: FloatArray = front + (ball - front) * share - blend * share * (1.0 - share)
    return joined


def eyes_distance(points: FloatArray, eyes: FloatArray) -> FloatArray:
    """Distance (N,) of points (N, 3) to the nearer of two eyeballs (2, 5), left and right, mm, negative inside."""
    left, right = eyeball_distance(points, eyes[0]), eyeball_distance(points * _MIRROR, eyes[1])
    nearer: FloatArray = np.minimum(left, right)
    return nearer


def eyes_gradient(points: FloatArray, eyes: FloatArray) -> FloatArray:
    """Gradient (N, 3) of `eyes_distance` at points (N, 3), by central differences."""
    steps = _STEP_MM * np.eye(3)
    slopes = [
        (eyes_distance(points + step, eyes) - eyes_distance(points - step, eyes)) / (2.0 * _STEP_MM) for step in steps
    ]
    gradient: FloatArray = np.stack(slopes, axis=1)
    return gradient


def near_eyes(points: FloatArray, eyes: FloatArray, reach_mm: float = _REACH_MM) -> IntArray:
    """Rows of the points (N, 3) that lie within the bounding boxes of two eyeballs (2, 5), enlarged by `reach_mm`."""
    near = np.zeros(len(points), dtype=bool)
    for eyeball, center in zip(eyes, eye_centers(eyes)):
        half = eyeball[3] + max(float(eyeball[4]), 0.0) + reach_mm
        near |= (np.abs(points - center) < half).all(axis=1)
    return np.flatnonzero(near)


def eye_centers(eyes: FloatArray) -> FloatArray:
    """Centres (2, 3) of two eyeballs (2, 5), in the head frame, mm."""
    return np.stack([eyes[0, :3], eyes[1, :3] * _MIRROR])


def on_eyeball(directions: FloatArray, eyeball: FloatArray) -> FloatArray:
    """Points (N, 3) of a left eyeball's surface in unit directions (N, 3) from its centre, mm."""
    low, high = np.zeros(len(directions)), np.full(len(directions), 2.0 * eyeball[3] + max(float(eyeball[4]), 0.0))
    for _ in range(40):
        middle = 0.5 * (low + high)
        inside = eyeball_distance(eyeball[:3] + middle[:, None] * directions, eyeball) < 0.0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    surface: FloatArray = eyeball[:3] + (0.5 * (low + high))[:, None] * directions
    return surface


def fitted_eyes(left: FloatArray, right: FloatArray) -> FloatArray:
    """The eyeballs (2, 5) that fit the vertices (N, 3) of a left and a right eyeball in the head frame, mm."""
    return np.stack([_fitted(left.astype(np.float64)), _fitted(right.astype(np.float64) * _MIRROR)])


def _fitted(points: FloatArray) -> FloatArray:
    center = points.mean(axis=0)
    found = np.array([*center, np.linalg.norm(points - center, axis=1).mean(), 1.0])
    steps = _STEP_MM * np.eye(EYEBALL_NUMBERS)
    for _ in range(_FIT_STEPS):
        distance = eyeball_distance(points, found)
        jacobian = np.stack([eyeball_distance(points, found + step) - distance for step in steps], axis=1) / _STEP_MM
        # damped a little: without a bulge the cornea's size has no effect
        change = np.linalg.solve(jacobian.T @ jacobian + _DAMPING * np.eye(EYEBALL_NUMBERS), jacobian.T @ distance)
        found = found - np.clip(change, -_LONGEST_STEP_MM, _LONGEST_STEP_MM)
        found[4] = max(found[4], 0.0)  # a cornea is never flatter than the ball
        if np.abs(change).max() < _SETTLED_MM:
            break
    return found


def _length(vectors: FloatArray) -> FloatArray:
    # not linalg.norm: each value is then rounded alike, whatever the number of points
    x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]
    length: FloatArray = np.sqrt(x * x + y * y + z * z)
    return length
