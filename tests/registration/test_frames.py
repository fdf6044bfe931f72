"""Offsets in frames that move with their vertices."""

from __future__ import annotations

import numpy as np
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from imhead.registration.frames import pointers, vertex_frames

BALL = trimesh.creation.icosphere(2, radius=50.0)
VERTICES, FACES = np.asarray(BALL.vertices), np.asarray(BALL.faces)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_frames_turn_with_the_mesh(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = VERTICES + rng.normal(0.0, 1.0, VERTICES.shape)
    turn, shift = Rotation.random(random_state=seed).as_matrix(), rng.normal(0.0, 100.0, 3)
    to = pointers(VERTICES, FACES)
    before, after = vertex_frames(shape, FACES, to), vertex_frames(shape @ turn.T + shift, FACES, to)
    np.testing.assert_allclose(after, before @ turn.T, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_frames_are_right_handed_and_orthonormal(seed: int) -> None:
    shape = VERTICES + np.random.default_rng(seed).normal(0.0, 5.0, VERTICES.shape)
    frames = vertex_frames(shape, FACES, pointers(VERTICES, FACES))
    np.testing.assert_allclose(frames @ frames.transpose(0, 2, 1), np.broadcast_to(np.eye(3), frames.shape), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(frames), 1.0, atol=1e-9)


def test_a_vertex_without_edges_has_a_frame() -> None:
    vertices = np.concatenate([VERTICES, [[0.0, 0.0, 90.0]]])
    to = pointers(vertices, FACES)
    assert to[-1] == len(VERTICES) and (to[:-1] != np.arange(len(VERTICES))).all()
    frames = vertex_frames(vertices, FACES, to)
    np.testing.assert_allclose(np.linalg.det(frames), 1.0, atol=1e-9)
