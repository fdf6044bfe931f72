"""Meshing: coarse-to-fine refinement finds the surface of the dense grid, closed and facing outwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from imhead.checkpoint import Model
from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.errors import InputError
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import (
    dense_grid,
    extract_mesh,
    grid_layout,
    largest_component,
    lattice_of,
    surface_in,
    surface_of,
)
from imhead.isosurface.refinement import SLOPE_BOUND
from imhead.types import DistanceField, Mesh


def ball(points: np.ndarray, center: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    return np.linalg.norm(points - center, axis=1) - radius_mm


def head_like(points: np.ndarray) -> np.ndarray:
    """Skull, neck, nose and ears, mm."""
    parts = [
        ball(points, (0, 30, 0), 95), ball(points, (0, 20, 98), 14), ball(points, (95, 20, 0), 20),
        ball(points, (-95, 20, 0), 20),
    ]  # fmt: skip
    neck = points - np.clip(points * [0, 1, 0], [0, -150, 0], [0, 0, 0])
    distance: np.ndarray = np.minimum.reduce([*parts, np.linalg.norm(neck, axis=1) - 50]).astype(np.float32)
    return distance


def hollow(points: np.ndarray) -> np.ndarray:
    return np.maximum(head_like(points), 40.0 - np.linalg.norm(points - [0, 30, 0], axis=1)).astype(np.float32)


def random_field(model: Model, seed: int) -> DistanceField:
    """The field of a random head, so scaled that it keeps the slope bound; its zero set is anything."""
    plain = model.neutral()
    rng = np.random.default_rng(seed)
    head = replace(plain, z_id=rng.normal(size=plain.z_id.shape), z_exp=0.3 * rng.normal(size=plain.z_exp.shape))
    field = HeadField(model, head)
    places = rng.uniform(BOUNDS_MIN_MM, BOUNDS_MAX_MM, (20_000, 3))
    middle = np.median(field.sdf(places))
    scale = 0.5 * SLOPE_BOUND / np.linalg.norm(field.gradient(places), axis=1).max()
    return lambda points: ((field.sdf(points) - middle) * scale).astype(np.float32)


def solid(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def assert_same_surface(field: DistanceField, resolution: int) -> None:
    wanted, found = largest_component(surface_of(dense_grid(field, resolution))), extract_mesh(field, resolution)
    np.testing.assert_array_equal(found.faces, wanted.faces)
    np.testing.assert_allclose(found.vertices, wanted.vertices, atol=1e-3)


@pytest.mark.parametrize("field", [head_like, hollow], ids=["head", "hollow head"])
@pytest.mark.parametrize("resolution", [31, 64])
def test_refinement_finds_the_surface_of_the_dense_grid(field: DistanceField, resolution: int) -> None:
    assert_same_surface(field, resolution)


def test_refinement_evaluates_a_small_part_of_the_grid() -> None:
    assert_same_surface(head_like, 128)
    lattice = lattice_of(128)
    assert surface_in(head_like, lattice)[0].samples.evaluations < 0.2 * lattice.count


@pytest.mark.parametrize("seed", [0, 1])
def test_refinement_finds_the_surface_of_a_random_model_s_head(model: Model, seed: int) -> None:
    assert_same_surface(random_field(model, seed), 40)


def test_a_steep_field_is_found_up_to_the_slope_bound() -> None:
    assert_same_surface(lambda p: SLOPE_BOUND * head_like(p), 48)


def test_a_ball_between_the_coarsest_samples_is_not_missed() -> None:
    spacing, _ = grid_layout(64)
    center = BOUNDS_MIN_MM + spacing * np.array([20.5, 20.5, 20.5])
    assert_same_surface(lambda p: ball(p, tuple(center), 2.0 * spacing).astype(np.float32), 64)


def test_a_mesh_is_watertight_and_faces_outwards() -> None:
    for resolution in (32, 64):
        mesh = extract_mesh(head_like, resolution)
        shape = solid(mesh)
        assert shape.is_watertight and shape.is_winding_consistent
        assert shape.volume > 0


def test_a_ball_is_meshed_to_its_radius_and_volume() -> None:
    mesh = extract_mesh(lambda p: ball(p, (0, 0, 0), 80), 96)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 80.0, atol=0.1)
    assert solid(mesh).volume == pytest.approx(4 / 3 * np.pi * 80**3, rel=5e-3)


def test_a_surface_through_grid_samples_is_still_watertight() -> None:
    spacing, _ = grid_layout(64)
    center = BOUNDS_MIN_MM + spacing * np.array([24, 32, 24])
    # a cube and its faces lie exactly on samples
    mesh = extract_mesh(lambda p: (np.abs(p - center).max(axis=1) - 8 * spacing).round(6), 64)
    assert solid(mesh).is_watertight and solid(mesh).volume == pytest.approx((16 * spacing) ** 3, rel=2e-2)


def test_a_sealed_void_and_specks_are_dropped() -> None:
    with_void = surface_of(dense_grid(hollow, 64))
    assert len(solid(with_void).split()) == 2
    kept = largest_component(with_void)
    plain = extract_mesh(head_like, 64)
    assert len(kept.faces) == len(plain.faces)
    np.testing.assert_allclose(kept.vertices, plain.vertices, atol=1e-3)

    def with_speck(points: np.ndarray) -> np.ndarray:
        return np.minimum(head_like(points), ball(points, (140, -120, 120), 15))

    assert len(extract_mesh(with_speck, 64).faces) == len(plain.faces)


def test_vertices_that_no_kept_face_uses_are_dropped_too() -> None:
    mesh = Mesh(np.arange(24.0).reshape(8, 3), [[5, 6, 7], [0, 1, 2], [1, 2, 3]])
    kept = largest_component(mesh)
    np.testing.assert_array_equal(kept.vertices, mesh.vertices[:4])
    np.testing.assert_array_equal(kept.faces, [[0, 1, 2], [1, 2, 3]])


@pytest.mark.parametrize("value", [1.0, -1.0])
def test_a_field_without_a_surface_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="no surface inside the bounds"):
        extract_mesh(lambda p: np.full(len(p), 1000.0 * value), 32)


@pytest.mark.parametrize("resolution", [0, 15, 1025, -3])
def test_a_resolution_out_of_range_is_refused(resolution: int) -> None:
    with pytest.raises(InputError, match="16 to 1024"):
        extract_mesh(head_like, resolution)


@pytest.mark.parametrize("resolution", [16, 33, 100, 256])
def test_the_grid_covers_the_bounds_with_the_cells_asked_for(resolution: int) -> None:
    spacing, shape = grid_layout(resolution)
    extent = BOUNDS_MAX_MM - BOUNDS_MIN_MM
    assert spacing == pytest.approx(extent.max() / resolution)
    assert (spacing * (np.array(shape) - 1) >= extent - 1e-6).all()
    assert all((n - 1) % 8 == 0 for n in shape)
