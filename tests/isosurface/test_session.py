"""A session: after any edits its mesh is that of a full run, and only what an edit reaches is recomputed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead import editing
from imhead.checkpoint import Model, load_model
from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.isosurface.feature_cache import FeatureCache
from imhead.isosurface.field import HeadField, expression_code
from imhead.isosurface.meshing import extract_mesh, lattice_of
from imhead.isosurface.session import HeadSession, MeshChange
from imhead.regions import REGIONS, resolve
from imhead.surfaces.eyeballs import eye_centers
from imhead.types import Head, Mesh

SMALL, SHIPPED = 32, 56  # resolutions


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model("default")


@pytest.fixture(scope="module")
def rough(random_model: Callable[..., Model]) -> Model:
    """A small random model whose field has a zero set within the bounds, and about the slope of a distance."""
    return with_surface(random_model(seed=3))


def with_surface(model: Model) -> Model:
    rng = np.random.default_rng(0)
    field = HeadField(model, a_head(model, 0))
    places = rng.uniform(BOUNDS_MIN_MM, BOUNDS_MAX_MM, (4000, 3))
    scale = 1.0 / np.quantile(np.linalg.norm(field.gradient(places), axis=1), 0.9)
    last = model.net.fusion_net.layers[-1]
    with torch.no_grad():
        last.bias.sub_(float(np.median(field.sdf(places))) / 100.0).mul_(float(scale))
        last.weight.mul_(float(scale))
    return model


def a_head(model: Model, seed: int) -> Head:
    plain, rng = model.neutral(), np.random.default_rng(seed)
    return replace(
        plain, z_id=0.7 * rng.normal(size=plain.z_id.shape), offsets=0.1 * rng.normal(size=plain.offsets.shape)
    )


def edited(head: Head, names: tuple[str, ...] | str, seed: int, strength: float = 0.5) -> Head:
    offsets = np.array(head.offsets)
    for region in resolve(list(names) if isinstance(names, tuple) else names):
        offsets[region.index] += strength * np.random.default_rng(seed).normal(size=offsets.shape[1])
    return replace(head, offsets=offsets)


def full(model: Model, head: Head, resolution: int, z_exp: np.ndarray | None = None) -> Mesh:
    return extract_mesh(HeadField(model, head, z_exp).sdf, resolution)


def in_one_order(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Vertices sorted by place; faces that name them, each from its lowest vertex, sorted."""
    order = np.lexsort(mesh.vertices.T)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    faces = rank[mesh.faces]
    turns = np.stack([np.roll(faces, -k, axis=1) for k in range(3)], axis=1)
    faces = turns[np.arange(len(faces)), faces.argmin(axis=1)]
    return mesh.vertices[order], faces[np.lexsort(faces.T)]


def assert_same(got: Mesh, wanted: Mesh) -> None:
    assert (len(got.vertices), len(got.faces)) == (len(wanted.vertices), len(wanted.faces))
    vertices, faces = in_one_order(got)
    wanted_vertices, wanted_faces = in_one_order(wanted)
    np.testing.assert_allclose(vertices, wanted_vertices, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(faces, wanted_faces)


def patched(old: Mesh, new: Mesh, change: MeshChange) -> Mesh:
    """The old mesh, cut or lengthened, with the rows copied that the change names."""
    vertices, faces = np.full((change.vertex_count, 3), np.inf), np.full((change.face_count, 3), -1)
    kept = min(len(old.vertices), len(vertices)), min(len(old.faces), len(faces))
    vertices[: kept[0]], faces[: kept[1]] = old.vertices[: kept[0]], old.faces[: kept[1]]
    vertices[change.vertices], faces[change.faces] = new.vertices[change.vertices], new.faces[change.faces]
    return Mesh(vertices, faces)


NAMES = st.sampled_from([r.name for r in REGIONS] + ["nose", "mouth", "left_ear", "neck"])
STEP = st.one_of(
    st.tuples(st.just("edit"), NAMES, st.integers(0, 99), st.sampled_from([0.1, 0.5, 1.5])),
    st.tuples(st.just("undo"), st.integers(1, 4)),
)


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 5), steps=st.lists(STEP, min_size=1, max_size=6))
def test_any_sequence_of_edits_and_undos_gives_the_mesh_of_a_full_run(
    rough: Model, seed: int, steps: list[tuple[object, ...]]
) -> None:
    history = [a_head(rough, seed)]
    session = HeadSession(rough, history[0], resolution=SMALL)
    assert_same(session.mesh, full(rough, history[0], SMALL))
    for kind, *details in steps:
        if kind == "edit":
            history.append(edited(history[-1], *details))  # type: ignore[arg-type]
        else:
            history = history[: max(1, len(history) - details[0])]  # type: ignore[operator]
        before = session.mesh
        change = session.update(history[-1])
        assert_same(session.mesh, full(rough, history[-1], SMALL))
        copy = patched(before, session.mesh, change)
        np.testing.assert_array_equal(copy.vertices, session.mesh.vertices)
        np.testing.assert_array_equal(copy.faces, session.mesh.faces)


