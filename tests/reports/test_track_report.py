"""What a track's files say of motion, and which frames a strip shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from imhead.reports.track_report import motion, shown_frames
from imhead.surfaces.transforms import matrix_of
from imhead.tracking.frame import Place
from imhead.tracking.track import Track, TrackedFrame
from imhead.types import FloatArray, Head


def a_track(turns: FloatArray, places_mm: FloatArray, mm_per_unit: float) -> Track:
    """Heads turned by (T, 3, 3) at places (T, 3), mm, in the axes of scans of some unit."""
    head = Head("model", "hash", np.zeros(4), np.zeros(4), np.zeros((39, 4)))
    frames = []
    for turn, place in zip(turns, places_mm):
        scan_to_head = np.linalg.inv(matrix_of(turn / mm_per_unit, place / mm_per_unit))
        frames.append(TrackedFrame("frame", Place(scan_to_head, np.zeros(52)), None, {}))
    return Track(head, tuple(Path("frame.ply") for _ in frames), tuple(frames), 0, {})


@pytest.mark.parametrize("mm_per_unit", [1.0, 1000.0])
def test_motion_is_that_of_the_head_in_mm_along_the_axes(mm_per_unit: float) -> None:
    turns = Rotation.from_euler("YXZ", [[0.0, 0.0, 0.0], [0.3, 0.1, -0.2]]).as_matrix()
    places = np.array([[10.0, 0.0, 400.0], [30.0, -5.0, 380.0]])
    found, shifts = motion(a_track(turns, places, mm_per_unit), np.eye(3))
    np.testing.assert_allclose(found, turns, atol=1e-9)
    np.testing.assert_allclose(shifts, places - places[0], atol=1e-6)
    np.testing.assert_allclose(Rotation.from_matrix(found[1]).as_euler("YXZ"), [0.3, 0.1, -0.2], atol=1e-9)


def test_along_the_axes_of_the_anchor_the_anchor_is_at_rest() -> None:
    turns = Rotation.from_euler("z", [[1.5], [1.6]]).as_matrix()
    places = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    found, shifts = motion(a_track(turns, places, 1.0), turns[0])
    np.testing.assert_allclose(found[0], np.eye(3), atol=1e-9)
    np.testing.assert_allclose(Rotation.from_matrix(found[1]).as_rotvec(), [0.0, 0.0, 0.1], atol=1e-9)
    np.testing.assert_allclose(shifts[1], turns[0].T @ [0.0, 1.0, 0.0], atol=1e-9)


@settings(deadline=None)
@given(total=st.integers(1, 60), count=st.integers(1, 12), missed=st.sets(st.integers(0, 59), max_size=3))
def test_a_strip_shows_even_frames_and_one_that_was_lost(total: int, count: int, missed: set[int]) -> None:
    lost = np.isin(np.arange(total), sorted(missed))
    shown = shown_frames(lost, count)
    assert shown == sorted(set(shown)) and len(shown) <= count
    assert shown[0] >= 0 and shown[-1] < total
    assert lost[shown].any() == lost.any()
