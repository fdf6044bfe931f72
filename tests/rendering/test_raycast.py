"""Hits and ambient occlusion of a ray-casting scene, and what is kept of it."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import trimesh

from imhead.rendering import raycast
from imhead.rendering.shading import camera, shade
from imhead.surfaces.properties import face_cross
from imhead.types import Mesh

LOOK = camera("front", center_mm=(0.0, 0.0, 0.0), half_mm=100.0)
KEY = np.array([0.0, 0.0, 1.0])


def two_balls() -> Mesh:
    parts = [trimesh.creation.icosphere(subdivisions=3, radius=40.0).apply_translation((x, 0, 0)) for x in (-30, 30)]
    both = trimesh.util.concatenate(parts)
    return Mesh(both.vertices, both.faces)


def normals_of(mesh: Mesh) -> np.ndarray:
    return np.asarray(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).vertex_normals)


@pytest.mark.parametrize("view", ["front", "three_quarter", "profile", "back", "top"])
def test_the_hits_on_a_ball_have_its_pixels_and_depths(view: str) -> None:
    ball = trimesh.creation.icosphere(subdivisions=5, radius=60.0)
    look = camera(view, center_mm=(0.0, 0.0, 0.0), half_mm=100.0)
    seen = raycast.scene_of(Mesh(ball.vertices, ball.faces)).hits(look, 101)
    row, column = np.divmod(seen.pixel, 101)
    x, y = (column - 50) * 200 / 101, (50 - row) * 200 / 101
    wanted = np.sqrt(np.maximum(60.0**2 - x**2 - y**2, 0.0))
    inner = x**2 + y**2 < 50.0**2
    assert inner.sum() == pytest.approx(np.pi * (50 * 101 / 200) ** 2, rel=0.02)
    np.testing.assert_allclose(seen.depth_mm[inner], wanted[inner], atol=0.3)
    places = seen.mean @ ball.vertices
    np.testing.assert_allclose(places @ look.axes.T, np.stack([x, y, seen.depth_mm], axis=1), atol=0.01)
    assert (seen.facing == 1.0).all()


def test_a_second_picture_of_a_mesh_equals_that_of_a_fresh_copy() -> None:
    mesh = two_balls()
    for view in ("three_quarter", "profile", "front"):
        again = shade(mesh, view, 64)
        fresh = shade(two_balls(), view, 64)
        assert np.array_equal(again, fresh)
    flat = np.tile([0.0, 0.0, 1.0], (len(mesh.vertices), 1))
    assert not np.array_equal(shade(mesh, "front", 64, normals=flat), fresh), (
        "the ambient occlusion of other normals was used"
    )
    assert np.array_equal(shade(mesh, "front", 64), fresh)


def test_a_scene_is_built_once_and_freed_with_its_mesh() -> None:
    mesh = two_balls()
    scene = raycast.scene_of(mesh)
    assert raycast.scene_of(mesh) is scene
    assert scene.hits(LOOK, 32) is scene.hits(LOOK, 32)
    others = [two_balls() for _ in range(6)]
    for other in others:
        raycast.scene_of(other)
    assert len(raycast._scenes) <= raycast._KEPT_SCENES
    assert raycast.scene_of(mesh) is not scene
    kept = weakref.ref(raycast.scene_of(mesh))
    del mesh, scene
    gc.collect()
    assert kept() is None


def test_a_crease_has_less_ambient_light_than_open_skin() -> None:
    mesh = two_balls()
    scene = raycast.scene_of(mesh)
    ambient, key = scene.ambient_occlusion(scene.hits(LOOK, 128), normals_of(mesh), KEY)
    seen = np.unique(scene.hits(LOOK, 128).corner)
    crease = seen[np.abs(mesh.vertices[seen, 0]) < 8.0]
    open_skin = seen[np.linalg.norm(np.abs(mesh.vertices[seen]) - [40.0, 0.0, 40.0], axis=1) < 15.0]
    assert len(crease) and len(open_skin)
    assert ambient[crease].mean() < 0.8 * ambient[open_skin].mean() and ambient[open_skin].min() > 0.95
    unseen = np.setdiff1d(np.arange(len(mesh.vertices)), seen)
    assert (ambient[unseen] == 1.0).all() and (key[unseen] == 1.0).all()
    assert ((ambient >= 0.0) & (ambient <= 1.0)).all() and ((key >= 0.0) & (key <= 1.0)).all()


@pytest.mark.parametrize("view", ["front", "three_quarter", "profile"])
def test_pixels_know_the_vertices_that_they_show_and_the_side_that_they_see(view: str) -> None:
    balls = two_balls()
    faces = balls.faces.copy()
    faces[::2] = faces[::2, ::-1]
    mesh = Mesh(balls.vertices, faces)
    look = camera(view, center_mm=(0.0, 0.0, 0.0), half_mm=100.0)
    hits = raycast.scene_of(mesh).hits(look, 96)
    assert np.array_equal(hits.seen, np.unique(hits.corner))
    assert np.array_equal(hits.mean_of_seen @ mesh.vertices[hits.seen], hits.mean @ mesh.vertices)
    towards = face_cross(mesh.vertices, hits.corner) @ look.toward
    sure = np.abs(towards) > 1e-9
    assert np.array_equal(hits.facing[sure], np.sign(towards[sure]))
    assert len(np.unique(hits.facing)) == 2
