"""The virtual scanner: its points lie on the head, its pose and unit are right, hidden faces stay hidden."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from imhead.conventions import UNIT_MM
from imhead.errors import InputError
from imhead.evaluation.virtual_scanner import FRONTAL_PHONE, ScannerConfig, VirtualScan, virtual_scan
from imhead.surfaces.transforms import transform_points
from imhead.surfaces.visibility import sample_visible, visible_faces
from imhead.types import Mesh

ICT = Path(__file__).resolve().parents[1] / "data" / "ict_subset.npz"
PERFECT = ScannerConfig(
    depth_noise_mm=0.0, wave_noise_mm=0.0, holes=0, dropout_width_deg=0.0, random_pose=False, unit="mm", image_size=96
)


def ellipsoid_with_nose(subdivisions: int = 5) -> Mesh:
    ball = trimesh.creation.icosphere(subdivisions=subdivisions)
    points = np.asarray(ball.vertices) * [75.0, 110.0, 95.0]
    front = np.exp(-(points[:, 0] ** 2 + (points[:, 1] + 5) ** 2) / (2 * 14.0**2)) * (points[:, 2] > 0)
    points[:, 2] += 25.0 * front
    return Mesh(points, ball.faces)


HEAD = ellipsoid_with_nose()


def in_head_frame(made: VirtualScan) -> NDArray[np.float64]:
    back = np.linalg.inv(made.head_to_scan)
    return transform_points(back, made.scan.points)


def distances_mm(points: NDArray[np.float64], mesh: Mesh) -> NDArray[np.float64]:
    """(N,) distances of points to the tangent planes of a dense sample of the surface."""
    dense, normals = sample_visible(
        mesh, 300_000, np.random.default_rng(0), visible=np.ones(len(mesh.faces), dtype=bool)
    )
    _, nearest = cKDTree(dense).query(points)
    return np.abs(np.einsum("ij,ij->i", points - dense[nearest], normals[nearest]))


def test_a_perfect_scanner_sees_points_that_lie_on_the_head() -> None:
    made = virtual_scan(HEAD, PERFECT, np.random.default_rng(0), "head")
    np.testing.assert_array_equal(made.head_to_scan, np.eye(4))
    assert np.quantile(distances_mm(made.scan.points, HEAD), 0.99) < 0.05


def test_normals_and_winding_of_a_scan_face_the_scanner() -> None:
    made = virtual_scan(HEAD, PERFECT, np.random.default_rng(0), "head")
    assert made.scan.normals is not None and made.scan.faces is not None
    corners = made.scan.points[made.scan.faces]
    turned = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ij,ij->i", turned, corners.mean(axis=1)) > 0).mean() > 0.99
    assert (np.einsum("ij,ij->i", made.scan.normals, made.scan.points) > 0).mean() > 0.99


@pytest.mark.parametrize("unit", ["mm", "cm", "m"])
def test_the_known_pose_and_unit_bring_the_scan_back_onto_the_head(unit: str) -> None:
    made = virtual_scan(HEAD, replace(PERFECT, random_pose=True, unit=unit), np.random.default_rng(3), "head")
    assert made.unit == unit
    turn = made.head_to_scan[:3, :3] * UNIT_MM[unit]
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1.0)
    assert not np.allclose(turn, np.eye(3), atol=0.1)
    assert np.quantile(distances_mm(in_head_frame(made), HEAD), 0.99) < 0.05


def test_the_same_seed_gives_the_same_scan_and_another_seed_another() -> None:
    first, again, other = (virtual_scan(HEAD, FRONTAL_PHONE, np.random.default_rng(s), "head") for s in (5, 5, 6))
    np.testing.assert_array_equal(first.scan.points, again.scan.points)
    assert first.scan.points.shape != other.scan.points.shape or not np.array_equal(
        first.scan.points, other.scan.points
    )


def test_random_units_all_occur() -> None:
    config = replace(PERFECT, unit="random", image_size=24)
    rng = np.random.default_rng(0)
    assert {virtual_scan(HEAD, config, rng, "head").unit for _ in range(20)} == set(UNIT_MM)


def test_a_phone_scan_has_about_twenty_thousand_points_of_the_front_only() -> None:
    made = virtual_scan(HEAD, FRONTAL_PHONE, np.random.default_rng(0), "phone")
    assert made.scan.faces is not None
    assert 17_000 < len(made.scan.points) < 23_000
    assert (in_head_frame(made)[:, 2] < -50).mean() < 0.01


def test_a_full_ring_of_cameras_sees_the_back_of_the_head_too() -> None:
    ring = replace(FRONTAL_PHONE, cameras=10, arc_deg=360.0, elevation_deg=18.0)
    points = in_head_frame(virtual_scan(HEAD, ring, np.random.default_rng(0), "ring"))
    assert (points[:, 2] < -50).mean() > 0.15


def test_a_cloud_has_the_points_asked_for_and_normals_but_no_faces() -> None:
    made = virtual_scan(HEAD, replace(FRONTAL_PHONE, as_points=True, target_points=5000), np.random.default_rng(0), "c")
    assert made.scan.faces is None and made.scan.normals is not None and len(made.scan.points) == 5000


def test_noise_has_the_size_asked_for_and_grows_where_the_surface_slants() -> None:
    config = replace(PERFECT, depth_noise_mm=0.3, grazing_noise=2.0, cameras=1, image_size=300)
    clean = virtual_scan(HEAD, replace(config, depth_noise_mm=0.0), np.random.default_rng(0), "a").scan
    noisy = virtual_scan(HEAD, config, np.random.default_rng(0), "b").scan
    error = np.linalg.norm(noisy.points - clean.points, axis=1)
    cosine = facing(clean.points, clean.normals, config)
    expected = 0.3 * (1 + 2.0 * (1 / cosine - 1))
    for part in (cosine > 0.8, (cosine > 0.5) & (cosine < 0.7), (cosine > 0.3) & (cosine < 0.5)):
        assert np.median(error[part] / expected[part]) / 0.6745 == pytest.approx(1.0, abs=0.06)


def facing(
    points: NDArray[np.floating], normals: NDArray[np.floating] | None, config: ScannerConfig
) -> NDArray[np.float64]:
    """Cosine of the slant towards the only camera of a scanner, which stands 8 degrees below its aim."""
    assert normals is not None
    below = np.radians(config.elevation_deg)
    camera = np.array(config.aim_mm) + config.distance_mm * np.array([0.0, -np.sin(below), np.cos(below)])
    ray = points - camera
    return -np.einsum("ij,ij->i", ray / np.linalg.norm(ray, axis=1, keepdims=True), normals)


def test_smooth_noise_is_alike_in_neighbours() -> None:
    config = replace(PERFECT, cameras=1)
    clean = virtual_scan(HEAD, config, np.random.default_rng(0), "a").scan.points
    wavy = virtual_scan(HEAD, replace(config, wave_noise_mm=0.5), np.random.default_rng(0), "b").scan.points
    error = np.linalg.norm(wavy - clean, axis=1)
    assert 0.1 < error.mean() < 0.8
    _, near = cKDTree(clean).query(clean, k=2)
    assert np.abs(error - error[near[:, 1]]).mean() < 0.25 * error.mean()


def test_no_pixel_survives_beyond_the_cut_off_and_fewer_survive_near_it() -> None:
    def slants(config: ScannerConfig) -> NDArray[np.float64]:
        scan = virtual_scan(HEAD, replace(config, cameras=1), np.random.default_rng(0), "a").scan
        return np.degrees(np.arccos(np.clip(facing(scan.points, scan.normals, config), -1, 1)))

    sharp = slants(replace(PERFECT, grazing_cutoff_deg=60.0, dropout_width_deg=0.0))
    soft = slants(replace(PERFECT, grazing_cutoff_deg=60.0, dropout_width_deg=30.0))
    assert np.quantile(sharp, 0.999) < 64
    assert (soft > 45).sum() < 0.75 * (sharp > 45).sum()


def test_holes_remove_the_surface_around_them() -> None:
    whole = virtual_scan(HEAD, PERFECT, np.random.default_rng(0), "a").scan.points
    holed = virtual_scan(
        HEAD, replace(PERFECT, holes=3, hole_radius_mm=15.0), np.random.default_rng(0), "b"
    ).scan.points
    gap, _ = cKDTree(holed).query(whole)
    assert 12.0 < gap.max() < 16.0
    assert 0.01 < 1 - len(holed) / len(whole) < 0.3


def test_outliers_leave_the_surface_and_the_rest_stays_on_it() -> None:
    made = virtual_scan(HEAD, replace(PERFECT, outlier_fraction=0.05), np.random.default_rng(0), "a")
    away = distances_mm(made.scan.points, HEAD)
    assert 0.02 < (away > 2.0).mean() < 0.06
    assert np.quantile(away, 0.9) < 0.05


def test_no_triangle_spans_a_step_in_depth() -> None:
    plate = trimesh.creation.box(extents=(30.0, 30.0, 2.0))
    points = np.vstack([HEAD.vertices, np.asarray(plate.vertices) + [0.0, 0.0, 180.0]])
    both = Mesh(points, np.vstack([HEAD.faces, np.asarray(plate.faces) + len(HEAD.vertices)]))
    scan = virtual_scan(both, PERFECT, np.random.default_rng(0), "a").scan
    assert scan.faces is not None
    depth = scan.points[:, 2][scan.faces]
    assert (depth.max(axis=1) > 170).any()
    assert not ((depth.max(axis=1) > 170) & (depth.min(axis=1) < 150)).any()


def test_a_head_turned_inside_out_or_out_of_sight_is_refused_with_one_line() -> None:
    inside_out = Mesh(HEAD.vertices, HEAD.faces[:, ::-1])
    far = Mesh(HEAD.vertices + [9000.0, 0.0, 0.0], HEAD.faces)
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    for mesh in (inside_out, far, empty):
        with pytest.raises(InputError, match="see nothing") as caught:
            virtual_scan(mesh, FRONTAL_PHONE, np.random.default_rng(0), "a")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [{"cameras": 0}, {"depth_noise_mm": -1.0}, {"unit": "inch"}, {"grazing_cutoff_deg": 90.0},
     {"outlier_fraction": 1.0},
     {"target_points": 0}, {"distance_mm": float("nan")}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="ScannerConfig"):
        ScannerConfig(**wrong)  # type: ignore[arg-type]


def test_every_face_of_a_ball_is_visible_and_no_face_of_a_ball_within_it() -> None:
    inner = Mesh(HEAD.vertices * 0.5, HEAD.faces)
    both = Mesh(
        np.vstack([HEAD.vertices, inner.vertices]), np.vstack([HEAD.faces, inner.faces + len(HEAD.vertices)])
    )  # fmt: skip
    visible = visible_faces(both)
    assert visible[: len(HEAD.faces)].all()
    assert not visible[len(HEAD.faces) :].any()


def test_points_are_spread_by_area_over_the_visible_part_only() -> None:
    big, small = trimesh.creation.icosphere(4, radius=10.0), trimesh.creation.icosphere(3, radius=5.0)
    apart = np.asarray(small.vertices) + [30.0, 0.0, 0.0]
    hidden = np.asarray(small.vertices)
    mesh = Mesh(
        np.vstack([big.vertices, apart, hidden]),
        np.vstack([big.faces, small.faces + len(big.vertices), small.faces + len(big.vertices) + len(apart)]),
    )
    points, normals = sample_visible(mesh, 20_000, np.random.default_rng(0))
    assert points.shape == normals.shape == (20_000, 3)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-12)
    assert (points[:, 0] > 20).mean() == pytest.approx(0.2, abs=0.015)
    assert (np.linalg.norm(points, axis=1) < 9.0).mean() < 1e-3


def test_sampling_a_mesh_that_cannot_be_seen_is_refused() -> None:
    with pytest.raises(InputError, match="inside out"):
        sample_visible(Mesh(HEAD.vertices, HEAD.faces[:, ::-1]), 10, np.random.default_rng(0))


def test_the_mouth_cavity_and_the_back_of_the_eyeballs_are_not_visible() -> None:
    with np.load(ICT) as data:
        points = data["vertices"].astype(np.float64) * 10.0 - [0.0, 6.0, 10.0]
        polygons = data["polygons"]
    chosen = np.r_[0:13226, 21496:24692]
    quads = polygons[chosen]
    four = quads[:, 3] >= 0
    faces = np.vstack([quads[:, :3], quads[four][:, [0, 2, 3]]])
    polygon = np.r_[chosen, chosen[four]]
    visible = visible_faces(Mesh(points, faces))

    def share(start: int, stop: int) -> float:
        return float(visible[(polygon >= start) & (polygon < stop)].mean())

    assert share(0, 11144) > 0.93, "face, head and neck"
    assert share(11144, 13226) < 0.15, "mouth socket"
    assert 0.1 < share(21496, 24692) < 0.5, "eyeballs: only their fronts"
