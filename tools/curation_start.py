"""From which head a curation should register: that of the codes alone, with a residual, or with offsets and a residual.

    python tools/virtual_people.py make PEOPLE --people 3 --scans 2 --spoilt 0 --holes 6 --hole-radius 13 --arc 90 \\
        --dressed 0.5 --ict ICT --anny --seed 77
    python tools/curation_start.py PEOPLE

Prints the mean over the scans, mm: heights of registered vertices over the known ones, where the scan shows the face,
where it does not, and on the hidden rest of the head; vertices at which the surface crosses itself; processor time.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from imhead.checkpoint import Model, load_model
from imhead.conventions import FACE_RADIUS_MM
from imhead.curation.config import CurationConfig
from imhead.curation.finding import open_scan
from imhead.curation.inputs import raw_scans
from imhead.errors import InputError
from imhead.fitting.person import fit_person
from imhead.fitting.residual import residual_of
from imhead.fitting.scan_points import ScanPoints, skin_points
from imhead.isosurface.field import code_of_weights
from imhead.registration.register import Registration, register_points
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.transforms import transform_points
from imhead.template.topology import SKIN, load_topology
from imhead.types import FloatArray, Head, Scan

STARTS = ("codes", "residual", "offsets_and_residual")


def main(people: Path) -> dict[str, dict[str, float]]:
    """Mean figures of each start."""
    torch.set_num_threads(1)
    model, known = load_model(), np.load(people / "truth.npz")
    groups: dict[str, list[tuple[str, Scan]]] = {}
    for raw in raw_scans(people):
        groups.setdefault(raw.person, []).append((raw.file, open_scan(raw, CurationConfig())[0]))
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in STARTS}
    for members in groups.values():
        for name in STARTS:
            rows[name] += _figures(members, known, name, model)
    return {name: _means(found) for name, found in rows.items()}


def _figures(
    members: Sequence[tuple[str, Scan]], known: np.lib.npyio.NpzFile, start: str, model: Model
) -> list[dict[str, float]]:  # fmt: skip
    config = replace(CurationConfig().fit, detail=start == "offsets_and_residual")
    began = time.process_time()
    person = fit_person([scan for _, scan in members], model, config)
    shown: list[tuple[Head, ScanPoints, FloatArray]] = []
    for row, scan in zip(person.rows, person.scans):
        if not scan.same_person or scan.pose is None:
            continue
        try:
            points = skin_points(members[row][1], scan.pose, scan.hair, scan.scan_to_head, scan.noise_mm)
        except InputError:
            continue
        head = replace(person.head, z_exp=code_of_weights(model, scan.weights))
        shown.append((head, points, transform_points(scan.scan_to_head, known[members[row][0]])))
    if start == "residual":
        left_over = residual_of(model, [(head, points) for head, points, _ in shown])
        shown = [(replace(head, residual=left_over), points, truth) for head, points, truth in shown]
    joined_s = (time.process_time() - began) / max(len(shown), 1)
    rows = []
    for head, points, truth in shown:
        began = time.process_time()
        found = register_points(head, model, points)
        rows.append(_errors(found, truth) | {"fit_s": joined_s, "register_s": time.process_time() - began})
    return rows


def _errors(found: Registration, truth: FloatArray) -> dict[str, float]:
    topology = load_topology()
    normals, _ = vertex_normals(truth, topology.faces)
    height = np.abs(np.einsum("vc,vc->v", found.mesh.vertices - truth, normals))
    skin = topology.part == SKIN
    tip = truth[skin][np.argmax(truth[skin, 2])]
    face = skin & (np.linalg.norm(truth - tip, axis=1) < FACE_RADIUS_MM)
    parts = {"face_shown": face & found.measured, "face_hidden": face & ~found.measured,
             "head_hidden": skin & ~face & ~found.measured}  # fmt: skip
    figures = {name: float(height[own].mean()) for name, own in parts.items() if own.sum() >= 50}
    return figures | {"crossed": float(found.crossed)}


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    names = sorted({name for row in rows for name in row})
    return {name: round(float(np.mean([row[name] for row in rows if name in row])), 4) for name in names}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1])), indent=1))
