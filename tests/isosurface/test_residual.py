"""A residual is a smooth map of space: exact, the same for any batch of points, kept by files and edits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from imhead.checkpoint import HEAD_FORMAT, Model, load_head, save_head
from imhead.conventions import MODEL_UNIT_MM
from imhead.editing import symmetrised
from imhead.editing.residual import mirrored_residual
from imhead.editing.symmetry import mirrored
from imhead.errors import InputError
from imhead.isosurface.cells import Lattice
from imhead.isosurface.feature_cache import FeatureCache
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import lattice_of
from imhead.isosurface.residual import ResidualMap
from imhead.regions import REGIONS
from imhead.types import Head, Residual

CPU = torch.device("cpu")
POINTS = np.random.default_rng(1).uniform(-70.0, 70.0, (400, 3))


def random_residual(seed: int = 0, size_mm: float = 0.5) -> Residual:
    rng = np.random.default_rng(seed)
    nodes = np.unique(np.column_stack([rng.integers(0, 2, 900), rng.integers(-6, 7, (900, 3))]), axis=0)
    return Residual((24.0, 12.0), nodes, rng.normal(0.0, size_mm, (len(nodes), 3)))


def fitted(model: Model, seed: int = 0) -> Head:
    return replace(model.neutral(), residual=random_residual(seed))


def slow_displacement(residual: Residual, point: np.ndarray) -> np.ndarray:
    """The sum over all nodes, one after the other."""
    total = np.zeros(3)
    for (lattice, *node), value in zip(residual.nodes, residual.values):
        t = np.abs(point / residual.spacings_mm[lattice] - node)
        splines = np.where(t < 0.5, 0.75 - t**2, np.where(t < 1.5, 0.5 * (1.5 - t) ** 2, 0.0))
        total += splines.prod() * value
    return total


def moved_by(residual: Residual, points: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(points / MODEL_UNIT_MM)
    return ((ResidualMap(residual, CPU)(x) - x) * MODEL_UNIT_MM).numpy()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 50))
def test_the_map_is_the_sum_of_its_splines(seed: int) -> None:
    residual = random_residual(seed)
    points = np.random.default_rng(seed).uniform(-120.0, 120.0, (8, 3))
    expected = np.stack([slow_displacement(residual, point) for point in points])
    np.testing.assert_allclose(moved_by(residual, points), expected, atol=1e-9)


def test_a_point_that_no_spline_reaches_stays_to_the_bit() -> None:
    x = torch.rand(50, 3) + 3.0
    assert torch.equal(ResidualMap(random_residual(), CPU)(x), x)


def test_a_point_moves_the_same_whatever_lies_beside_it() -> None:
    x = torch.from_numpy(POINTS / MODEL_UNIT_MM).float()
    whole = ResidualMap(random_residual(), CPU)(x)
    parts = [ResidualMap(random_residual(), CPU)(part) for part in x.split(7)]
    assert torch.equal(whole, torch.cat(parts))


def test_gradients_of_a_fitted_head_are_those_of_its_distances(model: Model) -> None:
    field, step = HeadField(model, fitted(model)), 0.05
    found = field.linearized(POINTS[:40])
    for axis in range(3):
        ahead, behind = (field.skin_sdf(POINTS[:40] + s * step * np.eye(3)[axis]) for s in (1, -1))
        np.testing.assert_allclose(found.by_point[:, axis], (ahead - behind) / (2.0 * step), atol=2e-2)
    np.testing.assert_allclose(found.distance, field.skin_sdf(POINTS[:40]), atol=1e-4)


def test_canonical_points_are_found_again_before_the_residual(model: Model) -> None:
    residual = random_residual(size_mm=0.2)
    field = HeadField(model, replace(model.neutral(), residual=residual))
    before = field.before_residual(POINTS)
    np.testing.assert_allclose(before + moved_by(residual, before), POINTS, atol=1e-3)


def test_a_kept_grid_has_the_distances_of_a_fitted_head_to_the_bit(model: Model) -> None:
    lattice: Lattice = lattice_of(32)
    field = HeadField(model, fitted(model))
    points = np.arange(0, lattice.count, 37)
    np.testing.assert_array_equal(FeatureCache(field, lattice).values(points), field.sdf(lattice.positions_mm(points)))


def test_a_head_file_keeps_the_residual_to_the_bit(model: Model, tmp_path: Path) -> None:
    head = fitted(model)
    save_head(head, tmp_path / "head.safetensors")
    opened = load_head(tmp_path / "head.safetensors", model)
    assert opened.residual is not None and head.residual is not None
    assert opened.residual.spacings_mm == head.residual.spacings_mm
    np.testing.assert_array_equal(opened.residual.nodes, head.residual.nodes)
    np.testing.assert_array_equal(opened.residual.values, head.residual.values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nodes", torch.zeros(5, 3, dtype=torch.int16)),
        ("nodes", torch.zeros(2, 4, dtype=torch.int16)),
        ("nodes", torch.tensor([[7, 0, 0, 0]], dtype=torch.int16)),
        ("nodes", torch.tensor([[0, 30_000, 0, 0]], dtype=torch.int16)),
        ("values", torch.full((1, 3), float("nan"))),
        ("values", torch.full((1, 3), 1e4)),
        ("spacings_mm", torch.tensor([1e-3])),
        ("spacings_mm", torch.zeros(0)),
        ("more", torch.zeros(1)),
    ],
)
def test_a_damaged_residual_is_refused(model: Model, tmp_path: Path, name: str, value: torch.Tensor) -> None:
    path = tmp_path / "head.safetensors"
    save_head(replace(model.neutral(), residual=Residual((24.0,), [[0, 0, 0, 0]], [[0.1, 0.0, 0.0]])), path)
    tensors = load_file(path) | {f"residual.{name}": value}
    save_file(tensors, path, {"format": HEAD_FORMAT, "model_hash": model.hash})
    with pytest.raises(InputError, match=r"residual cannot be read .* get the file again"):
        load_head(path, model)


def test_a_mirrored_head_has_the_mirrored_residual(model: Model) -> None:
    head = fitted(model)
    image = mirrored(model, head)
    assert head.residual is not None and image.residual is not None
    flip = np.array([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(
        moved_by(image.residual, POINTS * flip), moved_by(head.residual, POINTS) * flip, atol=1e-9
    )
    again = mirrored_residual(image.residual)
    np.testing.assert_array_equal(again.nodes, head.residual.nodes)
    np.testing.assert_array_equal(again.values, head.residual.values)


def test_a_symmetric_head_has_a_symmetric_residual_inside_its_regions_and_the_same_outside(model: Model) -> None:
    head = fitted(model)
    alike = symmetrised(model, head, REGIONS, "average")
    assert head.residual is not None and alike.residual is not None
    flip = np.array([-1.0, 1.0, 1.0])
    field = HeadField(model, head)
    inside = moved_by(alike.residual, POINTS) != moved_by(head.residual, POINTS)
    assert inside.any()
    places = POINTS[inside.any(axis=1)]
    within = [np.linalg.norm(places - ball.center_mm, axis=1) < ball.radius_mm for ball in map(field.ball, range(39))]
    assert np.any(within, axis=0).all()
    before = np.abs(moved_by(head.residual, POINTS * flip) * flip - moved_by(head.residual, POINTS)).mean()
    after = np.abs(moved_by(alike.residual, POINTS * flip) * flip - moved_by(alike.residual, POINTS)).mean()
    assert after < before
