"""Evaluation suites: held-out heads, scores and baselines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import igl
import numpy as np
import pytest
import torch
import trimesh

from imhead.checkpoint import load_model
from imhead.datasets.dataset import build_dataset, open_dataset
from imhead.datasets.heads import OpenSources
from imhead.datasets.recipe import Recipe
from imhead.errors import InputError
from imhead.evaluation.cases import CaseKind, HeldOut, HeldOutSource, held_out, random_similarity, score
from imhead.evaluation.codes import identity_suite, specificity_suite
from imhead.evaluation.linear import LinearHeads, fit_linear, linear_heads
from imhead.evaluation.runner import CaseRunner
from imhead.evaluation.unseen import ict_heads, split_points, unseen_suite, visible_points
from imhead.fitting.config import FitConfig
from imhead.fitting.start import pose_template
from imhead.parallel import in_processes
from imhead.regions import REGIONS
from imhead.sources.anny import AnnyModel
from imhead.sources.ict import IctModel
from imhead.surfaces.transforms import transform_points
from imhead.surfaces.visibility import sample_visible
from imhead.training.population import TrainingHeads
from imhead.types import Mesh, Scan

IN_THIS_PROCESS = CaseRunner(lambda text: None, processes=1)


@pytest.fixture(scope="module")
def case(ict: IctModel) -> HeldOut:
    return held_out(HeldOutSource.composed(ict), 3)


def test_a_held_out_scan_is_5000_points_of_the_visible_head(case: HeldOut) -> None:
    assert case.scan.points.shape == (5000, 3) and case.scan.normals is None
    assert 0.5 < case.visible.mean() < 0.95


def test_nothing_behind_shut_lips_is_scanned_or_scored(ict: IctModel, case: HeldOut) -> None:
    outside = {tuple(face) for face in np.sort(ict.skin_open_faces, axis=1).tolist()}
    scored = np.sort(case.truth.faces[: len(ict.skin_faces)][case.visible[: len(ict.skin_faces)]], axis=1)
    hidden = np.array([face for face in scored if tuple(face.tolist()) not in outside])
    # of the faces that close the surface, only the cut below the shoulders is visible
    assert case.truth.vertices[hidden].mean(axis=1)[:, 1].max() < -100.0


def test_the_truth_itself_scores_zero_error_and_a_shift_scores_its_length(case: HeldOut) -> None:
    matrix = np.linalg.inv(case.head_to_scan)
    perfect = score(SimpleNamespace(scan_to_head=matrix, mesh=case.truth), case)  # type: ignore[arg-type]
    assert perfect["face_chamfer_mm"] < 0.02 and perfect["face_fscore_1mm"] > 0.999
    assert perfect["pose_error_deg"] < 1e-4
    shifted = np.eye(4)
    shifted[0, 3] = 1.0
    moved = score(SimpleNamespace(scan_to_head=shifted @ matrix, mesh=case.truth), case)  # type: ignore[arg-type]
    assert moved["pose_error_mm"] == pytest.approx(1.0)
    assert 0.1 < moved["face_chamfer_mm"] < 1.0


def test_a_random_pose_and_unit_keep_the_shape() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3)) * 80.0
    scales = set()
    for seed in range(12):
        matrix, moved = random_similarity(points, np.random.default_rng(seed))
        scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
        scales.add(round(1.0 / scale))
        distance = np.linalg.norm(moved[1:] - moved[:-1], axis=1) / scale
        np.testing.assert_allclose(distance, np.linalg.norm(points[1:] - points[:-1], axis=1))
    assert scales == {1, 10, 25, 1000}


def test_results_of_two_processes_come_in_order() -> None:
    def square(index: int) -> dict[str, int]:
        return {"value": index * index}

    assert [row["value"] for row in in_processes(square, 5, 2)] == [0, 1, 4, 9, 16]


def test_an_expression_moves_the_truth_and_the_keypoints_of_the_lips(ict: IctModel, case: HeldOut) -> None:
    smiling = held_out(HeldOutSource.composed(ict), 3, CaseKind(expression=True))
    assert np.linalg.norm(smiling.truth.vertices - case.truth.vertices, axis=1).max() > 1.0
    lip = next(r.index for r in REGIONS if r.name == "lower_lip")
    scalp = next(r.index for r in REGIONS if r.group == "scalp")
    moved = np.linalg.norm(smiling.keypoints_mm - case.keypoints_mm, axis=1)
    assert moved[lip] > 0.1 > moved[scalp]


def test_a_single_view_sees_the_face_and_not_the_back_of_the_head(ict: IctModel) -> None:
    seen = held_out(HeldOutSource.composed(ict), 3, CaseKind(single_view=True))
    assert len(seen.scan.points) == 2500 and seen.scan.normals is not None
    back = np.linalg.inv(seen.head_to_scan)
    points = transform_points(back, seen.scan.points)
    # behind the ears there is nothing, and every point lies on the head
    assert points[:, 2].min() > -60.0
    squared, _, _ = igl.point_mesh_squared_distance(points, seen.truth.vertices, seen.truth.faces)
    assert np.percentile(np.sqrt(squared), 95) < 1.5


def test_the_held_out_heads_of_a_data_set_are_its_own_of_every_source(
    small_ict: IctModel, small_anny: AnnyModel, tmp_path: Path
) -> None:
    sources = OpenSources(small_ict, small_anny)
    build_dataset(Recipe(identities=24, expressions=2, heldout=0.5), sources, tmp_path / "set")
    source = HeldOutSource.of_dataset(open_dataset(tmp_path / "set"), sources)
    assert source.count == 12
    kinds = {source.head(index).source for index in range(12)}
    assert kinds == {small_ict, small_anny}


def test_the_noise_of_a_scan_has_the_standard_deviation_asked_for(ict: IctModel, case: HeldOut) -> None:
    noisy = held_out(HeldOutSource.composed(ict), 3, CaseKind(noise_mm=1.0))
    back = np.linalg.inv(noisy.head_to_scan)
    points = transform_points(back, noisy.scan.points)
    squared, _, _ = igl.point_mesh_squared_distance(points, case.truth.vertices, case.truth.faces)
    # the normal component of isotropic noise has its full standard deviation
    assert np.sqrt(squared.mean()) == pytest.approx(1.0, abs=0.1)


@pytest.fixture(scope="module")
def pca(ict: IctModel, training_heads: Callable[[int], TrainingHeads]) -> LinearHeads:
    (heads,) = linear_heads(ict, HeldOutSource.composed(ict).seen_faces(), (20,), training_heads(40).offsets())
    return heads


def test_the_directions_of_the_linear_baseline_are_orthogonal_and_in_order(pca: LinearHeads) -> None:
    flat = pca.identity.reshape(20, -1).astype(np.float64)
    length = np.linalg.norm(flat, axis=1)
    assert (np.diff(length) <= 1e-6 * length[0]).all()
    cosine = (flat / length[:, None]) @ (flat / length[:, None]).T
    np.testing.assert_allclose(cosine, np.eye(20), atol=1e-3)


def test_the_linear_baseline_recovers_one_of_its_own_heads(pca: LinearHeads) -> None:
    rng = np.random.default_rng(0)
    truth = Mesh(pca.mean + np.einsum("k,kvc->vc", rng.normal(size=20), pca.identity), pca.faces)
    points, _ = sample_visible(Mesh(truth.vertices, pca.seen_faces), 4000, rng)
    matrix, placed = random_similarity(points, rng)
    fitted = fit_linear(Scan("own", placed), pca, pose_template(load_model()), FitConfig())
    to_truth = np.linalg.inv(matrix) @ np.linalg.inv(fitted.scan_to_head)
    vertices = transform_points(to_truth, fitted.mesh.vertices)
    assert np.median(np.linalg.norm(vertices - truth.vertices, axis=1)) < 0.5


def test_a_scan_is_split_into_a_fitted_half_and_a_scored_half() -> None:
    points = np.random.default_rng(0).normal(size=(1001, 3))
    scan, unseen = split_points(Scan("cloud", points, faces=np.array([[0, 1, 2]])), 3)
    assert scan.faces is None and len(scan.points) == 500
    rejoined = np.concatenate([scan.points, points[unseen]])
    np.testing.assert_array_equal(rejoined[np.lexsort(rejoined.T)], points[np.lexsort(points.T)])
    _, others = split_points(Scan("cloud", points), 3, draw=1)
    assert 0.4 < np.isin(others, unseen).mean() < 0.6, "another draw splits the scan anew"


@pytest.mark.parametrize("inside_out", [False, True])
def test_hidden_points_of_a_scanned_mesh_are_not_scored(inside_out: bool) -> None:
    shell, inner = trimesh.creation.icosphere(3, 80.0), trimesh.creation.icosphere(2, 60.0)
    both = trimesh.util.concatenate([shell, inner])
    faces = both.faces[:, ::-1] if inside_out else both.faces
    seen = visible_points(Scan("shells", np.asarray(both.vertices), faces=np.asarray(faces)))
    assert seen[: len(shell.vertices)].all() and not seen[len(shell.vertices) :].any()
    assert visible_points(Scan("cloud", np.asarray(both.vertices))).all()


def test_the_linear_model_of_the_source_explains_its_own_heads(ict: IctModel, tmp_path: Path) -> None:
    seen_faces = HeldOutSource.composed(ict).seen_faces()
    baseline = ict_heads(ict, seen_faces)
    rng, codes = np.random.default_rng(1), np.random.default_rng(2).normal(size=len(ict.identity))
    head = Mesh(baseline.mean + np.einsum("k,kvc->vc", codes, baseline.identity), seen_faces)
    trimesh.PointCloud(sample_visible(head, 6000, rng)[0]).export(tmp_path / "own.ply")
    own, offsets, linear = unseen_suite(load_model(), baseline, tmp_path, 2, FitConfig(), IN_THIS_PROCESS)
    assert [row["halves"] for row in (own, offsets, linear)] == [2, 2, 2]
    first, second = (case["face_median_mm"] for case in own["cases"])
    assert first != second and own["face_median_mm"] == pytest.approx((first + second) / 2)
    assert own["points"] == offsets["points"] == linear["points"] > 300
    assert own["hidden_points"] == 0 and own["all_mean_mm"] == own["face_mean_mm"]
    assert (own["code_size"], linear["code_size"]) == (256, 100)
    assert linear["face_median_mm"] < 0.15, "a linear model explains its own heads"
    assert max(own["face_median_mm"], offsets["face_median_mm"]) < 0.3
    assert offsets["face_median_mm"] != own["face_median_mm"]


def test_training_heads_that_occur_twice_have_a_nearest_head_at_distance_zero(
    ict: IctModel, training_heads: Callable[[int], TrainingHeads]
) -> None:
    offsets = training_heads(6).offsets()
    source = HeldOutSource.composed(ict)
    ours, linear, known = specificity_suite(load_model(), source, torch.cat([offsets, offsets]), 3)
    assert known["nearest_mean_mm"] == 0.0
    assert ours["nearest_mean_mm"] > 1.0 and 0.0 < linear["nearest_mean_mm"] < 5.0, (
        "a PCA of six heads draws within their span"
    )


def test_a_person_with_an_expression_keeps_their_identity_code(ict: IctModel) -> None:
    (row,) = identity_suite(load_model(), HeldOutSource.composed(ict), 2, FitConfig(), IN_THIS_PROCESS)
    assert row["recognised"] == 1.0
    assert row["same_person"] < 0.7 * row["different_people"]
    with pytest.raises(InputError, match="at least two heads"):
        identity_suite(load_model(), HeldOutSource.composed(ict), 1, FitConfig(), IN_THIS_PROCESS)
