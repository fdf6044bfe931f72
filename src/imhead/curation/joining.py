"""The scans of a person together: one identity, each scan on it, and what the audit asks of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.curation.config import CurationConfig
from imhead.curation.finding import open_scan, reopened
from imhead.curation.inputs import RawScan
from imhead.curation.keeping import hair_arrays, pose_arrays, pose_figures
from imhead.curation.store import Record
from imhead.errors import InputError
from imhead.fitting.config import FitConfig
from imhead.fitting.figures import ScanFigures
from imhead.fitting.person import PersonFit, fit_person
from imhead.fitting.person_scans import OwnFit
from imhead.fitting.pose_scan import ScanOfPerson, pose_scan
from imhead.regions import REGIONS
from imhead.types import Head, Scan

KEPT = "kept"
"""Name of the figures that a registration needs, and nobody else."""
_BEARD = frozenset(region.name for region in REGIONS if region.group in ("mouth", "chin", "jaw", "cheek"))
_MIRROR_SCALES_MM = (4.0, 3.0, 2.5, 2.0, 2.0)


def joined_person(members: Sequence[tuple[RawScan, Record]], model: Model, config: CurationConfig) -> list[Record]:
    """The scans of one person on one head, in the order given; a record with arrays is to be registered yet.

    Args:
        members: with the record of each one's own fit; one with a problem is looked for with the person's own head.
    """
    scans = [open_scan(raw, config)[0] for raw, _ in members]
    person = _fitted(members, scans, range(len(members)), model, config)
    sides = _sides(scans, person, model, config)
    suspect = max(sides, key=lambda row: _nearer_mirrored(sides[row]), default=None)
    others = [row for row in range(len(members)) if row != suspect]
    if suspect is not None and len(sides) > 2 and _nearer_mirrored(sides[suspect]) > 0.0:
        # it has drawn the head towards its own mirror image, so it is judged by the head of the others
        rest = _fitted(members, scans, others, model, config)
        apart = _mirror_mm(scans[suspect], _placed(person)[suspect], rest.head, model, config)
        if _nearer_mirrored(apart) > config.limits.mirror_excess_mm:
            sides[suspect] = apart
            person = rest
    placed = _placed(person)
    return [_joined(placed.get(row), person, sides.get(row)) for row in range(len(members))]


def _fitted(
    members: Sequence[tuple[RawScan, Record]], scans: Sequence[Scan], rows: Sequence[int], model: Model,
    config: CurationConfig,
) -> PersonFit:  # fmt: skip
    """The joint fit of some of the scans, from the fits that each of them has; its rows are those of all scans."""

    def own(scan: Scan, row: int, model: Model, fit: FitConfig, *_: object) -> OwnFit:
        record = members[rows[row]][1]
        if record.figures["problem"] is not None:
            raise InputError(record.figures["problem"]["sentence"])
        return reopened(record, scan, row, model, fit)

    person = fit_person([scans[row] for row in rows], model, config.fit, own=own)
    return replace(person, rows=tuple(rows[row] for row in person.rows))


def _placed(person: PersonFit) -> dict[int, ScanOfPerson]:
    return dict(zip(person.rows, person.scans))


def _sides(
    scans: Sequence[Scan], person: PersonFit, model: Model, config: CurationConfig
) -> dict[int, dict[str, float]]:
    """`_mirror_mm` by row; of a single scan none, since it is its own person."""
    placed = _placed(person)
    if len(placed) < 2:
        return {}
    return {row: _mirror_mm(scans[row], scan, person.head, model, config) for row, scan in placed.items()}


def _nearer_mirrored(sides: dict[str, float]) -> float:
    return sides["as_it_is"] - sides["mirrored"]


def _joined(placed: ScanOfPerson | None, person: PersonFit, sides: dict[str, float] | None) -> Record:
    if placed is None:
        return Record({}, {"found": False, "mirror_mm": sides})
    figures: dict[str, Any] = {
        "found": True,
        "same_person": placed.same_person,
        "evidence": None if placed.evidence is None else {k: round(v, 4) for k, v in asdict(placed.evidence).items()},
        "mirror_mm": sides,
        "person_sigma": round(float(np.sqrt(np.square(person.head.z_id).mean())), 4),
    }
    if not placed.same_person:
        return Record({}, figures)
    assert placed.pose is not None
    arrays = {
        **pose_arrays(placed.pose),
        **hair_arrays(placed.hair),
        "on_head": np.asarray(placed.scan_to_head, dtype=np.float64),
        "weights": np.asarray(placed.weights, dtype=np.float64),
        "z_id": np.asarray(person.head.z_id),
        "offsets": np.asarray(person.head.offsets),
        "eyes": np.asarray(person.head.eyes),
    }
    kept = {"pose": pose_figures(placed.pose), "noise_mm": placed.noise_mm}
    return Record(arrays, figures | _fit_figures(placed) | {KEPT: kept})


def _mirror_mm(scan: Scan, placed: ScanOfPerson, head: Head, model: Model, config: CurationConfig) -> dict[str, float]:
    """Median distance of the scan's face to the person's head and to its mirror image, each in its best pose, mm."""
    quick = replace(config.fit, points=2000, early_points=2000)
    parity = model.net.identity_parity.cpu().numpy()
    found = {}
    for name, z_id in (("as_it_is", head.z_id), ("mirrored", head.z_id * parity)):
        at = pose_scan(
            scan, model, replace(head, z_id=z_id), placed.scan_to_head, placed.weights, quick, scales=_MIRROR_SCALES_MM
        ).figures
        face = at.distance_mm[at.face & (at.distance_mm < 10.0)]
        found[name] = round(float(np.median(face)), 4) if len(face) else 10.0
    return found


def _fit_figures(placed: ScanOfPerson) -> dict[str, Any]:
    return {
        **placed.figures.summary(),
        **face_figures(placed.figures),
        "expression": {n: round(float(w), 4) for n, w in zip(ARKIT_NAMES, placed.weights.tolist()) if w > 0.005},
        "beard_cm2": round(sum(float(k["area_cm2"]) for k in placed.hair.report() if k["region"] in _BEARD), 1),
        "scan_to_head": placed.scan_to_head.tolist(),
    }


def face_figures(figures: ScanFigures) -> dict[str, Any]:
    """How much of a scan's face the head does not explain, and the distance that nine tenths of it keep."""
    on_face = figures.face
    distance = figures.distance_mm[on_face]
    return {
        "face_p90_mm": round(float(np.percentile(distance, 90)), 4) if len(distance) else None,
        "face_unexplained": round(1.0 - float(figures.explained[on_face].mean()), 4) if on_face.any() else 1.0,
    }
