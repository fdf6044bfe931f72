"""Random points lie on their surface, uniform by area; thinned points and directions are evenly spread."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy import stats
from scipy.spatial import cKDTree

from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.properties import face_areas, face_normals
from imhead.surfaces.sampling import draw_points, draw_rows, even_subset, fibonacci_sphere, folded
from imhead.types import Mesh

EGG = trimesh.creation.icosphere(subdivisions=2, radius=1.0)
MESH = Mesh(np.asarray(EGG.vertices) * [75.0, 110.0, 95.0], EGG.faces)


def test_drawn_points_lie_on_the_faces_they_name_with_the_normals_of_those() -> None:
    points, normals, rows = draw_points(MESH.vertices, MESH.faces, 500, np.random.default_rng(0))
    for k in range(0, 500, 50):
        only = Mesh(MESH.vertices, MESH.faces[rows[k : k + 1]])
        assert point_to_surface(points[k : k + 1], only)[0][0] < 1e-9
    assert point_to_surface(points, MESH)[0].max() < 1e-9
    np.testing.assert_allclose(normals, face_normals(MESH)[rows], atol=1e-12)


def test_drawn_points_are_spread_by_area() -> None:
    rows = draw_points(MESH.vertices, MESH.faces, 40_000, np.random.default_rng(1))[2]
    expected = face_areas(MESH) / face_areas(MESH).sum() * 40_000
    assert stats.chisquare(np.bincount(rows, minlength=len(MESH.faces)), expected).pvalue > 1e-3


def test_a_row_of_weight_zero_is_never_drawn() -> None:
    rows = draw_rows(np.array([1.0, 0.0, 3.0]), 8000, np.random.default_rng(2))
    assert np.bincount(rows, minlength=3) / 8000 == pytest.approx([0.25, 0.0, 0.75], abs=0.02)


def test_folded_numbers_are_uniform_over_the_triangle() -> None:
    s, t = folded(*np.random.default_rng(3).random((2, 40_000)))
    assert s.min() >= 0.0 and t.min() >= 0.0 and (s + t).max() <= 1.0
    # a grid over the parallelogram splits the triangle into whole cells and, along its long side, half cells
    cells = np.histogram2d(s, t, bins=8, range=((0, 1), (0, 1)))[0]
    i, j = np.indices(cells.shape)
    share = np.where(i + j < 7, 1.0, np.where(i + j == 7, 0.5, 0.0)) / 32.0
    held = share > 0
    assert cells[~held].sum() == 0
    assert stats.chisquare(cells[held], share[held] * 40_000).pvalue > 1e-3


@pytest.mark.parametrize("count", [1, 60, 1000])
def test_directions_on_the_sphere_have_length_one_and_spread_evenly(count: int) -> None:
    directions = fibonacci_sphere(count)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, atol=1e-12)
    if count > 1:
        assert np.linalg.norm(directions.mean(axis=0)) < 0.05
        nearest = cKDTree(directions).query(directions, k=2)[0][:, 1]
        ideal = np.sqrt(4.0 * np.pi / count)  # side of a square with one direction's share of the sphere
        assert 0.5 * ideal < nearest.min() and nearest.max() < 1.2 * ideal


def test_a_turned_spiral_holds_the_same_heights_turned_about_the_axis() -> None:
    plain, turned = fibonacci_sphere(50), fibonacci_sphere(50, 0.5)
    np.testing.assert_allclose(turned[:, 2], plain[:, 2])
    cosine = (plain[:, :2] * turned[:, :2]).sum(axis=1) / (1.0 - plain[:, 2] ** 2)
    np.testing.assert_allclose(cosine, cosine[0], atol=1e-9)


def test_thinned_points_are_one_per_cell_and_cover_the_cloud() -> None:
    points = np.random.default_rng(4).uniform(0.0, 50.0, (5000, 3))
    kept = points[even_subset(points, 10.0)]
    cells = np.floor((kept - points.min(axis=0)) / 10.0).astype(int)
    assert len(np.unique(cells, axis=0)) == len(kept) < len(points)
    assert cKDTree(kept).query(points)[0].max() < 10.0 * np.sqrt(3.0)
