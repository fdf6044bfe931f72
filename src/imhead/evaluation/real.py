"""Fits of real scans, as they are and in random pose and unit."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.evaluation.cases import random_similarity
from imhead.evaluation.runner import CaseRunner, Row
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.fitting.start import pose_template
from imhead.io.scan_file import SCAN_EXTENSIONS, read_scan
from imhead.surfaces.transforms import rotation_of, transform_directions
from imhead.types import Scan


def read_scans(folder: Path) -> list[Scan]:
    """All scans of a folder, in order of their names.

    Raises:
        InputError: the folder holds no scan, or one that cannot be read.
    """
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SCAN_EXTENSIONS)
    if not paths:
        raise InputError(f"{folder}: holds no scans; give a folder of {', '.join(SCAN_EXTENSIONS)} files")
    return [read_scan(path) for path in paths]


def real_suite(model: Model, folder: Path, turns: int, config: FitConfig, runner: CaseRunner) -> list[Row]:
    """Fits of every scan in a folder, as it is and in `turns` random poses and units; one row for each scan.

    Raises:
        InputError: the folder holds no scan, or one that cannot be read.
    """
    scans = read_scans(folder)
    pose_template(model)  # made once, before the workers are forked
    each = turns + 1
    work = partial(_case, model, scans, turns, config)
    cases = runner.run(
        work, len(scans) * each, lambda case: {key: case[key] for key in case if key != "scan_to_upright"}
    )
    return [_row(model, cases[first : first + each]) for first in range(0, len(cases), each)]


def _case(model: Model, scans: list[Scan], turns: int, config: FitConfig, index: int) -> Row:
    scan, turn = scans[index // (turns + 1)], index % (turns + 1)
    rng = np.random.default_rng([0x5CA2, index])
    matrix, points = (np.eye(4), scan.points) if turn == 0 else random_similarity(scan.points, rng)
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


def _row(model: Model, cases: list[Row]) -> Row:
    first, fitted = cases[0], [case for case in cases if "refused" not in case]
    row: Row = {
        "suite": "real",
        "model": model.name,
        "scan": first["scan"],
        "turns": len(cases) - 1,
        "found": len(fitted),
        "refused": [case["refused"] for case in cases if "refused" in case],
    }
    if "refused" not in first:
        row |= {key: first[key] for key in first if key not in ("scan", "turn", "scan_to_upright")}
        poses = [np.array(case["scan_to_upright"]) @ np.linalg.inv(first["scan_to_upright"]) for case in fitted]
        angles = [np.degrees(Rotation.from_matrix(rotation_of(pose)).magnitude()) for pose in poses]
        row["largest_turn_deg"] = float(max(angles))
    medians = [case["scan_to_head_face_mm"]["median"] for case in fitted]
    row["face_median_worst_mm"] = max((m for m in medians if m is not None), default=None)
    return row
