"""Hidden parts of a scan: what is cut, what the rim says of it, and the rows of the suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.checkpoint import Model
from imhead.datasets.heads import OpenSources
from imhead.datasets.manifest import Manifest
from imhead.errors import InputError
from imhead.evaluation.accuracy import Competitor, TimedFit
from imhead.evaluation.cases import HeldOutSource, held_out
from imhead.evaluation.cuts import KINDS, CutKind, PlacedScan, cut_rounds, without_points
from imhead.evaluation.hidden import (
    HELD_OUT,
    THIN_PLATE,
    ScanSource,
    balanced_median,
    held_out_scans,
    hidden_suite,
    real_scans,
)
from imhead.evaluation.linear import LinearFit
from imhead.evaluation.rim import REACH_MM, Rim, thin_plate_distance, with_rim_residuals
from imhead.evaluation.runner import CaseRunner
from imhead.evaluation.suites import EvalConfig, EvalData, suite_rows
from imhead.evaluation.unseen import ICT_LINEAR
from imhead.sources.ict import IctModel
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.transforms import transform_directions
from imhead.types import FloatArray, Mesh, Scan

DISC_10, DISC_20, HALF = KINDS
IN_THIS_PROCESS = CaseRunner(lambda text: None, processes=1)


def sheet(height: Callable[[FloatArray, FloatArray], FloatArray], half_mm: float = 80.0, step: float = 2.0) -> Mesh:
    """A surface over a square, seen from +Z."""
    side = np.arange(-half_mm, half_mm + step / 2, step)
    x, y = (part.reshape(-1) for part in np.meshgrid(side, side, indexing="ij"))
    corner = np.arange(len(x)).reshape(len(side), -1)
    a, b, c, d = (p.reshape(-1) for p in (corner[:-1, :-1], corner[1:, :-1], corner[:-1, 1:], corner[1:, 1:]))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([b, d, c], axis=1)])
    return Mesh(np.column_stack([x, y, height(x, y)]), faces)


def placed(mesh: Mesh) -> PlacedScan:
    scan = Scan("sheet", mesh.vertices, faces=mesh.faces)
    return PlacedScan(scan, scan.points, np.ones(len(scan.points), dtype=bool), np.zeros(3))


def bowl(x: FloatArray, y: FloatArray) -> FloatArray:
    return -(x**2 + y**2) / 200.0


def mended(fitted: Mesh, hidden: FloatArray, rim: Rim) -> FloatArray:
    return with_rim_residuals(fitted, hidden, point_to_surface(hidden, fitted)[0], rim)


def rim_of(mesh: Mesh, radius_mm: float) -> tuple[FloatArray, Rim]:
    """The points inside a disc around the origin, and the rim around it."""
    beyond = np.linalg.norm(mesh.vertices, axis=1) - radius_mm
    around = (beyond >= 0) & (beyond < REACH_MM)
    return mesh.vertices[beyond < 0], Rim(mesh.vertices[around], beyond[around])


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), discs=st.integers(1, 14), kind=st.sampled_from([DISC_10, DISC_20]))
def test_discs_of_one_round_keep_a_radius_between_their_rims(seed: int, discs: int, kind: CutKind) -> None:
    assert kind.radius_mm is not None
    scan = placed(sheet(lambda x, y: bowl(x, y) / 4.0))
    rounds = cut_rounds(scan, kind, discs, np.random.default_rng(seed))
    assert sum(map(len, rounds)) == discs
    for of_round in rounds:
        assert len(of_round) <= kind.at_once
        centres = np.array([scan.points_mm[np.argmin(cut)] for cut in of_round])
        apart = np.linalg.norm(centres[:, None] - centres, axis=2)[~np.eye(len(centres), dtype=bool)]
        assert (apart >= 3 * kind.radius_mm).all()
        for cut in of_round:
            np.testing.assert_allclose(cut.min(), -kind.radius_mm)
            # the rim is not the border of the scan
            assert np.abs(scan.points_mm[np.argmin(cut), :2]).max() < 80.0 - 0.8 * kind.radius_mm


def test_the_cuts_of_a_seed_are_always_the_same() -> None:
    scan = placed(sheet(bowl))
    first, again, other = (cut_rounds(scan, DISC_10, 3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_dense_parts_of_a_scan_get_no_more_discs_than_others() -> None:
    coarse = sheet(bowl, step=3.0).vertices
    dense = sheet(bowl, half_mm=20.0, step=1.0).vertices
    points = np.concatenate([coarse, dense])
    scan = PlacedScan(Scan("uneven", points), points, np.ones(len(points), dtype=bool), np.zeros(3))
    centres = []
    for seed in range(40):
        ((cut,),) = cut_rounds(scan, DISC_10, 1, np.random.default_rng(seed))
        centres.append(points[np.argmin(cut)])
    # by area a ninth of the places lies in the dense square, by number of points a third
    assert np.mean(np.abs(centres)[:, :2].max(axis=1) < 20.0) < 0.3


def test_discs_of_different_rounds_may_overlap_but_are_not_the_same() -> None:
    rounds = cut_rounds(placed(sheet(bowl)), DISC_20, 10, np.random.default_rng(0))
    assert len(rounds) > 1
    centres = np.array([np.argmin(cut) for of_round in rounds for cut in of_round])
    apart = np.linalg.norm(sheet(bowl).vertices[centres][:, None] - sheet(bowl).vertices[centres], axis=2)
    assert apart[~np.eye(len(centres), dtype=bool)].min() >= 20.0


def test_one_half_of_the_face_is_cut_and_the_rest_of_the_head_stays() -> None:
    scan = placed(sheet(bowl, half_mm=120.0))
    sides = set()
    for seed in range(8):
        ((cut,),) = cut_rounds(scan, HALF, 10, np.random.default_rng(seed))
        hidden = scan.points_mm[cut < 0]
        assert len(np.unique(np.sign(hidden[:, 0]))) == 1
        assert np.linalg.norm(hidden, axis=1).max() < 95.0 and 0.45 < (cut < 0).sum() / scan.face.sum() < 0.5
        sides.add(float(np.sign(hidden[0, 0])))
    assert sides == {-1.0, 1.0}


def test_a_scan_without_room_for_a_disc_is_refused() -> None:
    with pytest.raises(InputError, match="no place for a disc of 20 mm radius"):
        cut_rounds(placed(sheet(bowl, half_mm=15.0)), DISC_20, 10, np.random.default_rng(0))


def test_no_face_of_what_is_fitted_reaches_into_a_cut() -> None:
    mesh = sheet(bowl)
    removed = np.linalg.norm(mesh.vertices, axis=1) < 20.0
    normals = np.tile([0.0, 0.0, 1.0], (len(mesh.vertices), 1))
    rest = without_points(Scan("sheet", mesh.vertices, normals, mesh.faces), removed)
    assert rest.faces is not None and rest.normals is not None and len(rest.normals) == len(rest.points)
    assert np.linalg.norm(rest.points, axis=1).min() >= 20.0
    np.testing.assert_allclose(rest.points[rest.faces].mean(axis=0), mesh.vertices[mesh.faces].mean(axis=0), atol=8.0)
    cloud = without_points(Scan("cloud", mesh.vertices), removed)
    assert cloud.faces is None and len(cloud.points) == (~removed).sum()


@settings(max_examples=15, deadline=None)
@given(slope=st.floats(-1.0, 1.0), turn=st.floats(0.0, 6.28), radius=st.sampled_from([10.0, 20.0]))
def test_a_thin_plate_continues_a_plane_exactly_in_any_pose(slope: float, turn: float, radius: float) -> None:
    mesh = sheet(lambda x, y: slope * x)
    rotation = trimesh.transformations.rotation_matrix(turn, [0.3, 1.0, 0.2])[:3, :3]
    hidden, rim = rim_of(Mesh(mesh.vertices @ rotation.T, mesh.faces), radius)
    assert thin_plate_distance(hidden, rim).max() < 1e-6


def test_a_thin_plate_carries_a_curve_inwards_but_knows_of_no_nose() -> None:
    smooth = thin_plate_distance(*rim_of(sheet(bowl), 10.0))
    bump = sheet(lambda x, y: bowl(x, y) + 6.0 * np.exp(-(x**2 + y**2) / 30.0))
    assert np.median(smooth) < 0.1
    assert thin_plate_distance(*rim_of(bump, 10.0)).max() > 3.0


def test_residuals_at_the_rim_mend_an_offset_inside_and_spare_what_the_fit_knows() -> None:
    def nose(x: FloatArray, y: FloatArray) -> FloatArray:
        return bowl(x, y) + 6.0 * np.exp(-(x**2 + y**2) / 30.0)

    # the fit knows the nose, but lies too deep by a smooth field
    fitted = sheet(lambda x, y: nose(x, y) - 0.4 - 0.004 * x, step=1.0)
    hidden, rim = rim_of(sheet(nose), 10.0)
    assert np.median(mended(fitted, hidden, rim)) < 0.06
    assert np.median(thin_plate_distance(hidden, rim)) > 1.0


def test_a_fit_without_residuals_at_the_rim_stays_as_it_is() -> None:
    truth = sheet(bowl)
    hidden, rim = rim_of(truth, 10.0)
    bulge = sheet(lambda x, y: bowl(x, y) + np.where(x**2 + y**2 < 49.0, 1.0, 0.0))
    moved = mended(bulge, hidden, rim)
    assert np.median(moved) > 0.7 * np.median(np.where(np.linalg.norm(hidden, axis=1) < 7.0, 1.0, 0.0))
    assert mended(truth, hidden, rim).max() < 1e-6


def test_points_far_from_the_fit_are_no_residuals_of_it() -> None:
    fitted = sheet(bowl)
    hidden, rim = rim_of(fitted, 10.0)
    lifted = rim.points.copy()
    lifted[::9, 2] += 15.0
    assert mended(fitted, hidden, Rim(lifted, rim.beyond_mm)).max() < 1e-6


@pytest.fixture(scope="module")
def source(ict: IctModel) -> HeldOutSource:
    return HeldOutSource.composed(ict)


@pytest.fixture(scope="module")
def scans(source: HeldOutSource) -> ScanSource:
    return held_out_scans(source, 2)


@pytest.fixture(scope="module")
def fits(source: HeldOutSource) -> Callable[[str, float], Competitor]:
    """(name, lift) → a competitor that knows the two held-out heads, up to a lift along +Z."""
    heads = [held_out(source, index, HELD_OUT) for index in range(2)]

    def named(name: str, lift_mm: float) -> Competitor:
        def fit(scan: Scan) -> LinearFit:
            head = next(head for head in heads if head.scan.name == scan.name)
            assert len(scan.points) < len(head.scan.points), "a part of the scan is hidden"
            to_head = np.linalg.inv(head.head_to_scan)
            to_head[2, 3] += lift_mm
            return LinearFit(head.truth, to_head, 0.0)

        return Competitor(name, 100, fit)

    return named


@given(st.lists(st.lists(st.floats(0.0, 9.0), min_size=1, max_size=6), min_size=1, max_size=4), st.integers(1, 5))
def test_a_cut_with_many_points_weighs_no_more_than_one_with_few(groups: list[list[float]], times: int) -> None:
    arrays = [np.array(group) for group in groups]
    repeated = [np.repeat(arrays[0], times), *arrays[1:]]
    assert balanced_median(repeated) == pytest.approx(balanced_median(arrays))
    assert balanced_median(arrays[:1]) == pytest.approx(np.median(arrays[0]))


def test_a_fit_that_knows_the_head_leaves_nothing_inside_the_cuts(
    scans: ScanSource, fits: Callable[[str, float], Competitor]
) -> None:
    run = hidden_suite([fits("own", 0.0)], fits(ICT_LINEAR, 0.5), scans, 3, IN_THIS_PROCESS)
    rows = {(row["kind"], row["model"]): row for row in run}
    assert list(rows) == [(kind.name, model) for kind in KINDS for model in ("own", ICT_LINEAR, THIN_PLATE)]
    for kind in KINDS:
        own, linear, plate = (rows[kind.name, model] for model in ("own", ICT_LINEAR, THIN_PLATE))
        assert own["scans"] == own["scored"] == 2
        assert own["mean_mm"] < 1e-6 and own["ratio_worst"] < 1e-6
        assert 0.25 < linear["median_mm"] <= 0.5
        for first, second, third in zip(own["cases"], linear["cases"], plate["cases"]):
            assert first["points"] == second["points"] == third["points"] > 30
            assert len(first["cut_medians_mm"]) == first["cuts"] == (1 if kind is HALF else 3)
            assert min(second["ratio"], third["ratio"]) == 1.0
    # what the rim says does not reach far into a half of the face
    assert rows["half", THIN_PLATE]["median_mm"] > max(1.0, 1.5 * rows["disc_10", THIN_PLATE]["median_mm"])


def test_the_cuts_of_a_scan_do_not_depend_on_the_scans_beside_it(
    scans: ScanSource, fits: Callable[[str, float], Competitor]
) -> None:
    alone = ScanSource(1, lambda index: scans.placed(1), lambda index: scans.name(1))
    both, one = (hidden_suite([], fits(ICT_LINEAR, 0.5), source, 1, IN_THIS_PROCESS) for source in (scans, alone))
    assert [row["cases"][1] for row in both] == [row["cases"][0] for row in one]


def test_residuals_at_the_rim_are_a_row_of_their_own(
    scans: ScanSource, fits: Callable[[str, float], Competitor]
) -> None:
    run = hidden_suite([fits("own", 0.3)], fits(ICT_LINEAR, 0.5), scans, 3, IN_THIS_PROCESS, rim_residuals=True)
    for kind in (DISC_10, DISC_20):
        plain, corrected = (r for r in run if r["kind"] == kind.name and r["model"].startswith("own"))
        assert corrected["model"] == "own, with rim residuals"
        assert corrected["median_mm"] < 0.4 * plain["median_mm"]


def test_a_scan_that_a_fit_refuses_is_named_and_left_out_of_the_figures(
    scans: ScanSource, fits: Callable[[str, float], Competitor]
) -> None:
    good = fits("own", 0.0)

    def refuses_one(scan: Scan) -> TimedFit:
        if scan.name == "heldout_001":
            raise InputError("no face was found")
        return good.fit(scan)

    rows = hidden_suite([Competitor("own", 256, refuses_one)], fits(ICT_LINEAR, 0.5), scans, 1, IN_THIS_PROCESS)
    for row in rows:
        assert (row["scans"], row["scored"]) == (2, 1)
        assert row["cases"][1]["refused"] == "no face was found" and "refused" not in row["cases"][0]


def test_a_real_scan_is_scored_where_the_linear_model_explains_it(source: HeldOutSource, tmp_path: Path) -> None:
    head = held_out(source, 0, HELD_OUT)
    lock = head.scan.points[:500] + transform_directions(head.head_to_scan, np.array([[0.0, 0.0, 20.0]]))
    trimesh.PointCloud(np.concatenate([head.scan.points, lock])).export(tmp_path / "heldout_000.ply")

    def linear(scan: Scan) -> LinearFit:
        return LinearFit(head.truth, np.linalg.inv(head.head_to_scan), 0.0)

    scans = real_scans(tmp_path, Competitor(ICT_LINEAR, 100, linear), head.nose_tip_mm)
    assert scans.count == 1 and scans.name(0) == "heldout_000"
    placed = scans.placed(0)
    assert placed.surface[:30_000].all() and placed.surface[30_000:].mean() < 0.2


def test_the_suite_needs_the_linear_model_that_it_compares_with(model: Model, tmp_path: Path) -> None:
    def no_sources(manifest: Manifest) -> OpenSources:
        raise AssertionError

    with pytest.raises(InputError, match="name its path with --ict"):
        suite_rows("hidden", model, EvalData(tmp_path, None, no_sources), EvalConfig(), print)
    with pytest.raises(InputError, match="or a folder of scans; name it with --data"):
        suite_rows("hidden", model, EvalData(None, None, no_sources), EvalConfig(), print)
