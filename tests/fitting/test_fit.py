"""From a scan to a head, on the scan that ships with the package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model, load_model
from imhead.conventions import ASSUMED_SCALE, FACE_RADIUS_MM
from imhead.encoding.encoder import encoder_of, estimate
from imhead.errors import InputError
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.fitting.points import independent_noise_mm, nearest_neighbours, offset_priors, point_weights
from imhead.fitting.result import FitResult
from imhead.fitting.start import pose_template
from imhead.io.scan_file import read_scan
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import extract_mesh
from imhead.regions import REGIONS
from imhead.reports.fit_report import write_fit
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.transforms import transform_points
from imhead.types import Scan

DEMO_SCAN = Path(__file__).resolve().parents[2] / "src" / "imhead" / "assets" / "demo_scan.ply"
COARSE = FitConfig(resolution=128)


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model("default")


@pytest.fixture(scope="module")
def scan() -> Scan:
    return read_scan(DEMO_SCAN)


@pytest.fixture(scope="module")
def result(scan: Scan, shipped: Model) -> FitResult:
    return fit_scan(scan, shipped, COARSE)


def test_a_scan_in_centimetres_and_any_pose_is_found_and_explained(result: FitResult) -> None:
    report = result.report()
    assert report["units"] == "cm"
    assert float(np.median(result.distance_mm[result.explained & result.face])) < 0.45
    assert result.explained.mean() > 0.9
    assert not result.pose.scale_assumed


def test_the_pose_takes_the_scan_onto_the_fitted_surface(result: FitResult, scan: Scan) -> None:
    placed = transform_points(result.scan_to_head, scan.points)
    distance, _, _ = point_to_surface(placed, result.mesh)
    np.testing.assert_allclose(distance, result.distance_mm, atol=1e-6)
    assert np.cbrt(np.linalg.det(result.scan_to_head[:3, :3])) == pytest.approx(10.0)  # cm to mm, exactly


def test_the_overlay_names_the_unit_of_the_scan_or_the_length_of_one(
    result: FitResult, scan: Scan, tmp_path: Path
) -> None:
    unnamed = replace(result, pose=replace(result.pose, units="unknown", scale_assumed=True))
    unnamed = replace(unnamed, head=replace(result.head, scale_assumed=True))
    for fitted, name in ((result, "cm"), (unnamed, "unknown unit, 10 mm each")):
        assert write_fit(fitted, scan, tmp_path)["overlay_unit"] == name
        assert f"unit: {name}\n".encode() in (tmp_path / "overlay.ply").read_bytes()[:1000]
    assert ASSUMED_SCALE.encode() in (tmp_path / "head.ply").read_bytes()[:1000]


def test_a_moved_scan_in_another_unit_fits_the_same_head(result: FitResult, scan: Scan, shipped: Model) -> None:
    turn = Rotation.from_euler("xyz", [70.0, -40.0, 160.0], degrees=True).as_matrix()
    points = (scan.points @ turn.T + [30.0, -55.0, 12.0]) / 100.0  # cm to m
    assert scan.normals is not None
    moved = replace(scan, points=points, normals=scan.normals @ turn.T)
    again = fit_scan(moved, shipped, COARSE)
    assert again.pose.units == "m"
    distance, _, _ = point_to_surface(again.mesh.vertices, result.mesh)
    assert float(np.median(distance)) < 0.5
    change = float(np.linalg.norm(again.head.z_id - result.head.z_id) / np.linalg.norm(result.head.z_id))
    assert change < 0.5


def test_a_fit_that_has_settled_stops_early_on_the_same_face(scan: Scan, shipped: Model) -> None:
    once = replace(COARSE, wall_weight=0.0, try_shut_eyes=False)  # no stage is repeated
    result, every = fit_scan(scan, shipped, once), fit_scan(scan, shipped, replace(once, settled=0.0))
    planned = len(COARSE.robust_mm) + len(COARSE.detail_robust_mm)
    assert every.iterations == planned and result.iterations < planned
    vertices = result.mesh.vertices
    face = np.linalg.norm(vertices - vertices[vertices[:, 2].argmax()], axis=1) < FACE_RADIUS_MM
    distance, _, _ = point_to_surface(vertices[face], every.mesh)
    assert float(np.median(distance)) < 0.1
    explained = [float(np.median(fit.distance_mm[fit.explained & fit.face])) for fit in (result, every)]
    assert explained[0] < 1.05 * explained[1]


def test_points_without_normals_and_without_detail_fit_too(scan: Scan, shipped: Model) -> None:
    rows = np.random.default_rng(0).permutation(len(scan.points))[:5000]
    cloud = Scan("cloud", scan.points[rows])
    plain = fit_scan(cloud, shipped, replace(COARSE, detail=False))
    assert not plain.head.offsets.any()
    assert float(np.median(plain.distance_mm[plain.explained & plain.face])) < 0.6


def test_a_wrong_unit_is_refused_or_gets_a_warning(scan: Scan, shipped: Model) -> None:
    try:
        wrong = fit_scan(scan, shipped, COARSE, units="m")
    except InputError as refused:
        assert "\n" not in str(refused)
    else:
        assert wrong.warnings


def test_a_report_names_the_first_guess_and_its_distance(result: FitResult, scan: Scan, shipped: Model) -> None:
    report = result.report()
    assert report["start"] == "encoder"
    bare = fit_scan(scan, shipped, replace(COARSE, encoder=False, robust_mm=(), detail=False))
    assert bare.report()["start"] == "mean head" and not bare.head.z_id.any()
    assert result.start_distance_mm is not None and bare.start_distance_mm is not None
    assert result.start_distance_mm < 0.9 * bare.start_distance_mm
    assert float(np.median(result.distance_mm[result.face])) < 0.8 * result.start_distance_mm


def test_the_encoder_corrects_a_small_error_of_the_pose(result: FitResult, shipped: Model) -> None:
    encoder = encoder_of(shipped)
    assert encoder is not None
    turn = Rotation.from_rotvec([0.03, -0.04, 0.02]).as_matrix()
    moved = (result.points_mm - [0.0, 0.0, 60.0]) @ turn.T + [3.0, -3.0, 62.0]
    motion = estimate(encoder, moved).motion
    left = np.linalg.norm(transform_points(motion, moved) - result.points_mm, axis=1)
    assert np.median(left) < 0.6 * np.median(np.linalg.norm(moved - result.points_mm, axis=1))


def test_a_scan_that_no_head_explains_gives_a_plausible_head(scan: Scan, shipped: Model) -> None:
    # cm: waves of 1.5 mm, 2.5 cm long
    wavy = replace(scan, points=scan.points + 0.15 * np.sin(2.5 * scan.points[:, [1, 2, 0]]))
    limit = 1.2
    found = fit_scan(wavy, shipped, replace(COARSE, identity_limit=limit))
    assert float(np.sqrt(np.square(found.head.z_id).mean())) < 1.001 * limit
    free = fit_scan(wavy, shipped, replace(COARSE, identity_limit=100.0))
    assert float(np.sqrt(np.square(free.head.z_id).mean())) > 1.3 * limit


def test_region_offsets_bring_the_head_nearer_and_keep_identity_and_expression(
    result: FitResult, scan: Scan, shipped: Model
) -> None:
    plain = fit_scan(scan, shipped, replace(COARSE, detail=False))
    assert np.array_equal(plain.head.z_id, result.head.z_id)
    assert np.array_equal(plain.head.z_exp, result.head.z_exp)
    shown = result.explained & plain.explained & ~result.face
    assert result.distance_mm[shown].mean() < 0.9 * plain.distance_mm[shown].mean()


def test_an_unseen_region_keeps_the_shape_of_the_identity(result: FitResult, scan: Scan, shipped: Model) -> None:
    front = result.points_mm[:, 2] > 20.0
    view = Scan("front", scan.points[front], None if scan.normals is None else scan.normals[front])
    offsets = np.abs(fit_scan(view, shipped, COARSE).head.offsets).mean(axis=1)
    of = {region.name: offsets[region.index] for region in REGIONS}
    assert of["occiput"] < 0.1 * of["nose_tip"] and of["left_scalp"] < 0.5 * of["nose_tip"]


def test_a_noisier_scan_counts_less_against_the_prior() -> None:
    face = torch.ones(1000, dtype=torch.bool)
    sizes = torch.linspace(0.0, 1.0, 1000)
    weights = [float(point_weights(noise * sizes, face, 1.5, COARSE).sum()) for noise in (0.01, 1.0, 2.0)]
    assert weights[0] > 2.0 * weights[1] > 4.0 * weights[2]


def test_for_region_offsets_a_bare_scalp_weighs_as_much_as_the_face_and_hair_little() -> None:
    face = torch.arange(1000) < 500
    for off_the_face, least, most in ((0.2, 0.9, 1.1), (3.0, 0.0, 0.05)):
        residual = torch.where(face, 0.2, off_the_face)
        for_codes, for_offsets = (point_weights(residual, face, 1.5, COARSE, kind) for kind in (False, True))
        assert least <= float(for_offsets[~face].mean() / for_offsets[face].mean()) <= most
        assert torch.equal(for_codes[face], for_offsets[face])
        assert float(for_codes[~face].mean() / for_codes[face].mean()) <= 1.001 * COARSE.elsewhere_weight


def test_independent_noise_is_told_from_model_error() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-60.0, 60.0, (4000, 3)) * [1.0, 1.0, 0.0]
    neighbour = torch.from_numpy(nearest_neighbours(points))
    misfit = torch.from_numpy(np.sin(points[:, 0] / 15.0))
    assert independent_noise_mm(misfit, neighbour) < 0.1
    noise = torch.from_numpy(rng.normal(0.0, 0.7, 4000))
    assert independent_noise_mm(misfit + noise, neighbour) == pytest.approx(0.7, rel=0.1)
    for few in (0, 1):
        assert independent_noise_mm(misfit[:few], torch.from_numpy(nearest_neighbours(points[:few]))) == 0.0


@pytest.mark.parametrize("region", ["nose_tip", "left_scalp", "left_shoulder"])
@pytest.mark.parametrize("above_mm", [-0.5, 0.5])
def test_near_the_surface_the_field_is_a_distance(region: str, above_mm: float, shipped: Model) -> None:
    field = HeadField(shipped, shipped.neutral())
    mesh = extract_mesh(field.sdf, 128)
    ball = field.ball(next(r.index for r in REGIONS if r.name == region))
    normals, _ = vertex_normals(mesh.vertices, mesh.faces)
    near = np.linalg.norm(mesh.vertices - ball.center_mm, axis=1) < 0.4 * ball.radius_mm
    points = mesh.vertices[near] + above_mm * normals[near]
    true, _, _ = point_to_surface(points, mesh)
    assert np.abs(np.sign(above_mm) * field.sdf(points) - true).mean() < 0.1


def test_a_noisy_scan_strengthens_the_prior_of_offsets(result: FitResult, shipped: Model) -> None:
    template, points = pose_template(shipped), result.points_mm
    clean, noisy = (offset_priors(template, points, noise, COARSE) for noise in (0.1, 1.0))
    assert np.allclose(noisy, clean / COARSE.sigma_mm)
    assert np.array_equal(clean, offset_priors(template, points, 0.0, COARSE))


def test_a_scan_noisier_than_the_robust_loss_still_counts_as_inliers(scan: Scan, shipped: Model) -> None:
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(scan.points))[:5000]
    # cm: 2 mm of noise
    noisy = replace(scan, points=scan.points[rows] + rng.normal(0.0, 0.2, (5000, 3)), normals=None, faces=None)
    off: list[float] = []
    for config in (COARSE, replace(COARSE, robust_noise=0.0)):
        fitted = fit_scan(noisy, shipped, config)
        placed = transform_points(fitted.scan_to_head, scan.points[rows])
        off.append(float(point_to_surface(placed, fitted.mesh)[0].mean()))
    assert off[0] < 0.9 * off[1], off
