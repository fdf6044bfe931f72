"""Fits of real scans: as they are, and in random turns and units."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.evaluation.cases import random_turn
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan, pose_template
from imhead.io.scan_file import SCAN_EXTENSIONS, read_scan
from imhead.parallel import in_processes
from imhead.surfaces.transforms import rotation_of, transform_directions
from imhead.types import Scan


def read_scans(folder: Path) -> list[Scan]:
    """Every scan of a folder, by name.

    Raises:
        InputError: the folder holds none, or one that cannot be read.
    """
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SCAN_EXTENSIONS)
    if not paths:
        raise InputError(f"{folder}: holds no scans; give a folder of {', '.join(SCAN_EXTENSIONS)} files")
    return [read_scan(path) for path in paths]


def real_suite(
    model: Model, folder: Path, turns: int, config: FitConfig, progress: Callable[[str], None], processes: int = 2
) -> list[dict[str, Any]]:
    """Fits of every scan in a folder, as it is and in random turns and units; one row for each scan."""
    scans = read_scans(folder)
    pose_template(model)
    work = partial(_real_case, model, scans, turns, config)
    rows: list[dict[str, Any]] = []
    cases: list[dict[str, Any]] = []
    for case in in_processes(work, len(scans) * (turns + 1), processes):
        progress(json.dumps({k: v for k, v in case.items() if k != "scan_to_upright"}))
        cases.append(case)
        if len(cases) == turns + 1:
            rows.append(_real_row(model, cases))
            cases = []
    return rows


def _real_case(model: Model, scans: list[Scan], turns: int, config: FitConfig, index: int) -> dict[str, Any]:
    scan, turn = scans[index // (turns + 1)], index % (turns + 1)
    rng = np.random.default_rng([0x5CA2, index])
    matrix, points = (np.eye(4), scan.points) if turn == 0 else random_turn(scan.points, rng)
    normals = scan.normals
    if normals is not None and turn:
        rotated = transform_directions(matrix, normals)
        normals = rotated / np.linalg.norm(rotated, axis=1, keepdims=True)
    try:
        result = fit_scan(replace(scan, points=points, normals=normals), model, config)
    except InputError as error:
        return {"scan": scan.name, "turn": turn, "refused": str(error)}
    report = result.report()
    names = ("scan_to_head_face_mm", "explained_fraction", "identity_sigma", "units", "warnings", "seconds")
    upright = (result.scan_to_head @ matrix).tolist()
    return {"scan": scan.name, "turn": turn, **{name: report[name] for name in names}, "scan_to_upright": upright}


def _real_row(model: Model, cases: list[dict[str, Any]]) -> dict[str, Any]:
    first, found = cases[0], [case for case in cases if "refused" not in case]
    row: dict[str, Any] = {
        "suite": "real",
        "model": model.name,
        "scan": first["scan"],
        "turns": len(cases) - 1,
        "found": len(found),
        "refused": [case["refused"] for case in cases if "refused" in case],
    }
    if "refused" not in first:
        row |= {key: first[key] for key in first if key not in ("scan", "turn", "scan_to_upright")}
        poses = [np.array(case["scan_to_upright"]) @ np.linalg.inv(first["scan_to_upright"]) for case in found]
        turned = [rotation_of(pose) for pose in poses]
        row["largest_turn_deg"] = float(max(np.degrees(Rotation.from_matrix(t).magnitude()) for t in turned))
    medians = [case["scan_to_head_face_mm"]["median"] for case in found]
    row["face_median_worst_mm"] = max((m for m in medians if m is not None), default=None)
    return row
