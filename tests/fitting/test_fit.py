"""From a scan to a head, on the scan that ships with the package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model, load_model
from imhead.curation.scanfile import read_scan
from imhead.errors import InputError
from imhead.fitting.fit import FitConfig, FitResult, fit_scan
from imhead.geometry.metrics import point_to_surface
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
    placed = scan.points @ result.scan_to_head[:3, :3].T + result.scan_to_head[:3, 3]
    distance, _, _ = point_to_surface(placed, result.mesh)
    np.testing.assert_allclose(distance, result.distance_mm, atol=1e-6)
    assert np.cbrt(np.linalg.det(result.scan_to_head[:3, :3])) == pytest.approx(10.0)  # cm to mm, exactly


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


def test_points_without_normals_and_without_detail_fit_too(scan: Scan, shipped: Model) -> None:
    rows = np.random.default_rng(0).permutation(len(scan.points))[:5000]
    cloud = Scan("cloud", scan.points[rows])
    plain = fit_scan(cloud, shipped, replace(COARSE, detail=False))
    assert not plain.head.offsets.any()
    assert float(np.median(plain.distance_mm[plain.explained & plain.face])) < 0.6


def test_a_wrong_unit_is_refused_or_doubted(scan: Scan, shipped: Model) -> None:
    try:
        wrong = fit_scan(scan, shipped, COARSE, units="m")
    except InputError as refused:
        assert "\n" not in str(refused)
    else:
        assert wrong.warnings
