"""What rays see of a mesh, and that nothing is built or asked twice."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import trimesh

from imhead.rendering import figures as render
from imhead.rendering import raycast
from imhead.types import Mesh

LOOK = render.camera("front", center_mm=(0.0, 0.0, 0.0), half_mm=100.0)
KEY = np.array([0.0, 0.0, 1.0])


def two_balls() -> Mesh:
    parts = [trimesh.creation.icosphere(subdivisions=3, radius=40.0).apply_translation((x, 0, 0)) for x in (-30, 30)]
    both = trimesh.util.concatenate(parts)
    return Mesh(both.vertices, both.faces)


def normals_of(mesh: Mesh) -> np.ndarray:
    return np.asarray(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).vertex_normals)


@pytest.mark.parametrize("view", ["front", "three_quarter", "profile", "back", "top"])
def test_a_ball_is_seen_where_and_as_deep_as_it_is(view: str) -> None:
    ball = trimesh.creation.icosphere(subdivisions=5, radius=60.0)
    look = render.camera(view, center_mm=(0.0, 0.0, 0.0), half_mm=100.0)
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


def test_a_second_picture_of_a_mesh_is_that_of_a_fresh_copy() -> None:
    mesh = two_balls()
    for view in ("three_quarter", "profile", "front"):
        again = render.shade(mesh, view, 64)
        fresh = render.shade(two_balls(), view, 64)
        assert np.array_equal(again, fresh)
    flat = np.tile([0.0, 0.0, 1.0], (len(mesh.vertices), 1))
    assert not np.array_equal(render.shade(mesh, "front", 64, normals=flat), fresh), (
        "ambient_occlusion of other normals"
    )
    assert np.array_equal(render.shade(mesh, "front", 64), fresh)


def test_a_mesh_is_built_once_and_let_go_with_its_owner() -> None:
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


def test_a_crease_sees_less_sky_than_a_cheek() -> None:
    mesh = two_balls()
    scene = raycast.scene_of(mesh)
    sky, key = scene.ambient_occlusion(scene.hits(LOOK, 128), normals_of(mesh), KEY)
    seen = np.unique(scene.hits(LOOK, 128).corner)
    crease = seen[np.abs(mesh.vertices[seen, 0]) < 8.0]
    cheek = seen[np.linalg.norm(np.abs(mesh.vertices[seen]) - [40.0, 0.0, 40.0], axis=1) < 15.0]
    assert len(crease) and len(cheek)
    assert sky[crease].mean() < 0.8 * sky[cheek].mean() and sky[cheek].min() > 0.95
    unseen = np.setdiff1d(np.arange(len(mesh.vertices)), seen)
    assert (sky[unseen] == 1.0).all() and (key[unseen] == 1.0).all()
    assert ((sky >= 0.0) & (sky <= 1.0)).all() and ((key >= 0.0) & (key <= 1.0)).all()
