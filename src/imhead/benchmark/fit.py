"""Row `fit`: from a scan file of 5 000 points to the written report, against plain Adam on the same unknowns."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh

from imhead.benchmark.arithmetic import count_operations, time_floor
from imhead.benchmark.plain_fit import plain_fit
from imhead.benchmark.settings import BenchConfig
from imhead.benchmark.timing import Task, interleaved, result_row
from imhead.checkpoint import Model, save_model
from imhead.conventions import FACE_RADIUS_MM
from imhead.encoding.encoder import encoder_of, encoder_path, save_encoder
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.fitting.pose_file import nose_tip_mm
from imhead.fitting.result import FitResult
from imhead.io.scan_file import read_scan
from imhead.isosurface.field import HeadField
from imhead.reports.fit_report import write_fit
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.sampling import sample_surface
from imhead.surfaces.transforms import transform_points
from imhead.types import FloatArray, Mesh, Scan

Fitter = Callable[[Scan], FitResult]

_EXPLAINED_MM = 3.0
_TOLERANCE_MM = 0.02  # a fit counts as equal if its median error exceeds that of plain Adam by this at most


class FileFit:
    """Fits a scan file and writes the folder of the fit; keeps the last result."""

    def __init__(self, fitter: Fitter, path: Path, folder: Path) -> None:
        self.fitter, self.path, self.folder = fitter, path, folder
        self.results: list[FitResult] = []

    def __call__(self) -> None:
        """Read, fit, write."""
        scan = read_scan(self.path)
        self.results = [self.fitter(scan)]
        write_fit(self.results[0], scan, self.folder)


def fit_rows(model: Model, config: BenchConfig, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """The row `fit`: one scan, fitted several times."""
    whole = read_scan(config.scan or Path(str(resources.files("imhead") / "assets" / "demo_scan.ply")))
    settings = FitConfig(seed=config.seed)
    if config.resolution < settings.resolution:
        settings = replace(settings, resolution=config.resolution)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / f"{whole.name}.ply"
        write_sampled_scan(whole, config.scan_points, config.seed, path)
        folders = [Path(temporary) / "ours", Path(temporary) / "plain"]
        for folder in folders:
            folder.mkdir()
        ours = FileFit(partial(fit_scan, model=model, config=settings), path, folders[0])
        plain = FileFit(partial(plain_fit, model=model, steps=config.adam_steps, config=settings), path, folders[1])
        progress(f"fit: {config.runs} runs of our fit and of {config.adam_steps} steps of Adam")
        timings = interleaved([Task("ours", ours), Task("plain", plain)], config.runs, model.device)
        progress("fit: counting")
        work = [count_operations(task, model.net.fusion_net) for task in (ours, plain)]
        progress("fit: in a fresh process")
        fresh = fresh_process_seconds(model, path, Path(temporary), settings)
    errors = [face_error_mm(model, task.results[0], whole.points) for task in (ours, plain)]
    row = result_row(
        "fit",
        timings["ours"],
        timings["plain"],
        peer_description=f"our own slow reference, {config.adam_steps} steps of plain Adam on the same unknowns and "
        "priors, from the same pose, with the field's values as residuals; it reads the scan file and writes the "
        "report, too",
        evaluations=work[0].evaluations,
        equal_to_reference=errors[0]["median"] <= errors[1]["median"] + _TOLERANCE_MM,
        peer_evaluations=work[1].evaluations,
        fresh_process_seconds=fresh,
        scan=whole.name,
        scan_points=config.scan_points,
        iterations=ours.results[0].iterations,
        ours_error_mm=errors[0],
        peer_error_mm=errors[1],
        ours_report_mm=ours.results[0].report()["scan_to_head_face_mm"],
        peer_report_mm=plain.results[0].report()["scan_to_head_face_mm"],
        floor=time_floor(work[0].flop, model.device, of="the matrix products that our fit ran"),
        peer_flop=work[1].flop,
    )
    return [row]


def fresh_process_seconds(model: Model, scan: Path, folder: Path, settings: FitConfig) -> float:
    """Wall time of one `imhead fit` in a fresh process, with imports and everything that is computed once per model."""
    path = folder / "model.safetensors"
    save_model(model.net, path, model.name, model.card)
    encoder = encoder_of(model)
    if encoder is not None:
        save_encoder(encoder, model.hash, encoder_path(path))
    options = {"--out": folder, "--model": path, "--device": model.device.type}
    options |= {"--resolution": settings.resolution, "--seed": settings.seed}
    command = [sys.executable, "-m", "imhead", "fit", str(scan)] + [
        str(word) for pair in options.items() for word in pair
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    began = time.perf_counter()
    subprocess.run(command, check=True, env=environment, capture_output=True)
    return time.perf_counter() - began


def write_sampled_scan(scan: Scan, count: int, seed: int, path: Path) -> None:
    """Write `count` points of a scan without normals: spread evenly over a mesh, or chosen at random from a cloud."""
    if scan.faces is not None:
        points = sample_surface(Mesh(scan.points, scan.faces), count, seed=seed)[0]
    else:
        points = np.random.default_rng(seed).permutation(scan.points)[:count]
    trimesh.PointCloud(points).export(path)


def face_error_mm(model: Model, result: FitResult, points: FloatArray) -> dict[str, float]:
    """Distances in mm from points of the scan to the fit, over the points on the face that it explains.

    Args:
        points: (N, 3) all points of the scan.

    Returns:
        `median`, `mean` and `p90` in mm, and `explained`, the share of points of the face nearer than 3 mm.
    """
    placed = transform_points(result.scan_to_head, points)
    tip = nose_tip_mm(result.mesh, HeadField(model, result.head))
    distance = point_to_surface(placed[np.linalg.norm(placed - tip, axis=1) < FACE_RADIUS_MM], result.mesh)[0]
    near = distance[distance < _EXPLAINED_MM]
    return {
        "median": float(np.median(near)),
        "mean": float(near.mean()),
        "p90": float(np.percentile(near, 90)),
        "explained": len(near) / len(distance),
    }
