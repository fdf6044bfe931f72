"""A ball has no handle, a ring has one; open surfaces are refused."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import dijkstra

from imhead.errors import InputError
from imhead.surfaces.handles import HandleSearch, count_handles, handle_places
from imhead.types import Mesh


def mesh(*parts: trimesh.Trimesh) -> Mesh:
    joined = trimesh.util.concatenate(parts)
    return Mesh(joined.vertices, joined.faces)


def ring(x: float = 0.0) -> trimesh.Trimesh:
    made = trimesh.creation.torus(20.0, 5.0)
    made.apply_translation([x, 0.0, 0.0])
    return made


def ball(x: float = 0.0) -> trimesh.Trimesh:
    made = trimesh.creation.icosphere(3, 10.0)
    made.apply_translation([x, 0.0, 0.0])
    return made


@settings(deadline=None, max_examples=10)
@given(rings=st.integers(0, 3), balls=st.integers(0, 3))
def test_every_ring_adds_one_handle_and_no_ball_does(rings: int, balls: int) -> None:
    parts = [ring(100.0 * k) for k in range(rings)] + [ball(-100.0 * (k + 1)) for k in range(balls)]
    if parts:
        assert count_handles(mesh(*parts)) == rings


def test_vertices_that_no_face_uses_change_nothing() -> None:
    one = mesh(ring())
    assert count_handles(Mesh(np.concatenate([one.vertices, np.zeros((5, 3))]), one.faces)) == 1


def test_each_handle_is_found_where_its_ring_lies() -> None:
    places = handle_places(mesh(ring(), ball(-100.0), ring(200.0)))
    assert len(places) == 2
    from_axis = np.hypot(places[:, 0] - np.where(places[:, 0] > 100.0, 200.0, 0.0), places[:, 1])
    assert (np.abs(from_axis - 20.0) <= 5.1).all()
    assert (places[:, 0] > 100.0).sum() == 1


def test_a_bridge_between_two_balls_at_two_places_is_a_handle() -> None:
    frame = trimesh.voxel.ops.matrix_to_marching_cubes(np.pad(np.array([[[1, 1, 1], [1, 0, 1], [1, 1, 1]]]), 1))
    frame.merge_vertices()
    assert count_handles(mesh(frame)) == 1


def test_an_open_surface_is_refused() -> None:
    whole = mesh(ball())
    with pytest.raises(InputError, match="two faces"):
        count_handles(Mesh(whole.vertices, whole.faces[1:]))


def test_two_balls_that_share_a_vertex_are_refused() -> None:
    upper = trimesh.creation.icosphere(1, 1.0)
    upper.apply_translation(-upper.vertices[0])
    count = len(upper.vertices)
    faces = np.concatenate([upper.faces, np.where(upper.faces == 0, 0, upper.faces + count - 1)[:, ::-1]])
    with pytest.raises(InputError, match="share a vertex"):
        count_handles(Mesh(np.concatenate([upper.vertices, -upper.vertices[1:]]), faces))


@settings(deadline=None, max_examples=10)
@given(start=st.integers(0, 500), reach=st.floats(0.5, 30.0))
def test_what_lies_near_a_loop_is_what_the_whole_graph_says(start: int, reach: float) -> None:
    search = HandleSearch(mesh(ring(), ball(60.0)))
    loop = np.arange(start, start + 5)
    distance = dijkstra(search._graph, indices=loop, min_only=True)
    assert np.array_equal(search._within(loop, reach), np.flatnonzero(distance <= reach))
