"""The rows `remesh_median` and `remesh_largest`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from imhead.benchmark import remesh
from imhead.benchmark.heads import bench_heads
from imhead.benchmark.settings import QUICK
from imhead.benchmark.suite import run_benchmarks
from imhead.checkpoint import Model
from imhead.editing import sample
from imhead.isosurface.session import HeadSession
from imhead.regions import REGIONS
from imhead.types import Head

CONFIG = replace(QUICK, regions=3)


@pytest.fixture(scope="module")
def rows(default: Model) -> list[dict[str, Any]]:
    return run_benchmarks(default, ["remesh"], CONFIG, lambda text: None)


def test_the_rows_are_well_formed(rows: list[dict[str, Any]]) -> None:
    assert [row["name"] for row in rows] == ["remesh_median", "remesh_largest"]
    for row in rows:
        assert row == json.loads(json.dumps(row, allow_nan=False))
        assert row["ratio"] * row["ours_seconds"] == pytest.approx(row["peer_seconds"])
        assert row["equal_to_reference"] is True


def test_the_rows_are_the_median_and_the_slowest_region(rows: list[dict[str, Any]]) -> None:
    median, slowest = rows
    seconds = sorted(region["ours_seconds"] for region in median["regions"])
    assert len(seconds) == 3 and median["ours_seconds"] == seconds[1] and slowest["ours_seconds"] == seconds[2]
    names = {region["region"] for region in median["regions"]}
    assert slowest["region"] in names and {REGIONS[0].name, REGIONS[-1].name} <= names


def test_no_head_is_meshed_anew_and_an_undone_edit_restores_the_mesh(rows: list[dict[str, Any]]) -> None:
    assert rows[0]["rebuilt"] == 0 and rows[0]["undone_largest_mm"] < 1e-3
    assert all(region["evaluations"] > 0 for region in rows[0]["regions"])


def test_every_timed_call_re_meshes_the_region(default: Model) -> None:
    head = bench_heads(default, 2, 0)[1]
    session = HeadSession(default, head, resolution=40)
    toggle = remesh.Toggle(session, head, sample(default, head, (REGIONS[4],), 0, 1.0, False))
    for _ in range(4):
        assert toggle().regions == (REGIONS[4].name,)
    assert session.head is head


def test_a_session_with_a_wrong_mesh_is_reported_as_unequal(default: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(model: Model, head: Head, resolution: int) -> Any:
        return HeadSession(model, model.neutral(), resolution=resolution).mesh

    monkeypatch.setattr(remesh, "head_mesh", stale)
    rows = run_benchmarks(default, ["remesh"], replace(CONFIG, runs=1, regions=1), lambda text: None)
    assert not any(row["equal_to_reference"] for row in rows)
