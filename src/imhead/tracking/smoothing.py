"""A track smoothed in time: the likeliest motion under what each frame says and a prior that its speed changes little.

Frame t says, about its own result, H_t and g_t of its negative log posterior; a lost frame says nothing and is bridged
by the prior. The prior is normal: second differences in time of head pose and ARKit weights have the variance that the
sequence itself shows, and first differences a wide one, so that a bridge at an end of the sequence does not run off.
The joint minimum is that of a banded system, solved window by window: memory does not grow with the length.

Shape legend: T frames, U = 58 unknowns of a frame: rotation in units of 10 mrad and place in mm, both along the axes of
the scans, then 52 ARKit weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.linalg import solveh_banded
from scipy.spatial.transform import Rotation

from imhead.surfaces.transforms import matrix_of, rotation_of
from imhead.tracking.config import TrackConfig
from imhead.tracking.frame import Place, between
from imhead.tracking.store import UNKNOWNS, FrameRecord
from imhead.types import BoolArray, FloatArray

_TURN_MM = 100.0  # a rotation counts as the shift of a point this far from its axis
_POSE_CHANGE = 50.0  # mm of pose for each unit of weight, in `TrackConfig.least_change`
_FIRST_SHARE = 0.02  # precision of first differences, over that of their own variance
_PINNED = 1e9
_MOST_ROUNDS = 12


def bridged(places: Sequence[Place], found: BoolArray) -> list[Place]:
    """The places with those of lost frames between their neighbours' that were found, or at the nearest one's.

    Args:
        places: (T) of the frames.
        found: (T,) bool, at least one.
    """
    rows = np.flatnonzero(found)
    filled: list[Place] = []
    for t, place in enumerate(places):
        if not found[t]:
            after = int(np.searchsorted(rows, t))
            first, second = rows[max(after - 1, 0)], rows[min(after, len(rows) - 1)]
            share = 0.0 if first >= second else (t - first) / (second - first)
            place = between(places[int(first)], places[int(second)], share)
        filled.append(place)
    return filled


def smoothed(
    places: Sequence[Place], found: BoolArray, record: Callable[[int], FrameRecord | None], config: TrackConfig
) -> Iterator[Place]:
    """The smoothed place of each frame, in order.

    Args:
        places: (T) results of the frames, lost ones `bridged`.
        found: (T,) bool: frames that say something.
        record: of a frame, read when it is needed.
        config: settings.
    """
    second, first = prior_variances(places, found, config)
    core = config.window - 2 * config.overlap
    for start in range(0, len(places), core):
        low, high = max(0, start - config.overlap), min(len(places), start + core + config.overlap)
        window = places[low:high]
        terms = [_term(window[k], record(low + k) if found[low + k] else None) for k in range(high - low)]
        change = solve_window(window, terms, second, first)
        for k in range(start - low, min(start + core, len(places)) - low):
            yield moved_place(window[k], change[k])


def solve_window(
    places: Sequence[Place], terms: Sequence[tuple[FloatArray, FloatArray]], second: FloatArray, first: FloatArray
) -> FloatArray:
    """Changes (T, U) of the places of a window at the minimum, with every weight in [0, 1].

    Args:
        places: (T).
        terms: (T) Hessian (U, U) and gradient (U,) of each, in these unknowns.
        second: (U,) variance of second differences.
        first: (U,) variance of first differences.
    """
    count = len(places)
    line = coordinates(places)
    band = np.zeros((2 * UNKNOWNS + 1, count * UNKNOWNS))
    right = np.zeros((count, UNKNOWNS))
    for t, (hessian, gradient) in enumerate(terms):
        rows, columns = np.triu_indices(UNKNOWNS)
        band[2 * UNKNOWNS + rows - columns, t * UNKNOWNS + columns] += hessian[rows, columns]
        right[t] -= gradient
    for stencil, variance in ((np.array([-1.0, 1.0]), first), (np.array([1.0, -2.0, 1.0]), second)):
        size = len(stencil)
        for t in range(count - size + 1):
            offset = stencil @ line[t : t + size]
            for a in range(size):
                right[t + a] -= stencil[a] * offset / variance
                for b in range(a, size):
                    at = slice((t + b) * UNKNOWNS, (t + b + 1) * UNKNOWNS)
                    band[(2 - (b - a)) * UNKNOWNS, at] += stencil[a] * stencil[b] / variance
    return _bounded(band, right, line)


def _bounded(band: FloatArray, right: FloatArray, line: FloatArray) -> FloatArray:
    """Changes (T, U) that solve the banded system with weights in [0, 1]: those that leave it are held at the bound."""
    diagonal = band[-1].reshape(right.shape)
    held = np.zeros(right.shape, dtype=bool)
    change = np.zeros_like(right)
    for _ in range(_MOST_ROUNDS):
        change = solveh_banded(band, right.reshape(-1)).reshape(right.shape)
        ends = line + change
        out = ~held & ((ends < -1e-6) | (ends > 1.0 + 1e-6))
        out[:, :6] = False
        if not out.any():
            break
        held |= out
        diagonal[out] += _PINNED
        right[out] += _PINNED * (ends.clip(0.0, 1.0) - line)[out]
    return change


def prior_variances(places: Sequence[Place], found: BoolArray, config: TrackConfig) -> tuple[FloatArray, FloatArray]:
    """Variances (U,) of second and of first differences in time, from the sequence itself.

    Errors of a frame, of variance r, that are independent from frame to frame add 6 r to the variance of second
    differences, and -4 r to the covariance of two that follow one another. So the motion's own part is the variance
    plus 1.5 times the covariance.
    """
    line = coordinates(places)
    least = np.full(UNKNOWNS, config.least_change)
    least[:6] *= _POSE_CHANGE
    step = np.diff(line, axis=0)[found[1:] & found[:-1]]
    turn = np.diff(line, n=2, axis=0)
    whole = found[2:] & found[1:-1] & found[:-2]
    pairs = whole[1:] & whole[:-1]
    variance = _mean_square(turn[whole], turn[whole])
    own = variance + 1.5 * _mean_square(turn[1:][pairs], turn[:-1][pairs])
    second = np.maximum(np.maximum(own, 0.05 * variance), least**2)
    first = np.maximum(_mean_square(step, step), 25.0 * least**2) / _FIRST_SHARE
    for axes in (slice(0, 3), slice(3, 6)):  # three axes of one motion
        second[axes], first[axes] = second[axes].mean(), first[axes].mean()
    return second, first


def _mean_square(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray((a * b).mean(axis=0)) if len(a) else np.zeros(UNKNOWNS)


def coordinates(places: Sequence[Place]) -> FloatArray:
    """(T, U) of the places: rotations as their sum along the way, so that differences are those of motion."""
    turns = [rotation_of(place.scan_to_head).T for place in places]
    steps = [Rotation.from_matrix(b @ a.T).as_rotvec() for a, b in itertools.pairwise(turns)]
    line = np.zeros((len(places), UNKNOWNS))
    if steps:
        line[1:, :3] = _TURN_MM * np.cumsum(steps, axis=0)
    line[:, 3:6] = [-turn @ place.scan_to_head[:3, 3] for turn, place in zip(turns, places)]
    line[:, 6:] = [place.weights for place in places]
    return line


def _to_twist(place: Place) -> FloatArray:
    """(U, U) from these unknowns to those of a frame's record: a twist in the head frame."""
    back = -rotation_of(place.scan_to_head)
    matrix = np.eye(UNKNOWNS)
    matrix[:3, :3], matrix[3:6, 3:6] = back / _TURN_MM, back
    return matrix


def _term(place: Place, record: FrameRecord | None) -> tuple[FloatArray, FloatArray]:
    if record is None:
        return np.zeros((UNKNOWNS, UNKNOWNS)), np.zeros(UNKNOWNS)
    by = _to_twist(place)
    return by.T @ record.hessian @ by, by.T @ record.gradient


def moved_place(place: Place, change: FloatArray) -> Place:
    """A place after a change (U,)."""
    twist = _to_twist(place) @ change
    motion = matrix_of(Rotation.from_rotvec(twist[:3]).as_matrix(), twist[3:6])
    return Place(motion @ place.scan_to_head, (place.weights + change[6:]).clip(0.0, 1.0))
