"""The scans of a person together: one identity, each scan on it, registered, and what the audit asks of that.

Shape legend: V vertices of the template, P kept points of a scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import igl
import numpy as np
from PIL import Image

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, FACE_RADIUS_MM
from imhead.curation.config import CurationConfig
from imhead.curation.finding import open_scan, reopened
from imhead.curation.inputs import RawScan
from imhead.curation.pictures import registered_picture
from imhead.curation.store import Record
from imhead.errors import InputError
from imhead.fitting.config import FitConfig
from imhead.fitting.person import PersonFit, fit_person
from imhead.fitting.person_scans import OwnFit
from imhead.fitting.pose_scan import ScanOfPerson, pose_scan
from imhead.isosurface.field import code_of_weights
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS
from imhead.registration.matching import shown_faces
from imhead.registration.points import ScanPoints, skin_points
from imhead.registration.register import Registration, register_points
from imhead.surfaces.properties import face_areas
from imhead.template.surface import TemplateSurface
from imhead.types import BoolArray, FloatArray, Head, IntArray, Mesh, Scan

_LEAST_IN_REGION = 30  # points, for a figure of a region
_BEARD = frozenset(region.name for region in REGIONS if region.group in ("mouth", "chin", "jaw", "cheek"))
_MIRROR_SCALES_MM = (4.0, 3.0, 2.5, 2.0, 2.0)


@dataclass(frozen=True, eq=False)
class Joined:
    """A scan in a joint fit."""

    record: Record
    """Its figures and arrays."""
    picture: Image.Image | None
    """Scan and template; None where it is not registered."""


def joined_person(members: Sequence[tuple[RawScan, Record]], model: Model, config: CurationConfig) -> list[Joined]:
    """The scans of one person on one head, in the order given.

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
    found = [_joined(scans[row], placed.get(row), person, sides.get(row), model, config) for row in range(len(members))]
    return found


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


def _joined(
    scan: Scan,
    placed: ScanOfPerson | None,
    person: PersonFit,
    sides: dict[str, float] | None,
    model: Model,
    config: CurationConfig,
) -> Joined:
    if placed is None:
        return Joined(Record({}, {"found": False, "mirror_mm": sides}), None)
    figures: dict[str, Any] = {
        "found": True,
        "same_person": placed.same_person,
        "evidence": None if placed.evidence is None else {k: round(v, 4) for k, v in asdict(placed.evidence).items()},
        "mirror_mm": sides,
        "person_sigma": round(float(np.sqrt(np.square(person.head.z_id).mean())), 4),
    }
    if not placed.same_person:
        return Joined(Record({}, figures), None)
    figures |= _fit_figures(placed)
    assert placed.pose is not None
    head = replace(person.head, z_exp=code_of_weights(model, placed.weights))
    try:
        points = skin_points(scan, placed.pose, placed.hair, placed.scan_to_head, placed.noise_mm)
        registration = register_points(head, model, points)
    except InputError as error:
        return Joined(Record({}, figures | {"registered": None, "unregistered": str(error)}), None)
    figures["registered"] = _registered_figures(registration)
    arrays = _arrays(registration, placed, person.head, config)
    return Joined(Record(arrays, figures), registered_picture(registration))


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
    figures = placed.figures
    on_face = figures.face
    distance = figures.distance_mm[on_face]
    return {
        **figures.summary(),
        "face_p90_mm": round(float(np.percentile(distance, 90)), 4) if len(distance) else None,
        "face_unexplained": round(1.0 - float(figures.explained[on_face].mean()), 4) if on_face.any() else 1.0,
        "expression": {n: round(float(w), 4) for n, w in zip(ARKIT_NAMES, placed.weights.tolist()) if w > 0.005},
        "beard_cm2": round(sum(float(k["area_cm2"]) for k in placed.hair.report() if k["region"] in _BEARD), 1),
        "scan_to_head": placed.scan_to_head.tolist(),
    }


