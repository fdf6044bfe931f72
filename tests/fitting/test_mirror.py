"""A mirrored scan is named where it shows, and put right where the caller says so."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model, load_model
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.fitting.mirror import MirrorSigns, mirror_signs, reflected, reflected_landmarks
from imhead.fitting.pose_file import nose_tip_mm
from imhead.fitting.result import FitResult
from imhead.io.mesh_file import read_mesh, write_mesh
from imhead.io.scan_file import read_scan
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import extract_mesh
from imhead.reports.fit_report import write_fit
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.properties import volume_ml
from imhead.surfaces.transforms import matrix_of, transform_points
from imhead.types import FloatArray, Mesh, Scan

DEMO_SCAN = Path(__file__).resolve().parents[2] / "src" / "imhead" / "assets" / "demo_scan.ply"
QUICK = FitConfig(resolution=96, detail=False)


@lru_cache(maxsize=1)
def mean_head() -> tuple[HeadField, Mesh, FloatArray]:
    model = load_model("default")
    field = HeadField(model, model.neutral())
    mesh = extract_mesh(field.sdf, 96)
    return field, mesh, nose_tip_mm(mesh, field)


def signs_of(points_mm: FloatArray, normals: FloatArray | None, faces: np.ndarray | None) -> MirrorSigns:
    """The signs of a scan in any pose, which lies on the mean head."""
    field, mesh, tip = mean_head()
    turn = Rotation.from_euler("xyz", [80.0, -35.0, 150.0], degrees=True).as_matrix()
    to_head = np.linalg.inv(matrix_of(turn / 25.4, np.array([3.0, -8.0, 11.0])))
    scan = Scan("scan", transform_points(np.linalg.inv(to_head), points_mm), None, faces)
    turned = vertex_normals(scan.points, faces)[0] if faces is not None else normals
    if faces is None and normals is not None:
        turned = normals @ turn.T
    distance = np.abs(field.sdf(points_mm))
    return mirror_signs(replace(scan, normals=turned), to_head, distance, field, mesh, tip)


def cloud() -> tuple[FloatArray, FloatArray]:
    _, mesh, _ = mean_head()
    return mesh.vertices, vertex_normals(mesh.vertices, mesh.faces)[0]


def test_a_scan_that_faces_outwards_has_no_sign_and_no_warning() -> None:
    _, mesh, _ = mean_head()
    signs = signs_of(mesh.vertices, None, mesh.faces)
    assert signs.mirrored is False and signs.sure == "no sign" and not signs.warnings()


def test_an_axis_negated_under_kept_faces_shows_as_an_inside_out_surface() -> None:
    _, mesh, _ = mean_head()
    # the mean head is its own mirror image, so the negated scan lies on it as well
    signs = signs_of(mesh.vertices * [-1.0, 1.0, 1.0], None, mesh.faces)
    assert signs.mirrored is True and signs.inside_out and signs.sure == "possible"
    (warning,) = signs.warnings()
    assert "inside-out" in warning and "mirrored" in warning and "--mirrored" in warning


def test_turned_faces_look_the_same_and_the_warning_names_them_too() -> None:
    _, mesh, _ = mean_head()
    signs = signs_of(mesh.vertices, None, mesh.faces[:, ::-1])
    assert signs.sure == "possible" and "turned over" in signs.warnings()[0]


def test_a_surface_of_both_sides_tells_nothing() -> None:
    _, mesh, _ = mean_head()
    faces = np.where(np.arange(len(mesh.faces))[:, None] % 2 == 0, mesh.faces, mesh.faces[:, ::-1])
    signs = signs_of(mesh.vertices, None, faces)
    assert signs.mirrored is None and signs.sure == "unknown" and not signs.warnings()


def test_a_cloud_without_normals_tells_nothing() -> None:
    assert signs_of(cloud()[0], None, None).mirrored is None


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_normals_of_a_cloud_may_look_either_way(sign: float) -> None:
    points, normals = cloud()
    assert signs_of(points, sign * normals, None).sure == "no sign"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_cloud_mirrored_without_its_normals_is_found(axis: int) -> None:
    points, normals = cloud()
    turn = Rotation.from_euler("xyz", [80.0, -35.0, 150.0], degrees=True).as_matrix()
    flip = np.eye(3)
    flip[axis, axis] = -1.0
    # mirrored in an axis of the file, not of the head
    signs = signs_of(points, normals @ (turn.T @ flip @ turn), None)
    assert signs.mirrored is True and signs.sure == "likely" and "--mirrored" in signs.warnings()[0]


@given(seed=st.integers(0, 1000), mesh=st.booleans())
@settings(max_examples=20, deadline=None)
def test_mirroring_a_scan_twice_gives_it_back(seed: int, mesh: bool) -> None:
    rng = np.random.default_rng(seed)
    points, normals = rng.normal(size=(30, 3)), rng.normal(size=(30, 3))
    scan = Scan("s", points, normals / np.linalg.norm(normals, axis=1)[:, None], rng.permutation(30).reshape(-1, 3))
    scan = scan if mesh else replace(scan, faces=None)
    again = reflected(reflected(scan))
    np.testing.assert_array_equal(again.points, scan.points)
    np.testing.assert_array_equal(again.normals, scan.normals)


def test_the_normals_of_a_mirrored_mesh_are_those_of_its_faces() -> None:
    _, mesh, _ = mean_head()
    image = reflected(Scan("s", mesh.vertices, vertex_normals(mesh.vertices, mesh.faces)[0], mesh.faces))
    assert image.faces is not None and image.normals is not None
    np.testing.assert_allclose(image.normals, vertex_normals(image.points, image.faces)[0], atol=1e-9)


def test_landmarks_keep_the_sides_on_which_a_person_saw_them() -> None:
    pairs = {"left_eye_outer": (np.array([4.0, 5.0, 6.0]), np.array([45.0, 20.0, 80.0]))}
    place, on_head = reflected_landmarks(pairs)["left_eye_outer"]
    assert place.tolist() == [-4.0, 5.0, 6.0] and on_head.tolist() == [-45.0, 20.0, 80.0]


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model("default")


@pytest.fixture(scope="module")
def left_handed(tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """The shipped scan as a left-handed program writes it: an axis negated, faces kept."""
    scan = read_scan(DEMO_SCAN)
    assert scan.faces is not None
    path = tmp_path_factory.mktemp("scan") / "left_handed.obj"
    write_mesh(Mesh(scan.points * [1.0, 1.0, -1.0], scan.faces), path)
    return read_scan(path)


@pytest.fixture(scope="module")
def put_right(left_handed: Scan, shipped: Model) -> FitResult:
    return fit_scan(left_handed, shipped, QUICK, mirrored=True)


def test_a_mirrored_scan_that_is_put_right_gives_the_head_of_the_true_one(put_right: FitResult, shipped: Model) -> None:
    true = fit_scan(read_scan(DEMO_SCAN), shipped, QUICK)
    distance, _, _ = point_to_surface(put_right.mesh.vertices, true.mesh)
    assert float(np.median(distance)) < 0.2
    asymmetry = true.mirror.sides_differ_mm
    assert asymmetry is not None and put_right.mirror.sides_differ_mm == pytest.approx(asymmetry, abs=0.2)
    report = put_right.report()
    assert report["mirrored"] is True and report["mirror_signs"]["sure"] == "named"
    assert not any("--mirrored" in warning for warning in report["warnings"])


def test_the_overlay_lies_on_the_mirrored_scan_as_it_is_and_faces_outwards(
    put_right: FitResult, left_handed: Scan, tmp_path: Path
) -> None:
    report = write_fit(put_right, left_handed, tmp_path)
    surface = read_mesh(tmp_path / "overlay.ply")
    distance, _, _ = point_to_surface(left_handed.points[put_right.explained], surface)
    assert float(np.median(distance)) * 10.0 < 0.5  # the scan is in cm
    assert volume_ml(surface) > 0.0
    assert np.linalg.det(np.array(report["pose"])[:3, :3]) < 0.0


def test_the_fit_of_a_mirrored_scan_warns(left_handed: Scan, shipped: Model) -> None:
    result = fit_scan(left_handed, shipped, QUICK)
    assert result.report()["mirrored"] is True
    assert any("--mirrored" in warning for warning in result.warnings)
