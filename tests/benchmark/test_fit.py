"""The row `fit`, and the plain Adam fit that it is compared with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh

from imhead.benchmark import fit, plain_fit
from imhead.benchmark.settings import QUICK
from imhead.benchmark.suite import run_benchmarks
from imhead.checkpoint import Model
from imhead.fitting.config import FitConfig
from imhead.io.scan_file import read_scan
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import extract_mesh
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.sampling import sample_surface
from imhead.types import Mesh, Scan

DEMO_SCAN = Path(__file__).resolve().parents[2] / "src" / "imhead" / "assets" / "demo_scan.ply"


def test_points_are_sampled_on_the_surface_of_a_mesh_without_normals(tmp_path: Path) -> None:
    whole = read_scan(DEMO_SCAN)
    fit.write_sampled_scan(whole, 5000, 0, tmp_path / "drawn.ply")
    drawn = read_scan(tmp_path / "drawn.ply")
    assert drawn.points.shape == (5000, 3) and drawn.normals is None and drawn.faces is None
    assert whole.faces is not None
    assert point_to_surface(drawn.points, Mesh(whole.points, whole.faces))[0].max() < 1e-4
    assert np.ptp(drawn.points, axis=0) == pytest.approx(np.ptp(whole.points, axis=0), rel=0.05)


def test_points_are_chosen_from_those_of_a_cloud(tmp_path: Path) -> None:
    cloud = Scan("cloud", np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32).astype(np.float64))
    fit.write_sampled_scan(cloud, 100, 0, tmp_path / "drawn.ply")
    drawn = trimesh.load(tmp_path / "drawn.ply").vertices
    known = {tuple(p) for p in cloud.points.astype(np.float32).tolist()}
    assert len(drawn) == 100 and {tuple(p) for p in drawn.astype(np.float32).tolist()} <= known


def test_the_error_of_a_perfect_fit_is_that_of_the_mesh(default: Model) -> None:
    head = default.neutral()
    mesh = extract_mesh(HeadField(default, head).sdf, 64)
    scan_to_head = np.diag([10.0, 10.0, 10.0, 1.0])
    points = sample_surface(mesh, 4000, seed=1)[0]
    result = SimpleNamespace(head=head, mesh=mesh, scan_to_head=scan_to_head)
    exact = fit.face_error_mm(default, result, points / 10.0)  # type: ignore[arg-type]
    assert exact["median"] < 1e-6 and exact["explained"] == 1.0
    shifted = fit.face_error_mm(default, result, points / 10.0 + [0.0, 0.0, 0.05])  # type: ignore[arg-type]
    assert 0.1 < shifted["median"] <= 0.5


def test_plain_adam_moves_the_surface_to_the_points(default: Model) -> None:
    head = replace(default.neutral(), z_id=0.5 * np.random.default_rng(0).normal(size=256))
    mesh = extract_mesh(HeadField(default, head).sdf, 64)
    points = torch.from_numpy(sample_surface(mesh, 400, seed=0)[0]).float()
    before = HeadField(default, default.neutral()).sdf(points.numpy())
    face, priors = torch.ones(400, dtype=torch.bool), torch.full((39,), FitConfig().offset_prior)
    unknown = plain_fit._descend(default, points, face, priors, 40, FitConfig())
    after = plain_fit._distance_mm(default, unknown, points).numpy()
    assert np.median(np.abs(after)) < 0.5 * np.median(np.abs(before))
    assert unknown["offsets"].any(), "the region offsets were not optimised"
    assert ((unknown["weights"] >= 0.0) & (unknown["weights"] <= 1.0)).all()


def test_a_rotation_vector_gives_a_rotation_about_it() -> None:
    rotation = plain_fit._rotation(torch.tensor([0.0, 0.0, torch.pi / 2]))
    torch.testing.assert_close(rotation @ torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))


@pytest.mark.slow
def test_the_row_is_well_formed(default: Model) -> None:
    (row,) = run_benchmarks(default, ["fit"], replace(QUICK, runs=1), lambda text: None)
    assert row == json.loads(json.dumps(row, allow_nan=False))
    assert row["ratio"] * row["ours_seconds"] == pytest.approx(row["peer_seconds"])
    assert row["scan_points"] == QUICK.scan_points
    assert row["evaluations"] > row["iterations"] * 0.5 * QUICK.scan_points
    assert 0.0 < row["ours_error_mm"]["median"] < 1.0
    assert row["fresh_process_seconds"] > row["ours_seconds"]