def _registered_figures(found: Registration) -> dict[str, Any]:
    area, side = _face_vertices(found.template)
    shown = area * found.measured
    halves = [float(shown[rows].sum() / max(area[rows].sum(), 1e-12)) for rows in (side > 0, side < 0)]
    regions = _by_region(found.mesh, found.points)
    worst = max(regions, key=lambda name: regions[name]["p90"], default=None)
    report = {key: value for key, value in found.report().items() if key != "seconds"}
    return report | {
        "face_measured": round(float(shown.sum() / area.sum()), 4),
        "left_measured": round(halves[0], 4),
        "right_measured": round(halves[1], 4),
        "worst_region": worst,
        "worst_region_mm": None if worst is None else regions[worst]["p90"],
        "regions_mm": regions,
    }


@lru_cache(maxsize=2)
def _face_vertices(template: TemplateSurface) -> tuple[FloatArray, FloatArray]:
    """(V,) area of each vertex of the face's skin that a scanner sees, 0 elsewhere; (V,) which side it lies on."""
    shown = shown_faces(template)
    tip = template.mean[np.argmax(template.mean[:, 2])]
    area = np.where(shown, face_areas(Mesh(template.mean, template.faces)), 0.0)
    thirds = np.repeat(area / 3.0, 3)
    own: FloatArray = np.bincount(template.faces.ravel(), thirds, len(template.mean)).astype(np.float64)
    own[np.linalg.norm(template.mean - tip, axis=1) > FACE_RADIUS_MM] = 0.0
    return own, template.mean[:, 0]


def _by_region(mesh: Mesh, points: ScanPoints) -> dict[str, dict[str, float]]:
    """Distances of the used points to the registered template by region, mm."""
    squared, _, _ = igl.point_mesh_squared_distance(points.points, mesh.vertices, mesh.faces)
    distance = np.sqrt(np.maximum(squared, 0.0))
    near = distance < 10.0
    own = _region_of(points.points[near])
    found = {}
    for region in REGIONS:
        rows = distance[near][own == region.index]
        if len(rows) >= _LEAST_IN_REGION:
            found[region.name] = {
                "median": round(float(np.median(rows)), 4),
                "p90": round(float(np.percentile(rows, 90)), 4),
            }
    return found


def _region_of(points: FloatArray) -> IntArray:
    """(N,) index of the region whose ball holds each point (N, 3) deepest."""
    away = np.linalg.norm(points[:, None] - CENTERS_MM, axis=2) / RADII_MM
    return np.asarray(away.argmin(axis=1))


def _arrays(found: Registration, placed: ScanOfPerson, head: Head, config: CurationConfig) -> dict[str, np.ndarray]:
    """What a data set takes of a scan: head frame, mm."""
    points, normals = found.points.points, found.points.normals
    rows = np.flatnonzero(_on_surface(found.mesh, points))
    rows = np.sort(np.random.default_rng(0).permutation(rows)[: config.kept_points])
    assert found.head.registration is not None
    return {
        "z_id": np.asarray(head.z_id, dtype=np.float32),
        "eyes": np.asarray(head.eyes, dtype=np.float32),
        "weights": np.asarray(placed.weights, dtype=np.float32),
        "vertices": found.mesh.vertices.astype(np.float32),
        "registration": np.asarray(found.head.registration, dtype=np.float32),
        "measured": found.measured.astype(np.uint8),
        "points": points[rows].astype(np.float32),
        "normals": _outward(found.mesh, points[rows], normals[rows]).astype(np.float32),
    }


def _on_surface(mesh: Mesh, points: FloatArray) -> BoolArray:
    """(N,) bool: points that lie on the registered template, 1.5 mm at most from it."""
    squared, _, _ = igl.point_mesh_squared_distance(points, mesh.vertices, mesh.faces)
    near: BoolArray = squared < 1.5**2
    return near


def _outward(mesh: Mesh, points: FloatArray, normals: FloatArray) -> FloatArray:
    """Normals (N, 3) with the sign of the template's there."""
    _, face, _ = igl.point_mesh_squared_distance(points, mesh.vertices, mesh.faces)
    corners = mesh.vertices[mesh.faces[face]]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sign = np.where(np.einsum("nc,nc->n", cross, normals) < 0.0, -1.0, 1.0)
    return normals * sign[:, None]
