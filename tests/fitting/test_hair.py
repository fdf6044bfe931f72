"""Hair is told from skin and left out: a beard does not become a chin, and a noisy scan is not bearded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model, load_model
from imhead.conventions import ARKIT_NAMES
from imhead.evaluation.hair import HairStyle, grow_hair
from imhead.fitting import fit as fitting
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.fitting.gauss_newton import FitState, gauss_newton_step
from imhead.fitting.hair import Hair, both_sides, find_hair, outermost, patch_roughness
from imhead.fitting.objective import Codes
from imhead.fitting.result import FitResult
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import extract_mesh
from imhead.regions import REGIONS
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.properties import face_areas
from imhead.surfaces.sampling import draw_points
from imhead.surfaces.transforms import matrix_of, transform_directions, transform_points
from imhead.types import BoolArray, FloatArray, Mesh, Scan

SAMPLES = 20_000
STILL = np.eye(4)


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model()


@pytest.fixture(scope="module")
def field(shipped: Model) -> HeadField:
    return HeadField(shipped, shipped.neutral())


@pytest.fixture(scope="module")
def bald(field: HeadField) -> Mesh:
    """The outside of the mean head."""
    return extract_mesh(field.sdf, 128)


@pytest.fixture(scope="module")
def bearded(bald: Mesh) -> Mesh:
    return grown(bald, "beard")


def grown(bald: Mesh, style: HairStyle) -> Mesh:
    return grow_hair(bald, bald.vertices, style, 6.0, 0.6, np.random.default_rng(0))


def mean_codes(model: Model) -> Codes:
    neutral = model.neutral()
    return Codes(torch.tensor(neutral.z_id), torch.zeros(len(ARKIT_NAMES)), torch.tensor(neutral.offsets))


def scanned(mesh: Mesh, noise_mm: float = 0.1, count: int = SAMPLES) -> tuple[FloatArray, FloatArray]:
    """Samples of a mesh and their normals, as of a scanner with noise."""
    rng = np.random.default_rng(1)
    points, normals, _ = draw_points(mesh.vertices, mesh.faces, count, rng)
    return points + noise_mm * rng.normal(size=points.shape), normals


def found_in(mesh: Mesh, model: Model, noise_mm: float = 0.1) -> tuple[Hair, FloatArray]:
    points, normals = scanned(mesh, noise_mm)
    return find_hair(model, points, normals, None, mean_codes(model), STILL), points


def above_skin(points: FloatArray, field: HeadField, mm: float = 1.5) -> BoolArray:
    high: BoolArray = field.skin_sdf(points) > mm
    return high


def surface(seed: int, count: int = 300) -> tuple[FloatArray, FloatArray]:
    """Places on a plane, and the heights of a random quadric over them."""
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(-10.0, 10.0, (2, count))
    a = rng.normal(size=6) * [5.0, 1.0, 1.0, 0.1, 0.1, 0.1]
    return np.stack([u, v, np.zeros(count)], axis=1), np.stack([np.ones(count), u, v, u * u, u * v, v * v], axis=1) @ a


def roughness_of(places: FloatArray, height: FloatArray, normal: FloatArray) -> FloatArray:
    neighbours = cKDTree(places).query(places, k=24)[1]
    return patch_roughness(places, np.broadcast_to(normal, places.shape), height, neighbours)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000))
def test_a_smooth_patch_has_no_roughness_however_it_bends(seed: int) -> None:
    places, height = surface(seed)
    assert roughness_of(places, height, np.array([0.0, 0.0, 1.0])).max() < 1e-3


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.floats(0.05, 5.0))
def test_roughness_is_the_spread_of_the_noise_in_any_pose(seed: int, spread: float) -> None:
    places, height = surface(seed)
    rough = height + spread * np.random.default_rng(seed + 1).normal(size=len(height))
    upright = roughness_of(places, rough, np.array([0.0, 0.0, 1.0]))
    assert float(np.sqrt(np.mean(upright**2))) == pytest.approx(spread, rel=0.2)
    turn = Rotation.random(random_state=seed).as_matrix()
    turned = roughness_of(places @ turn.T, rough, turn[:, 2])
    np.testing.assert_allclose(turned, upright, rtol=1e-3, atol=1e-4)


def test_an_inner_wall_is_no_outside_and_what_lies_before_the_head_hides_nothing() -> None:
    places = np.repeat(np.random.default_rng(0).uniform(-50.0, 50.0, (200, 3)), 3, axis=0)
    height = np.tile([0.0, -6.0, 20.0], 200)
    assert outermost(places[height < 10.0], height[height < 10.0]).tolist() == (height[height < 10.0] == 0.0).tolist()
    assert outermost(places[height > -1.0], height[height > -1.0])[1::2].all()


def test_a_rough_cheek_makes_the_other_one_likelier_and_an_unseen_one_counts_as_bare() -> None:
    cheeks = np.array([[45.0, -20.0, 70.0], [-45.0, -20.0, 70.0], [30.0, -60.0, 70.0]])
    joined = both_sides(cheeks, np.array([3.0, 1.0, 2.0]))
    assert 1.0 < joined[1] < joined[0] < 3.0
    assert 1.0 < joined[2] < 2.0


def test_a_beard_is_found_where_it_grows(bearded: Mesh, field: HeadField, shipped: Model) -> None:
    hair, points = found_in(bearded, shipped)
    covered, grows = hair.covers(points), above_skin(points, field)
    assert covered[grows].mean() > 0.8
    assert grows[covered].mean() > 0.9
    regions = {row["region"] for row in hair.report()}
    assert {"chin", "left_jaw", "right_jaw"} <= regions and "forehead" not in regions
    (warning,) = hair.warnings()
    assert "jaw" in warning and "chin" in warning and "cm²" in warning


def test_the_area_under_a_beard_is_that_of_the_skin_that_it_hides(bearded: Mesh, bald: Mesh, shipped: Model) -> None:
    hair, _ = found_in(bearded, shipped)
    points, _ = scanned(bald, 0.0, 5000)
    hidden = point_to_surface(points, bearded)[0] > 1.5
    area = float(face_areas(bald).sum()) / 100.0 * hidden.mean()
    assert hair.area_cm2.sum() == pytest.approx(area, rel=0.3)


def test_a_moustache_is_found_and_the_lips_are_not(bald: Mesh, field: HeadField, shipped: Model) -> None:
    hair, points = found_in(grown(bald, "moustache"), shipped)
    covered, grows = hair.covers(points), above_skin(points, field)
    assert covered[grows].mean() > 0.5 and covered.mean() < 2.0 * grows.mean()


def test_hair_over_the_ears_is_found(bald: Mesh, shipped: Model) -> None:
    hair, _ = found_in(grown(bald, "over_ears"), shipped)
    regions = {str(row["region"]) for row in hair.report()}
    assert any(region.startswith("left_ear") for region in regions)
    assert any(region.startswith("right_ear") for region in regions)


@pytest.mark.parametrize("noise_mm", [0.0, 0.5, 1.0, 2.0])
def test_a_bald_head_has_no_hair_however_noisy_its_scan(noise_mm: float, bald: Mesh, shipped: Model) -> None:
    hair, points = found_in(bald, shipped, noise_mm)
    assert not hair.covers(points).any()
    assert hair.report() == [] and hair.warnings() == ()


def test_hair_is_the_same_in_another_frame_and_inside_out(bearded: Mesh, shipped: Model) -> None:
    points, normals = scanned(bearded)
    codes = mean_codes(shipped)
    hair = find_hair(shipped, points, normals, None, codes, STILL)
    motion = matrix_of(Rotation.from_rotvec([0.1, -0.2, 0.05]).as_matrix(), np.array([3.0, -8.0, 5.0]))
    back = np.linalg.inv(motion)
    turned = -transform_directions(back, normals)
    moved = find_hair(shipped, transform_points(back, points), turned, None, codes, motion)
    same = hair.covers(points) == moved.covers(transform_points(back, points))
    assert same.mean() > 0.999


def test_a_wall_behind_the_skin_is_no_beard(bald: Mesh, shipped: Model) -> None:
    """Two layers scatter as hair does; the inner one is told by what is seen from outside."""
    points, normals = scanned(bald)
    jaw = (points[:, 1] < -50.0) & (points[:, 1] > -90.0) & (points[:, 2] > 20.0)
    inner = np.arange(len(points)) % 2 == 0
    points = points - np.where(jaw & inner, 2.5, 0.0)[:, None] * normals
    codes = mean_codes(shipped)
    assert find_hair(shipped, points, normals, None, codes, STILL).patch.any()
    shown = find_hair(shipped, points, normals, lambda rows: ~(jaw & inner)[rows], codes, STILL)
    assert not shown.patch.any()


def test_too_few_points_show_no_hair(bearded: Mesh, shipped: Model) -> None:
    for count in (1, 20, 100):
        points, normals = scanned(bearded, count=count)
        assert not find_hair(shipped, points, normals, None, mean_codes(shipped), STILL).patch.any()


def test_rough_skin_that_lies_on_the_head_is_given_back(bearded: Mesh, shipped: Model) -> None:
    hair, points = found_in(bearded, shipped)
    codes = mean_codes(shipped)
    assert hair.confirmed(shipped, codes, STILL) is hair
    sunk = replace(hair, samples=hair.samples - 8.0 * np.sign(hair.samples) * (np.abs(hair.samples) > 30.0))
    assert not sunk.confirmed(shipped, codes, STILL).patch.any()
    assert hair.covers(points).any()


def test_skin_lies_below_hair_and_is_not_drawn_up_to_it(bald: Mesh, field: HeadField, shipped: Model) -> None:
    rng = np.random.default_rng(0)
    points, _, _ = draw_points(bald.vertices, bald.faces, 1500, rng)
    points = points[points[:, 2] > 40.0]
    slope = field.gradient(points)
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)

    def moved(height_mm: float, hair: bool) -> float:
        """Length of z_id after a step towards points at this height."""
        codes = mean_codes(shipped)
        count = len(points)
        state = FitState(
            torch.from_numpy(points + height_mm * slope).float(), None, torch.ones(count, dtype=torch.bool),
            torch.zeros(count, dtype=torch.long), STILL, False, codes, codes.z_id, torch.ones(len(REGIONS)),
            hair=torch.ones(count, dtype=torch.bool) if hair else None,
        )  # fmt: skip
        return float(gauss_newton_step(shipped.net, state, 4.0, False, FitConfig()).codes.z_id.norm())

    assert moved(2.0, hair=False) > 0.1
    assert moved(2.0, hair=True) < 0.02 * moved(2.0, hair=False)
    assert moved(-2.0, hair=True) > 0.1


@pytest.fixture(scope="module")
def bearded_scan(bearded: Mesh) -> Scan:
    return Scan("bearded", *scanned(bearded, count=40_000))


@pytest.fixture(scope="module")
def fits(bearded_scan: Scan, shipped: Model) -> tuple[FitResult, FitResult]:
    """The mean head with a beard: fitted, and fitted with the beard taken for skin."""
    config = FitConfig(resolution=128, wall_weight=0.0)
    left_out = fit_scan(bearded_scan, shipped, config, units="mm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "find_hair", lambda *_: Hair.none())
        return left_out, fit_scan(bearded_scan, shipped, config, units="mm")


@pytest.mark.xfail(strict=True, reason="0.76: the cap of identity holds the fit that takes the beard for skin")
def test_a_beard_does_not_change_who_it_is(fits: tuple[FitResult, FitResult]) -> None:
    left_out, as_skin = (float(np.linalg.norm(fit.head.z_id)) for fit in fits)
    assert left_out < 0.6 * as_skin


def test_the_report_names_the_hair_and_does_not_count_it_as_explained(
    fits: tuple[FitResult, FitResult], bearded_scan: Scan
) -> None:
    left_out, as_skin = fits
    report = left_out.report()
    assert {"chin", "left_jaw", "right_jaw"} <= {row["region"] for row in report["hair"]}
    assert all(row["area_cm2"] > 0.0 for row in report["hair"])
    assert any("hair was left out" in warning for warning in report["warnings"])
    assert as_skin.report()["hair"] == []
    covered = left_out.hair.covers(transform_points(left_out.pose.scan_to_head, bearded_scan.points))
    assert covered.any() and not left_out.explained[covered].any()
