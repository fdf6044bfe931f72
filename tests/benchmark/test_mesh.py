"""The row `mesh`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from imhead.benchmark import mesh
from imhead.benchmark.heads import bench_heads
from imhead.benchmark.settings import QUICK, BenchConfig
from imhead.benchmark.suite import run_benchmarks
from imhead.checkpoint import Model
from imhead.errors import InputError


@pytest.fixture(scope="module")
def row(default: Model) -> dict[str, Any]:
    (found,) = run_benchmarks(default, ["mesh"], QUICK, lambda text: None)
    return found


def test_the_row_is_well_formed(row: dict[str, Any]) -> None:
    assert row == json.loads(json.dumps(row, allow_nan=False))
    assert {"name", "ours_seconds", "peer_seconds", "peer", "ratio", "evaluations", "equal_to_reference"} <= set(row)
    assert {"threads", "runs", "torch", "device", "ours_cpu_seconds", "peer_cpu_seconds", "floor"} <= set(row)
    assert row["name"] == "mesh" and row["runs"] == QUICK.runs == len(row["peer_seconds_all"])
    assert len(row["ours_seconds_all"]) == QUICK.runs * QUICK.heads


def test_the_two_gains_multiply_to_the_ratio(row: dict[str, Any]) -> None:
    assert row["extrapolated"] is True and row["peer_points"] == QUICK.peer_points
    assert row["gain_from_fewer_points"] * row["gain_from_cheaper_points"] == pytest.approx(row["ratio"])
    per_point = row["peer_seconds"] / row["peer_evaluations"]
    assert row["peer_on_our_band_seconds"] == pytest.approx(per_point * row["evaluations"])


def test_the_narrow_band_has_fewer_points_than_the_grid_and_more_than_the_floor(row: dict[str, Any]) -> None:
    assert row["floor"]["evaluations"] < row["evaluations"] < row["dense_evaluations"]
    assert row["ours_flop_per_point"] < 0.1 * row["peer_flop_per_point"]


def test_the_timed_mesh_is_the_surface_of_the_dense_grid(row: dict[str, Any]) -> None:
    assert row["equal_to_reference"] is True
    (reference,) = row["reference"]
    assert reference["vertices"][0] == reference["vertices"][1] == row["vertices"][0]
    assert reference["equal_to_library"] is True


def test_a_wrong_mesh_is_reported_as_unequal(default: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = mesh.head_mesh
    monkeypatch.setattr(mesh, "mesh_memory", lambda *given: {})
    monkeypatch.setattr(mesh, "head_mesh", lambda model, head, resolution: honest(model, head, resolution + 8))
    (found,) = run_benchmarks(default, ["mesh"], replace(QUICK, runs=1, heads=1), lambda text: None)
    assert found["equal_to_reference"] is False


def test_the_peak_memory_is_that_of_the_mesh_and_not_of_the_calling_process(row: dict[str, Any]) -> None:
    ballast = np.ones(400_000_000 // 8)  # 400 MB more in this process, none in the fresh one
    assert ballast.sum() > 0
    assert 50e6 < row["memory"]["before_bytes"] <= row["memory"]["peak_bytes"] < 1.5e9


def test_the_heads_are_the_mean_head_and_edited_ones_with_an_expression(default: Model) -> None:
    first, *others = bench_heads(default, 3, 0)
    assert not first.z_id.any() and not first.offsets.any()
    for head in others:
        assert head.z_exp.any() and np.count_nonzero(head.offsets.any(axis=1)) == 1
    assert not np.array_equal(others[0].z_id, others[1].z_id)
    again = bench_heads(default, 3, 0)[2]
    np.testing.assert_array_equal(again.z_id, others[1].z_id)


def test_a_mesh_that_is_not_compared_is_neither_equal_nor_unequal(
    default: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh, "mesh_memory", lambda *given: {})
    config = replace(QUICK, runs=1, heads=1, reference_heads=0)
    (found,) = run_benchmarks(default, ["mesh"], config, lambda text: None)
    assert found["equal_to_reference"] is None


@pytest.mark.parametrize(
    "wrong", [{"runs": 0}, {"resolution": 8}, {"heads": 1, "reference_heads": 2}, {"regions": 40}, {"batch_points": 1}]
)
def test_sizes_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError):
        BenchConfig(**wrong)  # type: ignore[arg-type]


def test_an_unknown_benchmark_is_refused_with_the_known_names(model: Model) -> None:
    with pytest.raises(InputError, match="mesh"):
        run_benchmarks(model, ["mash"], QUICK, lambda text: None)
