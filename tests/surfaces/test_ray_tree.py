"""Rays hit the same faces with Embree and without it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.rendering.shading import shade
from imhead.surfaces import ray_tree
from imhead.surfaces.crossings import crossing_edges
from imhead.surfaces.ray_tree import RayTree, _EmbreeTree, _LibiglTree
from imhead.types import Mesh

needs_embree = pytest.mark.skipif(ray_tree.EmbreeScene is None, reason="embreex is not installed")
BALL = trimesh.creation.icosphere(subdivisions=3, radius=60.0)
VERTICES, FACES = np.asarray(BALL.vertices), np.asarray(BALL.faces, dtype=np.int64)
TREES: dict[str, Callable[[], RayTree]] = {
    "libigl": lambda: _LibiglTree(VERTICES, FACES),
    "embree": lambda: _EmbreeTree(VERTICES, FACES, robust=True),
}
both = pytest.mark.parametrize("tree", [pytest.param("embree", marks=needs_embree), "libigl"])


def rays(count: int, seed: int, reach: float = 120.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(count, 3))
    return rng.uniform(-reach, reach, (count, 3)), directions / np.linalg.norm(directions, axis=1, keepdims=True)


@needs_embree
@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_both_trees_hit_the_same_faces_at_the_same_places(seed: int) -> None:
    origins, directions = rays(200, seed)
    one, other = (TREES[name]().first(origins, directions) for name in TREES)
    # a ray through an edge may be said to hit either of its faces
    alike = one.face == other.face
    assert ((one.face >= 0) == (other.face >= 0)).mean() > 0.99 and alike.mean() > 0.98
    hit = alike & (one.face >= 0)
    np.testing.assert_allclose(one.distance[hit], other.distance[hit], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(one.u[hit], other.u[hit], atol=2e-3)
    np.testing.assert_allclose(one.v[hit], other.v[hit], atol=2e-3)


@both
def test_a_ray_from_inside_hits_the_face_that_it_points_to(tree: str) -> None:
    _, directions = rays(500, 1)
    hits = TREES[tree]().first(np.zeros((500, 3)), directions)
    assert (hits.face >= 0).all()
    corners = VERTICES[FACES[hits.face]]
    weights = np.stack([1 - hits.u - hits.v, hits.u, hits.v], axis=1)
    places = (weights[:, :, None] * corners).sum(axis=1)
    np.testing.assert_allclose(places, hits.distance[:, None] * directions, atol=1e-3)
    np.testing.assert_array_equal(TREES[tree]().face(np.zeros((500, 3)), directions), hits.face)


@both
def test_what_lies_beyond_the_reach_is_not_hit(tree: str) -> None:
    _, directions = rays(100, 2)
    inside, built = np.zeros((100, 3)), TREES[tree]()
    assert not built.blocked(inside, directions, 50.0).any() and built.blocked(inside, directions, 70.0).all()
    assert (built.first(inside, directions, np.full(100, 50.0)).face == -1).all()
    assert (built.first(inside, directions, np.full(100, 70.0)).face >= 0).all()


@both
def test_no_rays_and_rays_that_go_nowhere_hit_nothing(tree: str) -> None:
    built = TREES[tree]()
    assert built.first(np.zeros((0, 3)), np.zeros((0, 3))).face.shape == (0,)
    assert (built.face(np.zeros((1, 3)), np.zeros((1, 3))) == -1).all()


@both
def test_several_threads_may_ask_one_tree(tree: str) -> None:
    built, (origins, directions) = TREES[tree](), rays(4000, 3)
    alone = built.face(origins, directions)
    with ThreadPoolExecutor(4) as pool:
        parts = pool.map(lambda k: built.face(origins[k::4], directions[k::4]), range(4))
    for k, part in enumerate(parts):
        np.testing.assert_array_equal(part, alone[k::4])


@needs_embree
def test_a_picture_without_embree_is_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    ears = [trimesh.creation.icosphere(3, radius=20.0).apply_translation((x, 20.0, 10.0)) for x in (-55, 55)]
    head = trimesh.util.concatenate([BALL, *ears])

    def picture() -> np.ndarray:
        return np.asarray(shade(Mesh(head.vertices, head.faces), "three_quarter", 256), dtype=int)

    with_embree = picture()
    monkeypatch.setattr(ray_tree, "EmbreeScene", None)
    difference = np.abs(picture() - with_embree).max(axis=-1)
    assert ray_tree.caster_name() == "libigl"
    assert (difference > 2).mean() < 1e-3 and (difference > 0).mean() < 0.02


@needs_embree
def test_edges_that_pass_through_faces_are_found_without_embree_too(monkeypatch: pytest.MonkeyPatch) -> None:
    other = BALL.copy().apply_translation((50.0, 3.0, 7.0))
    joined = trimesh.util.concatenate([BALL, other])
    vertices, faces = np.asarray(joined.vertices), np.asarray(joined.faces, dtype=np.int64)
    found = {tuple(edge) for edge in crossing_edges(vertices, faces).tolist()}
    monkeypatch.setattr(ray_tree, "EmbreeScene", None)
    without = {tuple(edge) for edge in crossing_edges(vertices, faces).tolist()}
    # in double precision, a ray along an edge is not stopped by the faces beside it
    assert found <= without and len(without - found) <= 0.05 * len(found)
