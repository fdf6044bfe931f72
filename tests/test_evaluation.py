"""The figures: what a held-out head is, and that a perfect fit scores perfectly."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from imhead.evaluation import HeldOut, head_solid, held_out, in_processes, random_turn, score
from imhead.sources.ict import IctModel


@pytest.fixture(scope="module")
def case(ict: IctModel) -> HeldOut:
    masks, visible = head_solid(ict)
    return held_out(ict, 3, masks, visible)


def test_a_held_out_scan_is_5000_points_of_the_visible_head(case: HeldOut) -> None:
    assert case.scan.points.shape == (5000, 3) and case.scan.normals is None
    assert 0.5 < case.visible.mean() < 0.95


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


def test_a_random_turn_keeps_the_shape_and_changes_the_unit() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3)) * 80.0
    scales = set()
    for seed in range(12):
        matrix, moved = random_turn(points, np.random.default_rng(seed))
        scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
        scales.add(round(1.0 / scale))
        distance = np.linalg.norm(moved[1:] - moved[:-1], axis=1) / scale
        np.testing.assert_allclose(distance, np.linalg.norm(points[1:] - points[:-1], axis=1))
    assert scales == {1, 10, 1000}


def test_work_in_two_processes_comes_back_in_order() -> None:
    def square(index: int) -> dict[str, int]:
        return {"value": index * index}

    assert [row["value"] for row in in_processes(square, 5, 2)] == [0, 1, 4, 9, 16]
