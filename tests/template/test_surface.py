"""The template: the same vertices on every head, moved by the regions that hold them and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, MODEL_UNIT_MM
from imhead.errors import InputError
from imhead.isosurface.field import HeadField, eyes_of
from imhead.model.fusion import wendland
from imhead.regions import REGION_COUNT
from imhead.surfaces.eyeballs import eyeball_distance, eyes_distance, on_eyeball
from imhead.surfaces.normals import vertex_normals
from imhead.template.projection import ProjectionConfig, onto_zero_set
from imhead.template.surface import (
    TemplateSurface,
    arkit_weights,
    load_template,
    save_template,
    template_of,
    template_path,
)
from imhead.template.topology import LEFT_EYE, RIGHT_EYE, SKIN
from imhead.types import Head

REGION = st.integers(0, REGION_COUNT - 1)


@pytest.fixture(scope="module")
def template(model: Model) -> TemplateSurface:
    """A sheet of 12 × 10 vertices before the face with an eyeball behind it, and their mirror image; random bases."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(5.0, 80.0, 12), np.linspace(-80.0, 80.0, 10), indexing="ij")
    left = np.stack([x, y, 100.0 - 0.008 * (x * x + y * y)], axis=2).reshape(-1, 3)
    row = np.arange(len(left)).reshape(12, 10)
    a, b, c, d = (row[i : i + 11, j : j + 9].reshape(-1) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1)))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    centers = model.net.keypoint_net.mean.numpy() * MODEL_UNIT_MM
    distance = np.linalg.norm(left[:, None] - centers, axis=2) / (0.9 * model.net.radius.numpy() * MODEL_UNIT_MM)
    eyeball = model.net.eye_net.mean.numpy().astype(np.float64)
    ball = trimesh.creation.icosphere(2)
    part = np.repeat([SKIN, LEFT_EYE], [len(left), len(ball.vertices)])
    faces = np.concatenate([faces, ball.faces + len(left)])
    left = np.concatenate([left, on_eyeball(np.asarray(ball.vertices), eyeball)])
    count = len(left)
    twin = np.concatenate([np.arange(count, 2 * count), np.arange(count)])
    region, vertex = np.nonzero(wendland(torch.from_numpy(distance)).numpy().T > 0)
    size = model.net.config.region_code_size
    return TemplateSurface(
        model_hash=model.hash,
        faces=np.concatenate([faces, faces[:, [0, 2, 1]] + count]),
        uv=rng.random((2 * count, 2)),
        uv_faces=np.concatenate([faces, faces[:, [0, 2, 1]] + count]),
        part=np.concatenate([part, np.where(part == LEFT_EYE, RIGHT_EYE, part)]),
        twin=twin,
        mean=np.concatenate([left, left * [-1.0, 1.0, 1.0]]),
        on_surface=np.tile(np.where(part == SKIN, 1.0, 0.0), 2),
        pair_vertex=vertex,
        pair_region=region,
        basis=rng.normal(size=(len(vertex), size, 3)),
        shapes=rng.normal(size=(len(ARKIT_NAMES), 2 * count, 3)),
    )


def edited(model: Model, head: Head, region: int, seed: int) -> Head:
    """The head with another code in one region."""
    offsets = np.array(head.offsets)
    offsets[region] += np.random.default_rng(seed).normal(size=offsets.shape[1])
    return replace(head, offsets=offsets)


def some_head(model: Model, seed: int) -> Head:
    """A head with a random identity."""
    z = 0.5 * np.random.default_rng(seed).normal(size=model.net.config.identity_size)
    return replace(model.neutral(), z_id=z)


def holds(template: TemplateSurface, region: int, model: Model) -> np.ndarray:
    """(V,) whether a region, or its twin for a mirrored vertex, has a basis at a vertex."""
    left = np.isin(np.arange(template.half), template.pair_vertex[template.pair_region == region])
    other = template.pair_vertex[template.pair_region == int(model.net.mirror[region])]
    right = np.isin(template.twin[template.half :], other)
    return np.concatenate([left, right])


@settings(max_examples=15, deadline=None)
@given(region=REGION, seed=st.integers(0, 1000))
def test_an_edit_moves_no_vertex_that_its_region_does_not_hold(
    model: Model, template: TemplateSurface, region: int, seed: int
) -> None:
    head = some_head(model, seed)
    codes = [HeadField(model, h).regional.z[0].numpy() for h in (head, edited(model, head, region, seed))]
    moved = (template.blend(model, codes[0]) != template.blend(model, codes[1])).any(axis=1)
    assert not moved[~holds(template, region, model)].any()
    assert moved.any() == holds(template, region, model).any()


