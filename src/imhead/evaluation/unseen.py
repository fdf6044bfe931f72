"""Real scans, scored on points that no fit saw: half of each is fitted, the other half measured.

Beside the model stands the linear one of the source itself, with its own modes and expressions, from the same pose. All
are scored on the same points: those on the face that can be seen and that the linear one explains. What nobody can see,
the walls inside eye sockets, nose or mouth, is given apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import FACE_RADIUS_MM
from imhead.curation.virtual_scan import visible_faces
from imhead.errors import InputError
from imhead.evaluation.cases import Fitted
from imhead.evaluation.linear import LinearHeads, fit_linear
from imhead.evaluation.processes import in_processes
from imhead.evaluation.real import read_scans
from imhead.evaluation.suites import ours
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import pose_template
from imhead.geometry.metrics import point_to_surface
from imhead.sources.ict import IctModel
from imhead.types import BoolArray, FloatArray, IntArray, Mesh, Scan

EXPLAINED_MM = 3.0
"""Points farther from the linear fit are hair, clothes or noise."""


def halves(scan: Scan, seed: int) -> tuple[Scan, IntArray]:
    """A random half of a scan's points as a cloud, and the rows (N,) of the other half."""
    order = np.random.default_rng([0x5917, seed]).permutation(len(scan.points))
    seen, unseen = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    normals = None if scan.normals is None else scan.normals[seen]
    return replace(scan, points=scan.points[seen], normals=normals, faces=None), unseen


def in_sight(scan: Scan) -> BoolArray:
    """(P,) which points of a scan can be seen from somewhere outside: no face at them is hidden; of a cloud, all."""
    hidden = np.zeros(len(scan.points), dtype=bool)
    if scan.faces is not None:
        # a mesh that is turned inside out shows its faces to those who look from behind
        turns = (Mesh(scan.points, faces) for faces in (scan.faces, scan.faces[:, ::-1]))
        seen = max((visible_faces(mesh) for mesh in turns), key=np.count_nonzero)
        hidden[scan.faces[~seen]] = True
    return ~hidden


def source_heads(ict: IctModel, seen_faces: IntArray) -> LinearHeads:
    """The source's own linear model: a yardstick, not a PCA of our training heads."""
    faces = np.concatenate([ict.skin_faces, ict.eye_faces])
    return LinearHeads(ict.mean.astype(np.float64), faces, seen_faces, ict.identity, ict.expressions)


def unseen_suite(
    model: Model,
    yardstick: LinearHeads,
    folder: Path,
    config: FitConfig,
    progress: Callable[[str], None],
    processes: int = 2,
) -> list[dict[str, Any]]:
    """Three rows for each scan of a folder: the model's 256 numbers alone, with region offsets, and the linear model.

    Raises:
        InputError: the folder holds no scans.
    """
    scans = read_scans(folder)
    pose_template(model)
    rows: list[dict[str, Any]] = []
    for of_scan in in_processes(partial(_rows, model, yardstick, scans, config), len(scans), processes):
        for row in of_scan["rows"]:
            progress(json.dumps(row))
            rows.append(row)
    return rows


def _rows(model: Model, yardstick: LinearHeads, scans: list[Scan], config: FitConfig, index: int) -> dict[str, Any]:
    scan, unseen = halves(scans[index], index)
    template = pose_template(model)
    about = {"suite": "real_unseen", "scan": scan.name}
    try:
        linear = fit_linear(scan, yardstick, template, config)
        own = (ours(model, replace(config, detail=False)), ours(model, config))
        fits: list[tuple[str, int, Fitted]] = [(one.name, one.code_size, one.fit(scan)) for one in own]
        fits.append(("ict_linear", len(yardstick.identity), linear))
    except InputError as error:
        return {"rows": [about | {"model": model.name, "refused": str(error)}]}
    points = scans[index].points[unseen]
    placed = _placed(points, linear.scan_to_head)
    near = np.linalg.norm(placed - template.nose_tip_mm, axis=1) < FACE_RADIUS_MM
    near[near] = point_to_surface(placed[near], linear.mesh)[0] < EXPLAINED_MM
    seen = in_sight(scans[index])[unseen][near]
    rows = []
    for name, size, fit in fits:
        away = point_to_surface(_placed(points[near], fit.scan_to_head), fit.mesh)[0]
        row = about | {"model": name, "code_size": size, "points": int(seen.sum()), "hidden_points": int((~seen).sum())}
        row |= {"face_median_mm": float(np.median(away[seen])), "face_mean_mm": float(away[seen].mean())}
        rows.append(row | {"all_median_mm": float(np.median(away)), "all_mean_mm": float(away.mean())})
    return {"rows": rows}


def _placed(points: FloatArray, matrix: FloatArray) -> FloatArray:
    moved: FloatArray = points @ matrix[:3, :3].T + matrix[:3, 3]
    return moved
