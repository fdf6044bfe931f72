"""What the codes of a fit leave over is a smooth displacement, which fades where the scan shows nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import imhead
from imhead.checkpoint import Model
from imhead.fitting.residual import ResidualConfig, displacement, residual_of
from imhead.fitting.scan_points import ScanPoints
from imhead.isosurface.field import HeadField
from imhead.surfaces.normals import vertex_normals
from imhead.types import FloatArray, Head, Mesh


@pytest.fixture(scope="module")
def default_head() -> tuple[Model, Head, Mesh]:
    model = imhead.load()
    head = model.sample(seed=7)[0]
    return model.model, head.codes, head.mesh(resolution=96)


def bumpy(mesh: Mesh, noise_mm: float = 0.0, height_mm: float = 0.8) -> tuple[ScanPoints, FloatArray]:
    """Points of the front of a head, lifted by waves of 40 mm, and the heights."""
    rng = np.random.default_rng(3)
    normals = vertex_normals(mesh.vertices, mesh.faces)[0]
    rows = rng.permutation(np.flatnonzero((mesh.vertices[:, 2] > 40.0) & (normals[:, 2] > 0.3)))
    places, normals = mesh.vertices[rows], normals[rows]
    height = height_mm * np.sin(places[:, 1] * (2.0 * np.pi / 40.0))
    lifted = places + (height + rng.normal(0.0, noise_mm, len(rows)))[:, None] * normals
    return ScanPoints(lifted, normals, True, 1.0, noise_mm, 2.0), height


def test_a_smooth_lift_that_no_code_knows_is_explained(default_head: tuple[Model, Head, Mesh]) -> None:
    model, head, mesh = default_head
    points, _ = bumpy(mesh)
    before = np.abs(HeadField(model, head).skin_sdf(points.points))
    after = np.abs(
        HeadField(model, replace(head, residual=residual_of(model, [(head, points)]))).skin_sdf(points.points)
    )
    assert np.median(after) < 0.25 * np.median(before)


def test_noise_is_averaged_rather_than_followed(default_head: tuple[Model, Head, Mesh]) -> None:
    model, head, mesh = default_head
    points, _ = bumpy(mesh, noise_mm=1.0, height_mm=0.0)
    residual = residual_of(model, [(head, points)])
    assert residual is not None
    moved = np.linalg.norm(displacement(residual, points.points, model.device), axis=1)
    assert np.median(moved) < 0.25


def test_the_back_of_a_head_that_the_scan_does_not_show_stays(default_head: tuple[Model, Head, Mesh]) -> None:
    model, head, mesh = default_head
    residual = residual_of(model, [(head, bumpy(mesh)[0])])
    assert residual is not None
    back = mesh.vertices[mesh.vertices[:, 2] < -40.0]
    assert not displacement(residual, back, model.device).any()


def test_scans_of_one_person_that_agree_say_as_much_as_one(default_head: tuple[Model, Head, Mesh]) -> None:
    model, head, mesh = default_head
    points, _ = bumpy(mesh)
    one, both = (residual_of(model, [(head, points)] * count) for count in (1, 2))
    assert one is not None and both is not None
    difference = displacement(one, points.points, model.device) - displacement(both, points.points, model.device)
    assert np.abs(difference).max() < 0.3


def test_a_displacement_that_would_fold_space_is_shortened(default_head: tuple[Model, Head, Mesh]) -> None:
    model, head, mesh = default_head
    points, _ = bumpy(mesh, height_mm=3.0)
    config = ResidualConfig(turns=1, least_squeeze=0.9)
    free, held = (residual_of(model, [(head, points)], c) for c in (replace(config, least_squeeze=-1.0), config))
    assert free is not None and held is not None
    assert np.abs(held.values).max() <= np.abs(free.values).max()
    assert (held.values != free.values).any()


def test_hardly_any_point_near_the_head_gives_no_residual(default_head: tuple[Model, Head, Mesh]) -> None:
    model, head, mesh = default_head
    points, _ = bumpy(mesh)
    far = replace(points, points=points.points + [0.0, 0.0, 60.0])
    assert residual_of(model, [(head, far)]) is None
    assert residual_of(model, []) is None