def asked_on_the_way(template: TemplateSurface, field: HeadField) -> list[np.ndarray]:
    """Places (V, K, 3) where Newton steps ask the field, vertex by vertex; infinity for a vertex that asks none."""
    asked: list[np.ndarray] = []
    skin = np.flatnonzero(template.part == SKIN)
    start = template.blend(field.model, field.regional.z[0].numpy())
    normals = vertex_normals(template.mean, template.faces)[0]

    def watched_by(rows: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        def watched(points: np.ndarray) -> np.ndarray:
            own = points.reshape(len(rows), -1, 3)
            asked.append(np.full((len(template.part), *own.shape[1:]), np.inf))
            asked[-1][rows] = own
            return field.canonical_sdf(points)

        return watched

    once = ProjectionConfig(turns=1)
    first = onto_zero_set(watched_by(skin), start, normals, template.on_surface, once)
    # those that the second turn moves are those that asked again
    again = np.flatnonzero((template.canonical(field) != first).any(axis=1))
    if len(again):
        share = np.zeros(len(start))
        share[again] = template.on_surface[again]
        onto_zero_set(watched_by(again), first, normals, share, once)
    return asked


@settings(max_examples=10, deadline=None)
@given(region=REGION, seed=st.integers(0, 1000))
def test_newton_steps_move_no_vertex_whose_path_avoids_the_old_and_the_new_ball(
    model: Model, template: TemplateSurface, region: int, seed: int
) -> None:
    head = some_head(model, seed)
    fields = [HeadField(model, h) for h in (head, edited(model, head, region, seed))]
    before, after = (template.canonical(field) for field in fields)
    outside = ~holds(template, region, model)
    for field in fields:
        for places in asked_on_the_way(template, fields[0]):
            ball = field.ball(region)
            outside &= (np.linalg.norm(places - ball.center_mm, axis=2) > ball.radius_mm * (1.0 + 1e-5)).all(axis=1)
    assert np.array_equal(before[outside], after[outside])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_mirrored_codes_give_the_mirrored_vertices(model: Model, template: TemplateSurface, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(REGION_COUNT, model.net.config.region_code_size)).astype(np.float32)
    turned = z[model.net.mirror.numpy()] * model.net.region_parity.numpy()
    mirrored = template.blend(model, z)[template.twin] * [-1.0, 1.0, 1.0]
    np.testing.assert_allclose(template.blend(model, turned), mirrored, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_no_region_s_code_moves_an_eyeball(model: Model, template: TemplateSurface, seed: int) -> None:
    z = np.random.default_rng(seed).normal(size=(REGION_COUNT, model.net.config.region_code_size)).astype(np.float32)
    eyes = template.part >= LEFT_EYE
    np.testing.assert_array_equal(template.blend(model, z)[eyes], template.mean[eyes])


def some_eyes(model: Model, seed: int) -> np.ndarray:
    """(2, 5) eyeballs of a head with a random identity and offsets of its own."""
    own = np.random.default_rng(seed).normal(0.0, 0.3, (2, 5))
    return eyes_of(model, replace(some_head(model, seed), eyes=own))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_eyeballs_are_put_where_they_are_and_nothing_else_but_lids_is_moved(
    model: Model, template: TemplateSurface, seed: int
) -> None:
    eyes = some_eyes(model, seed)
    start = template.mean + np.random.default_rng(seed).normal(0.0, 1.0, template.mean.shape)
    placed = template.with_eyes(model, start, eyes)
    for part, rows in ((LEFT_EYE, eyes[0]), (RIGHT_EYE, eyes[1])):
        flip = [1.0, 1.0, 1.0] if part == LEFT_EYE else [-1.0, 1.0, 1.0]
        np.testing.assert_allclose(eyeball_distance(placed[template.part == part] * flip, rows), 0.0, atol=1e-6)
    skin = template.part == SKIN
    assert eyes_distance(placed[skin], eyes).min() > -0.55
    moved = (placed != start).any(axis=1) & skin
    assert moved.any()
    at_rest = eyes_distance(template.mean, np.tile(model.net.eye_net.mean.numpy().astype(np.float64), (2, 1)))
    assert at_rest[moved].max() < 5.0
    np.testing.assert_allclose(template.with_eyes(model, placed, eyes), placed, atol=0.05)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_mirrored_eyes_give_mirrored_eyeballs_and_lids(model: Model, template: TemplateSurface, seed: int) -> None:
    eyes = some_eyes(model, seed)
    start = template.mean + np.random.default_rng(seed).normal(0.0, 0.5, template.mean.shape)
    mirrored = template.with_eyes(model, start[template.twin] * [-1.0, 1.0, 1.0], eyes[::-1])
    wanted = template.with_eyes(model, start, eyes)[template.twin] * [-1.0, 1.0, 1.0]
    np.testing.assert_allclose(mirrored, wanted, atol=1e-6)


def test_the_same_vertex_lies_at_the_same_place_of_every_eyeball(model: Model, template: TemplateSurface) -> None:
    ways = []
    for seed in (0, 1):
        eyes = some_eyes(model, seed)
        placed = template.with_eyes(model, template.mean, eyes)[template.part == LEFT_EYE] - eyes[0, :3]
        ways.append(placed / np.linalg.norm(placed, axis=1, keepdims=True))
    np.testing.assert_allclose(ways[0], ways[1], atol=1e-6)


def test_the_zero_code_is_the_mean_head(model: Model, template: TemplateSurface) -> None:
    zero = np.zeros((REGION_COUNT, model.net.config.region_code_size), dtype=np.float32)
    assert np.array_equal(template.blend(model, zero), template.mean)


def test_a_code_that_came_from_arkit_weights_gives_them_back(model: Model) -> None:
    weights = np.zeros(len(ARKIT_NAMES), dtype=np.float32)
    weights[[3, 17]] = 0.7, 0.2
    code = model.net.warp.arkit.detach().numpy().T @ weights
    found = arkit_weights(model, code)
    np.testing.assert_allclose(model.net.warp.arkit.detach().numpy().T @ found, code, atol=1e-4)


def test_the_morph_targets_carry_the_52_names_and_one_shape_for_each_vertex(template: TemplateSurface) -> None:
    targets = template.morph_targets(np.zeros(len(ARKIT_NAMES)))
    assert targets.names == ARKIT_NAMES
    assert targets.offsets.shape == (52, len(template.part), 3)


def test_a_template_comes_back_from_its_file(model: Model, template: TemplateSurface, tmp_path: Path) -> None:
    path = tmp_path / "a.template.safetensors"
    save_template(template, path)
    opened = load_template(path, model)
    assert np.array_equal(opened.faces, template.faces) and np.array_equal(opened.twin, template.twin)
    np.testing.assert_allclose(opened.mean, template.mean, atol=1e-4)
    np.testing.assert_allclose(opened.basis, template.basis, rtol=2e-3, atol=1e-3)
    assert opened.model_hash == model.hash


def test_the_template_of_another_model_is_refused_in_one_line(
    model: Model, template: TemplateSurface, tmp_path: Path
) -> None:
    path = tmp_path / "a.template.safetensors"
    save_template(replace(template, model_hash="0123456789abcdef"), path)
    with pytest.raises(InputError, match="is the template of model 0123456789abcdef") as refused:
        load_template(path, model)
    assert "\n" not in str(refused.value)


def test_the_head_of_another_model_is_refused(model: Model, template: TemplateSurface) -> None:
    with pytest.raises(InputError, match="this template belongs to model"):
        template.posed(model, replace(model.neutral(), model_hash="f" * 16))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"faces": np.array([[0, 1, 999]])}, "index out of range"),
        ({"pair_region": np.array([5, 3])}, "not sorted by region"),
        ({"mean": np.full((1, 3), np.nan)}, "NaN"),
    ],
)
def test_a_damaged_template_is_refused(
    model: Model, template: TemplateSurface, tmp_path: Path, change: dict[str, np.ndarray], said: str
) -> None:
    values = {}
    for name, start in change.items():
        full = np.array(getattr(template, name))
        full[: len(start)] = start
        values[name] = full
    path = tmp_path / "a.template.safetensors"
    save_template(replace(template, **values), path)
    with pytest.raises(InputError, match=said):
        load_template(path, model)


def test_a_model_without_a_template_says_so(model: Model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was not opened from a file"):
        template_of(model)
    with pytest.raises(InputError, match="no such template"):
        template_of(replace(model, path=tmp_path / "m.safetensors"))
    assert template_path(tmp_path / "m.safetensors").name == "m.template.safetensors"
