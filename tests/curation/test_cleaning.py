"""Cleaning masks what is no surface, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from imhead.curation.cleaning import cleaned, find_dirt
from imhead.errors import InputError
from imhead.types import Scan

BALL = trimesh.creation.icosphere(4, radius=90.0)
POINTS, FACES = np.asarray(BALL.vertices), np.asarray(BALL.faces)


def test_a_clean_surface_stays_as_it_is() -> None:
    scan, found = cleaned(Scan("ball", POINTS, None, FACES))
    assert found.report() == {"stray": 0, "spikes": 0, "torn_faces": 0}
    assert scan.faces is not None and np.array_equal(scan.points, POINTS) and np.array_equal(scan.faces, FACES)


def test_spikes_are_masked_with_their_faces() -> None:
    rough = POINTS + np.random.default_rng(0).normal(0.0, 0.05, POINTS.shape)
    rough[[5, 700, 1900]] *= 1.3
    found = find_dirt(Scan("ball", rough, None, FACES))
    assert found.spikes[[5, 700, 1900]].all() and found.spikes.sum() == 3
    scan, _ = cleaned(Scan("ball", rough, None, FACES))
    assert scan.faces is not None and np.linalg.norm(scan.points, axis=1).max() < 92.0


def test_a_small_piece_beside_the_surface_is_stray() -> None:
    crumb = trimesh.creation.icosphere(1, radius=2.0)
    points = np.concatenate([POINTS, crumb.vertices[:20] + 150.0])
    inside = crumb.faces[(crumb.faces < 20).all(axis=1)] + len(POINTS)
    found = find_dirt(Scan("ball", points, None, np.concatenate([FACES, inside])))
    assert found.stray[len(POINTS) :].all() and not found.stray[: len(POINTS)].any()
    assert find_dirt(Scan("cloud", points)).stray[len(POINTS) :].all()


def test_faces_that_bridge_a_gap_are_torn() -> None:
    bridge = np.array([[0, 1, int(np.linalg.norm(POINTS + POINTS[0], axis=1).argmin())]])
    scan, found = cleaned(Scan("ball", POINTS, None, np.concatenate([FACES, bridge])))
    assert found.torn[-1] and found.torn.sum() == 1
    assert scan.faces is not None and len(scan.faces) == len(FACES)


def test_a_mesh_that_is_coarse_in_places_is_not_torn_there() -> None:
    coarse = trimesh.creation.icosphere(1, radius=90.0)
    points = np.concatenate([POINTS, np.asarray(coarse.vertices) + 300.0])
    faces = np.concatenate([FACES, np.asarray(coarse.faces) + len(POINTS)])
    many = np.concatenate([faces] + [faces[len(FACES) :]] * 20)
    assert not find_dirt(Scan("two", points, None, many)).torn.any()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.001, 0.1, 1.0]))
def test_what_is_masked_does_not_depend_on_pose_and_unit(seed: int, unit: float) -> None:
    rough = POINTS + np.random.default_rng(1).normal(0.0, 0.05, POINTS.shape)
    rough[[5, 700]] *= 1.3
    turn = Rotation.random(random_state=seed).as_matrix()
    moved = (rough @ turn.T + 40.0) * unit
    assert find_dirt(Scan("a", moved, None, FACES)).report() == find_dirt(Scan("b", rough, None, FACES)).report()


def test_a_scan_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(InputError, match="points are left after cleaning"):
        cleaned(Scan("few", POINTS[:50]))
