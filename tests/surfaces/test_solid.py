"""Signed distances to a closed surface, with search trees that are built once."""

from __future__ import annotations

import igl
import numpy as np
import pytest
import trimesh

from imhead.surfaces.solid import Solid

POINTS = np.random.default_rng(0).normal(0.0, 9.0, (500, 3))


@pytest.fixture(scope="module")
def ball() -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions=4, radius=10.0)


def test_a_signed_distance_names_the_nearest_face_and_place(ball: trimesh.Trimesh) -> None:
    closest = Solid(ball.vertices, ball.faces).signed_distance(np.array([[0.0, 0.0, 15.0], [0.0, 0.0, 4.0]]))
    np.testing.assert_allclose(closest.distance, [5.0, -6.0], atol=0.05)
    np.testing.assert_allclose(closest.point, [[0, 0, 10], [0, 0, 10]], atol=0.5)
    corners = ball.vertices[ball.faces[closest.face]]
    assert (np.linalg.norm(corners.mean(axis=1) - closest.point, axis=1) < 1.0).all()


def test_search_trees_that_are_kept_give_what_fresh_ones_give(ball: trimesh.Trimesh) -> None:
    solid = Solid(np.array(ball.vertices), np.array(ball.faces))
    for points in (POINTS[:200], POINTS[200:]):
        squared, face, place = igl.point_mesh_squared_distance(points, solid.vertices, solid.faces)
        inside = igl.fast_winding_number(solid.vertices, solid.faces, points) > 0.5
        closest = solid.signed_distance(points)
        assert np.array_equal(np.abs(closest.distance), np.sqrt(squared))
        assert np.array_equal(closest.distance < 0.0, inside) and inside.any()
        assert np.array_equal(closest.face, face) and np.array_equal(closest.point, place)