def test_values_that_are_kept_are_those_of_the_field_to_the_bit(rough: Model) -> None:
    head, lattice = replace(a_head(rough, 1), eyes=np.full((2, 5), 0.25)), lattice_of(SHIPPED)
    field = HeadField(rough, head)
    cache = FeatureCache(field, lattice)
    every = lattice.positions_mm(np.arange(lattice.count))
    at_eyes = np.linalg.norm(every[:, None] - eye_centers(field.eyes), axis=2).min(axis=1) < 30.0
    rng = np.random.default_rng(0)
    points = rng.permutation(np.union1d(np.flatnonzero(at_eyes), rng.integers(lattice.count, size=2000)))
    places = lattice.positions_mm(points)
    found = cache.values(points)
    np.testing.assert_array_equal(found, field.sdf(places))
    assert (found < field.skin_sdf(places)).sum() > 50
    # again from the cache, and after an edit of a lid
    np.testing.assert_array_equal(cache.values(points[::3]), found[::3])
    changed = HeadField(rough, edited(head, "left_upper_lid", 0))
    cache.change(changed, [region.index for region in resolve("left_upper_lid")])
    np.testing.assert_array_equal(cache.values(points), changed.sdf(places))


@settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 5), shift=st.floats(0.5, 4.0))
def test_a_head_with_other_eyeballs_is_meshed_anew(rough: Model, seed: int, shift: float) -> None:
    head = a_head(rough, seed)
    session = HeadSession(rough, head, resolution=SMALL)
    moved = replace(head, eyes=np.array(head.eyes) + np.float32([0.0, 0.0, shift, 0.0, 0.0]))
    change = session.update(moved)
    assert change.rebuilt
    assert_same(session.mesh, full(rough, moved, SMALL))
    opened = edited(moved, "left_eye", seed)
    assert not session.update(opened).rebuilt
    assert_same(session.mesh, full(rough, opened, SMALL))
    np.testing.assert_array_equal(HeadField(rough, opened).eyes, HeadField(rough, moved).eyes)


def test_a_long_session_with_the_shipped_model_gives_the_meshes_of_full_runs(shipped: Model) -> None:
    rng = np.random.default_rng(1)
    z_exp = expression_code(shipped, {"jawOpen": 0.4, "mouthSmileLeft": 0.8})
    history = [a_head(shipped, 7)]
    session = HeadSession(shipped, history[0], resolution=SHIPPED, z_exp=z_exp)
    names = ["nose_tip", "mouth", "left_ear", "left_neck", "chin", "upper_lip", "forehead", "right_shoulder"]
    for k, name in enumerate(names):
        if k % 3 == 2:
            history.pop()
        strength = float(rng.uniform(-2.0, 2.0))
        history.append(editing.along_direction(shipped, history[-1], resolve(name), k, strength, k % 2 == 0))
        session.update(history[-1])
        assert_same(session.mesh, full(shipped, history[-1], SHIPPED, z_exp))
    while len(history) > 1:
        history.pop()
        change = session.update(history[-1])
        assert not change.rebuilt
    assert_same(session.mesh, full(shipped, history[0], SHIPPED, z_exp))
