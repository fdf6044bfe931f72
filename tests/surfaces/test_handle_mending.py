"""Handles that are small are mended: tunnels closed, threads cut, and the rest of the surface left as it is."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.isosurface.cells import Lattice
from imhead.isosurface.meshing import Grid, surface_of
from imhead.surfaces.handle_mending import _cut, _cut_whole, _loops_to_cut, mended
from imhead.surfaces.handles import HandleSearch, count_handles
from imhead.surfaces.properties import is_closed
from imhead.types import FloatArray, Mesh

SPACING_MM = 1.0
SIDE = 64


def meshed(distance: FloatArray) -> Mesh:
    origin = np.full(3, -0.5 * SIDE * SPACING_MM)
    return surface_of(Grid(origin, SPACING_MM, distance.astype(np.float32)))


def places() -> FloatArray:
    lattice = Lattice(np.full(3, -0.5 * SIDE * SPACING_MM), SPACING_MM, (SIDE,) * 3)
    return lattice.positions_mm(np.arange(SIDE**3)).reshape(SIDE, SIDE, SIDE, 3)


def plate_with_hole(radius_mm: float, at: tuple[float, float]) -> Mesh:
    """A plate 4 mm thick with a round hole."""
    x, y, z = np.moveaxis(places(), -1, 0)
    plate = np.maximum.reduce([np.abs(x) - 24.0, np.abs(y) - 24.0, np.abs(z) - 2.0])
    return meshed(np.maximum(plate, radius_mm - np.hypot(x - at[0], y - at[1])))


def two_balls_with_threads(radius_mm: float) -> Mesh:
    """Two balls joined by a thick neck and a thread beside it."""
    p = places()
    x, y, z = np.moveaxis(p, -1, 0)
    balls = np.minimum(*(np.linalg.norm(p - [0.0, 0.0, c], axis=-1) - 11.0 for c in (-19.0, 19.0)))
    neck = np.maximum(np.hypot(x - 7.3, y - 0.4) - 3.0, np.abs(z) - 19.0)
    thread = np.maximum(np.hypot(x + 7.3, y - 0.4) - radius_mm, np.abs(z) - 19.0)
    return meshed(np.minimum(balls, np.minimum(neck, thread)))


@settings(max_examples=8, deadline=None)
@given(radius=st.floats(1.2, 3.5), x=st.floats(-15.0, 15.0), y=st.floats(-15.0, 15.0))
def test_a_hole_through_a_wall_is_closed_on_both_sides(radius: float, x: float, y: float) -> None:
    pierced = plate_with_hole(radius, (x, y))
    assert count_handles(pierced) == 1
    whole = mended(pierced)
    assert whole.left == 0 and count_handles(whole.mesh) == 0 and is_closed(whole.mesh)
    assert np.linalg.norm(whole.places[0, :2] - [x, y]) < radius
    over = np.hypot(whole.mesh.vertices[:, 0] - x, whole.mesh.vertices[:, 1] - y) < 0.5 * radius
    height = whole.mesh.vertices[over, 2]
    # the two sides of the wall stay apart
    assert (height > 0.3).any() and (height < -0.3).any()


def test_far_from_a_mended_place_no_vertex_moves() -> None:
    pierced = plate_with_hole(2.0, (0.0, 0.0))
    whole = mended(pierced).mesh
    far = np.hypot(pierced.vertices[:, 0], pierced.vertices[:, 1]) > 12.0
    assert np.array_equal(whole.vertices[: len(pierced.vertices)][far], pierced.vertices[far])


def test_a_thin_thread_is_cut_and_a_thick_one_stays() -> None:
    thin, thick = two_balls_with_threads(0.85), two_balls_with_threads(3.0)
    assert count_handles(thin) == count_handles(thick) == 1
    cut = mended(thin)
    assert cut.left == 0 and count_handles(cut.mesh) == 0
    assert mended(thick).left == 1


def test_a_surface_without_handles_is_given_back_as_it_is() -> None:
    ball = trimesh.creation.icosphere(3)
    mesh = Mesh(np.asarray(ball.vertices), np.asarray(ball.faces))
    assert mended(mesh).mesh is mesh


def test_an_open_surface_is_given_back_uncounted() -> None:
    ball = trimesh.creation.icosphere(3)
    mesh = Mesh(np.asarray(ball.vertices), np.asarray(ball.faces)[1:])
    found = mended(mesh)
    assert found.left is None and found.mesh is mesh


@pytest.mark.parametrize("holes", [2, 3])
def test_several_holes_are_all_closed(holes: int) -> None:
    x, y, z = np.moveaxis(places(), -1, 0)
    distance = np.maximum.reduce([np.abs(x) - 24.0, np.abs(y) - 24.0, np.abs(z) - 2.0])
    for k in range(holes):
        distance = np.maximum(distance, 2.0 - np.hypot(x - 12.0 * (k - 1), y + 5.0 * k))
    found = mended(meshed(distance))
    assert found.left == 0 and len(found.places) == holes


def test_loops_are_independent_exactly_if_cutting_along_them_leaves_the_surface_whole() -> None:
    ring = trimesh.creation.torus(12.0, 5.0, major_sections=24, minor_sections=12)
    mesh = Mesh(np.asarray(ring.vertices), np.asarray(ring.faces))
    search = HandleSearch(mesh)
    around, along = search.loops()
    ball = trimesh.creation.icosphere(1)
    assert search.homology(around) and search.homology(along)
    assert search.homology(around) != search.homology(along)
    face = mesh.faces[0]
    assert search.homology(face) == 0, "a loop that bounds a face encloses no handle"
    crossing = [search.homology(loop) for loop in search.loops_across(along, 20.0, 3)]
    assert set(crossing) - {0, search.homology(along)}, "a loop across the other is found beside it"
    assert HandleSearch(Mesh(np.asarray(ball.vertices), np.asarray(ball.faces))).loops() == []


@pytest.mark.parametrize("holes", [1, 3])
def test_a_cut_that_looks_only_near_the_loops_gives_the_same_mesh_to_the_bit(holes: int) -> None:
    x, y, z = np.moveaxis(places(), -1, 0)
    distance = np.maximum.reduce([np.abs(x) - 24.0, np.abs(y) - 24.0, np.abs(z) - 2.0])
    for k in range(holes):
        distance = np.maximum(distance, 2.0 - np.hypot(x - 5.5 * (k - 1), y + 2.0 * k))
    mesh = meshed(distance)
    loops = _loops_to_cut(mesh)
    near, whole = _cut(mesh, loops), _cut_whole(mesh, loops)
    assert len(loops) == holes
    assert np.array_equal(near.vertices, whole.vertices) and np.array_equal(near.faces, whole.faces)
