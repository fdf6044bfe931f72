"""The folder that a joint fit leaves behind: the person's neutral head, and a fit's folder for each scan."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from imhead.checkpoint import Model, save_head
from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError, one_line
from imhead.fitting.config import FitConfig
from imhead.fitting.person import PersonFit
from imhead.fitting.person_scans import samples_on_head
from imhead.fitting.pose_scan import ScanOfPerson
from imhead.fitting.result import FitResult, PlacedScan, fit_result
from imhead.io.atomic import remove, write_atomically
from imhead.io.mesh_file import head_notes, write_mesh
from imhead.isosurface.creases import mended_head
from imhead.isosurface.field import HeadField
from imhead.reports.fit_report import write_fit
from imhead.types import Head, Scan

_OWN_FILES = frozenset({"head.safetensors", "head.ply", "report.json"})


def person_report(person: PersonFit, files: Sequence[str]) -> dict[str, Any]:
    """The figures of a joint fit, as written to report.json, with distances by the field.

    Args:
        person: the fit.
        files: what each scan that was given is called.
    """
    head = person.head
    used = {row: _scan_figures(scan, files[row]) for row, scan in zip(person.rows, person.scans)}
    used |= {row: {"file": files[row], "same_person": None, "error": reason} for row, reason in person.lost}
    return {
        "expression": "neutral",
        "scale_assumed": head.scale_assumed,
        "identity_sigma": float(np.linalg.norm(head.z_id) / np.sqrt(len(head.z_id))),
        "detail_offset": float(np.abs(head.offsets).mean()),
        "iterations": person.iterations,
        "seconds": round(person.seconds, 3),
        "scans": [used[row] for row in sorted(used)],
        "warnings": list(person.warnings),
    }


def write_person(
    person: PersonFit, scans: Sequence[Scan], files: Sequence[str], model: Model, config: FitConfig, folder: Path
) -> dict[str, Any]:
    """Write the neutral head as `head.safetensors` and `head.ply`, a fit's folder for each scan, and `report.json`.

    One scan is meshed at a time, in its own expression, so memory does not grow with their number. The report goes
    first and comes last: a folder that holds one is whole.

    Args:
        person: the fit.
        scans: that were given to it.
        files: what each of them is called.
        model: of the head.
        config: settings of the fit.
        folder: made where missing.

    Returns:
        What the report says; its distances are those to the meshes.
    """
    report = person_report(person, files)
    remove(folder / "report.json")
    surface = mended_head(HeadField(model, person.head), config.resolution)
    save_head(person.head, folder / "head.safetensors")
    write_mesh(surface.mesh, folder / "head.ply", metadata=head_notes(person.head))
    report["handles"] = surface.left
    names = _folder_names([scan.name for scan in scans])
    for row, scan in zip(person.rows, person.scans):
        result = scan_result(person.head, scan, scans[row], model, config)
        written = write_fit(result, scans[row], folder / names[row])
        report["scans"][row] |= {"folder": names[row]} | {
            key: written[key] for key in ("scan_to_head_mm", "scan_to_head_face_mm", "explained_fraction", "warnings")
        }
    write_atomically(folder / "report.json", (json.dumps(report, indent=2, allow_nan=False) + "\n").encode())
    return report


def scan_result(head: Head, placed: ScanOfPerson, scan: Scan, model: Model, config: FitConfig) -> FitResult:
    """The person's head in the expression of one scan, and how well it explains that scan."""
    if placed.pose is None:
        raise InputError(f"{placed.name}: its pose was not searched for; a report needs a scan of a joint fit")
    began = time.perf_counter()
    with torch.no_grad():
        weights = torch.from_numpy(placed.weights).float().to(model.device)
        z_exp = model.net.warp.code(weights[None])[0].cpu().numpy()
    samples, normals = samples_on_head(scan, placed.pose, config)
    on_head = PlacedScan(scan, samples, normals, placed.pose, placed.scan_to_head, placed.weights, placed.hair)
    return fit_result(model, on_head, replace(head, z_exp=z_exp), config, "joint fit", None, placed.steps, began)


def _scan_figures(scan: ScanOfPerson, file: str) -> dict[str, Any]:
    pose = scan.pose
    return {
        "file": file,
        "same_person": scan.same_person,
        "evidence": None if scan.evidence is None else {k: round(v, 4) for k, v in asdict(scan.evidence).items()},
        **scan.figures.summary(),
        "noise_mm": round(scan.noise_mm, 4),
        "pose": scan.scan_to_head.tolist(),
        "units": None if pose is None else pose.units,
        "unit_source": None if pose is None else pose.unit_source,
        "scale_assumed": pose is not None and pose.scale_assumed,
        "expression": {n: round(float(w), 4) for n, w in zip(ARKIT_NAMES, scan.weights.tolist()) if w > 0.005},
        "hair": scan.hair.report(),
    }


def _folder_names(names: Sequence[str]) -> list[str]:
    """A folder's name for each scan: its own, with a number where another scan or a file of the person has it."""
    taken = set(_OWN_FILES)
    found = []
    for name in names:
        plain = PurePath(one_line(name, 80)).name or "scan"
        free = plain
        number = 2
        while free in taken:
            free = f"{plain}_{number}"
            number += 1
        taken.add(free)
        found.append(free)
    return found
