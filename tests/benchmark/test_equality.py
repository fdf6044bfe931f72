"""Meshes are equal if they are one surface, and unequal at the smallest difference."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from imhead.benchmark.equality import TOLERANCE_MM, mesh_difference
from imhead.types import Mesh


@pytest.fixture
def ball() -> Mesh:
    sphere = trimesh.creation.icosphere(3, 50.0)
    return Mesh(sphere.vertices, sphere.faces)


def test_the_order_of_vertices_and_faces_does_not_matter(ball: Mesh) -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(len(ball.vertices))
    faces = np.argsort(order)[ball.faces][rng.permutation(len(ball.faces))]
    other = Mesh(ball.vertices[order], faces)
    difference = mesh_difference(ball, other)
    assert difference.equal and difference.largest_mm < 1e-9


@pytest.mark.parametrize(("share", "equal"), [(0.9, True), (1.1, False)])
def test_a_vertex_may_move_by_the_tolerance_and_no_more(ball: Mesh, share: float, equal: bool) -> None:
    moved = np.array(ball.vertices)
    moved[7, 1] += share * TOLERANCE_MM
    assert mesh_difference(ball, Mesh(moved, ball.faces)).equal is equal


def test_a_hole_is_seen(ball: Mesh) -> None:
    assert not mesh_difference(ball, Mesh(ball.vertices, ball.faces[1:])).equal


def test_a_flipped_edge_is_seen_although_all_vertices_stay(ball: Mesh) -> None:
    faces = np.array(ball.faces)
    a, b, c = faces[0]
    other = next(k for k in range(1, len(faces)) if {a, b} <= set(faces[k]))
    (d,) = set(faces[other]) - {a, b}
    faces[0], faces[other] = [a, d, c], [d, b, c]
    assert not mesh_difference(ball, Mesh(ball.vertices, faces)).equal
