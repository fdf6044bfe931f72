"""Smoothing in time: what frames say well is kept, what they say badly follows their neighbours, gaps are bridged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from imhead.surfaces.transforms import matrix_of, rotation_of
from imhead.tracking.config import TrackConfig
from imhead.tracking.frame import Place
from imhead.tracking.smoothing import bridged, coordinates, moved_place, smoothed
from imhead.tracking.store import UNKNOWNS, FrameRecord
from imhead.types import FloatArray

_SCALE = 1000.0  # a scan in metres


def a_place(turn: FloatArray, shift_mm: FloatArray, weights: FloatArray) -> Place:
    """A head turned by a rotation vector, at a place in the scan's frame, in mm."""
    rotation = Rotation.from_rotvec(turn).as_matrix()
    return Place(matrix_of(_SCALE * rotation.T, -rotation.T @ shift_mm), weights)


def a_motion(count: int, noise: float = 0.0, seed: int = 0) -> list[Place]:
    """A head that turns and moves at constant speed while the jaw opens, and 20 other weights rest at 0.5."""
    rng = np.random.default_rng(seed)
    places = []
    for t in range(count):
        weights = np.zeros(52)
        weights[:20] = 0.5
        weights[17] = 0.2 + 0.5 * t / count
        weights[:20] += noise * rng.normal(size=20)
        turn = np.array([0.0, 0.01 * t, 0.0]) + noise * 0.1 * rng.normal(size=3)
        places.append(a_place(turn, np.array([2.0 * t, 0.0, 500.0]) + 10.0 * noise * rng.normal(size=3), weights))
    return places


def a_record(place: Place, precision: float = 400.0) -> FrameRecord:
    hessian = np.diag(np.concatenate([np.full(3, 1e4 * precision), np.full(3, precision), np.full(52, precision)]))
    return FrameRecord(None, place.scan_to_head, place.weights, hessian, np.zeros(UNKNOWNS), {})


def smooth(places: list[Place], found: list[bool], config: TrackConfig = TrackConfig()) -> list[Place]:
    known = np.array(found)
    filled = bridged(places, known)
    return list(smoothed(filled, known, lambda t: a_record(places[t]), config))


def test_a_motion_at_constant_speed_stays_about_as_it_is() -> None:
    places = a_motion(40)
    # the prior of first differences, which is wide, slows it a little
    np.testing.assert_allclose(coordinates(smooth(places, [True] * 40)), coordinates(places), atol=2e-3)


def test_noise_of_single_frames_is_smoothed_away() -> None:
    truth, noisy = coordinates(a_motion(80)), a_motion(80, noise=0.02, seed=1)
    found = coordinates(smooth(noisy, [True] * 80))
    before, after = (np.abs(line - truth)[:, 6:26].mean() for line in (coordinates(noisy), found))
    assert after < 0.6 * before
    jitter = [np.abs(np.diff(line[:, 6:26], n=2, axis=0)).mean() for line in (coordinates(noisy), found)]
    assert jitter[1] < 0.2 * jitter[0]


@settings(deadline=None, max_examples=10)
@given(gap=st.integers(1, 8), start=st.integers(5, 20))
def test_lost_frames_are_bridged_at_constant_speed(gap: int, start: int) -> None:
    places, truth = a_motion(35), coordinates(a_motion(35))
    found = [not start <= t < start + gap for t in range(35)]
    for t in range(start, start + gap):
        places[t] = places[0]  # what a lost frame holds says nothing
    result = coordinates(smooth(places, found))
    np.testing.assert_allclose(result[:, 3:], truth[:, 3:], atol=0.05)
    np.testing.assert_allclose(result[:, :3], truth[:, :3], atol=0.5)


def test_lost_frames_at_the_ends_stay_near_the_face_that_was_seen() -> None:
    places = a_motion(30)
    found = [5 <= t < 25 for t in range(30)]
    result = coordinates(smooth(places, found))
    assert np.abs(result[:, 6:] - coordinates(places)[:, 6:]).max() < 0.2
    assert np.abs(result[:, 3:6] - coordinates(places)[:, 3:6]).max() < 12.0


def test_windows_give_what_the_whole_sequence_gives() -> None:
    places = a_motion(120, noise=0.02, seed=3)
    whole = smooth(places, [True] * 120, TrackConfig(window=400, overlap=40))
    parts = smooth(places, [True] * 120, TrackConfig(window=100, overlap=40))
    for a, b in zip(whole, parts):
        np.testing.assert_allclose(a.weights, b.weights, atol=1e-6)
        np.testing.assert_allclose(a.scan_to_head, b.scan_to_head, atol=1e-4)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 100))
def test_weights_stay_between_0_and_1_and_poses_keep_their_scale(seed: int) -> None:
    places = a_motion(20, noise=0.6, seed=seed)
    places = [Place(place.scan_to_head, place.weights.clip(0.0, 1.0)) for place in places]
    for place in smooth(places, [True] * 20):
        assert place.weights.min() >= 0.0 and place.weights.max() <= 1.0
        assert np.cbrt(np.linalg.det(place.scan_to_head[:3, :3])) == pytest.approx(_SCALE)
        np.testing.assert_allclose(
            rotation_of(place.scan_to_head) @ rotation_of(place.scan_to_head).T, np.eye(3), atol=1e-9
        )


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_a_small_change_of_a_place_changes_its_coordinates_by_as_much(seed: int) -> None:
    rng = np.random.default_rng(seed)
    place = a_place(rng.normal(size=3), rng.normal(0.0, 300.0, 3), np.full(52, 0.5))
    change = 1e-3 * rng.normal(size=UNKNOWNS)
    line = coordinates([place, moved_place(place, change)])
    np.testing.assert_allclose(line[1] - line[0], change, atol=1e-5)


def test_one_frame_and_two_frames_are_sequences_too() -> None:
    for count in (1, 2):
        np.testing.assert_allclose(
            coordinates(smooth(a_motion(count), [True] * count)), coordinates(a_motion(count)), atol=2e-3
        )
