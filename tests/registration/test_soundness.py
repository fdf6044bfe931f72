"""Displacements that would cross sheets or turn faces over are taken back."""

from __future__ import annotations

import numpy as np
import trimesh

from imhead.registration.soundness import sound
from imhead.surfaces.crossings import crossing_edges
from imhead.types import FloatArray, IntArray


def two_sheets(gap: float) -> tuple[FloatArray, IntArray]:
    """Two square grids that face each other."""
    grid = trimesh.creation.box((20.0, 20.0, 1e-6)).subdivide().subdivide().subdivide()
    flat, faces = np.asarray(grid.vertices)[:, :2], np.asarray(grid.faces)
    up = faces[np.asarray(grid.face_normals)[:, 2] > 0.5]
    used, local = np.unique(up, return_inverse=True)
    one = np.column_stack([flat[used], np.zeros(len(used))])
    # not on the same places: edges of one sheet pass through faces of the other
    other = one + [0.37, 0.23, gap]
    local = local.reshape(-1, 3)
    return np.concatenate([one, other]), np.concatenate([local, local[:, ::-1] + len(used)])


def same(vertices: FloatArray) -> FloatArray:
    return vertices


def test_sheets_that_would_pass_through_each_other_stay_apart() -> None:
    start, faces = two_sheets(1.0)
    moved = start.copy()
    middle = np.linalg.norm(start[:, :2], axis=1) < 5.0
    moved[middle & (start[:, 2] < 0.5), 2] += 3.0
    assert len(crossing_edges(moved, faces))
    result, left = sound(start, moved, faces, same)
    assert left == 0 and not len(crossing_edges(result, faces))
    far = np.linalg.norm(start[:, :2], axis=1) > 9.0
    np.testing.assert_allclose(result[far], moved[far])


def test_a_displacement_that_crosses_nothing_is_kept() -> None:
    start, faces = two_sheets(1.0)
    moved = start + np.random.default_rng(0).normal(0.0, 0.1, start.shape)
    result, left = sound(start, moved, faces, same)
    assert left == 0
    np.testing.assert_array_equal(result, moved)


def test_a_face_does_not_turn_over() -> None:
    start, faces = two_sheets(5.0)
    moved = start.copy()
    vertex = int(np.linalg.norm(start, axis=1).argmin())
    moved[vertex, 0] += 8.0  # beyond its neighbours
    result, left = sound(start, moved, faces, same)
    assert left == 0 and abs(result[vertex, 0] - start[vertex, 0]) < 5.0
