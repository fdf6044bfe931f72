"""One scan on its person's head: the template registered on it, and what the audit and a data set take of that.

Shape legend: V vertices of the template, P used points of a scan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import igl
import numpy as np
from PIL import Image
from scipy.spatial.distance import cdist

from imhead.checkpoint import Model
from imhead.conventions import FACE_RADIUS_MM
from imhead.curation.config import CurationConfig
from imhead.curation.finding import open_scan
from imhead.curation.inputs import RawScan
from imhead.curation.joining import KEPT, face_figures
from imhead.curation.keeping import opened_hair, opened_pose
from imhead.curation.pictures import registered_picture
from imhead.curation.store import Record
from imhead.errors import InputError
from imhead.fitting.figures import seen_from_outside
from imhead.fitting.person_scans import samples_on_head
from imhead.fitting.pose import PoseResult
from imhead.fitting.pose_scan import person_codes, scan_of_person
from imhead.fitting.scan_points import skin_points
from imhead.fitting.start import state_at
from imhead.isosurface.field import code_of_weights
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS
from imhead.registration.matching import shown_faces
from imhead.registration.register import Registration, register_points
from imhead.surfaces.properties import face_areas, face_cross
from imhead.template.surface import TemplateSurface
from imhead.types import FloatArray, Head, IntArray, Mesh, Scan

_ON_SURFACE_MM = 1.5  # of the registered template: points to learn from
_LEAST_IN_REGION = 30  # points, for a figure of a region
_FACE = ("left_eye", "right_eye", "brow", "nose", "mouth", "cheek", "chin", "forehead")  # groups of regions
_ON_FACE = frozenset(region.name for region in REGIONS if region.group in _FACE)
"""Regions that may be a scan's worst: clothes and hair are worse than any face."""
_SAMPLES = 4000  # that are asked whether they are seen from outside
_MOSTLY_SEEN = 0.97  # share of a scan's points that are seen from outside, where it has no inner walls


@dataclass(frozen=True, eq=False)
class Registered:
    """A scan that was joined, registered."""

    record: Record
    """Its figures, and what a data set takes of it."""
    picture: Image.Image | None
    """Scan and template; None where it cannot be registered."""


def registered_scan(raw: RawScan, joined: Record, model: Model, config: CurationConfig) -> Registered:
    """Register the template of its person's head on a scan.

    Args:
        joined: of `joined_person`, with arrays.
    """
    arrays, kept = joined.arrays, joined.figures[KEPT]
    figures = {name: value for name, value in joined.figures.items() if name != KEPT}
    scan, _ = open_scan(raw, config)
    expression = code_of_weights(model, arrays["weights"])
    head = replace(
        model.neutral(), z_id=arrays["z_id"], offsets=arrays["offsets"], eyes=arrays["eyes"], z_exp=expression
    )  # fmt: skip
    pose, hair = opened_pose(arrays, kept["pose"]), opened_hair(arrays)
    figures |= _seen_figures(scan, pose, head, joined, model, config)
    try:
        points = skin_points(scan, pose, hair, arrays["on_head"], kept["noise_mm"])
        found = register_points(head, model, points)
    except InputError as error:
        return Registered(Record({}, figures | {"registered": None, "unregistered": str(error)}), None)
    nearest = _nearest(found)
    figures["registered"] = _registered_figures(found, nearest)
    return Registered(
        Record(_arrays(found, nearest, arrays["weights"], config), figures),
        registered_picture(found, nearest.distance_mm),
    )


def _seen_figures(
    scan: Scan, pose: PoseResult, head: Head, joined: Record, model: Model, config: CurationConfig
) -> dict[str, Any]:
    """The figures of the face without inner walls, such as the airways in a CT; none where a scan has hardly any."""
    samples, normals = samples_on_head(scan, pose, config.fit)
    if scan.faces is None or normals is None:
        return {}
    samples, normals = samples[:_SAMPLES], normals[:_SAMPLES]
    seen = seen_from_outside(Mesh(scan.points, scan.faces), samples)
    if seen.mean() > _MOSTLY_SEEN:
        return {}
    samples, normals, placed = samples[seen], normals[seen], joined.arrays["on_head"]
    codes = person_codes(model, head, joined.arrays["weights"])
    state = state_at(model, samples, normals, placed, False, codes, np.eye(4), config.fit)
    return face_figures(scan_of_person(model, head, scan.name, samples, normals, state, placed).figures)


@dataclass(frozen=True, eq=False)
class _Nearest:
    """Where the used points of a scan lie on the registered template."""

    distance_mm: FloatArray
    """(P,)."""
    face: IntArray
    """(P,) the nearest face."""


def _nearest(found: Registration) -> _Nearest:
    squared, face, _ = igl.point_mesh_squared_distance(found.points.points, found.mesh.vertices, found.mesh.faces)
    return _Nearest(np.sqrt(np.maximum(squared, 0.0)), face)


def _registered_figures(found: Registration, nearest: _Nearest) -> dict[str, Any]:
    area, side = _face_vertices(found.template)
    shown = area * found.measured
    halves = [float(shown[rows].sum() / max(area[rows].sum(), 1e-12)) for rows in (side > 0, side < 0)]
    regions = _by_region(found.points.points, nearest.distance_mm)
    worst = max(_ON_FACE & regions.keys(), key=lambda name: (regions[name]["p90"], name), default=None)
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


def _by_region(points: FloatArray, distance: FloatArray) -> dict[str, dict[str, float]]:
    """Distances (P,) of points (P, 3) to the registered template by region, mm."""
    near = distance < 10.0
    own = _region_of(points[near])
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
    away = cdist(points, CENTERS_MM) / RADII_MM
    return np.asarray(away.argmin(axis=1))


def _arrays(
    found: Registration, nearest: _Nearest, weights: FloatArray, config: CurationConfig
) -> dict[str, np.ndarray]:
    """What a data set takes of a scan: head frame, mm."""
    points, normals = found.points.points, found.points.normals
    rows = np.flatnonzero(nearest.distance_mm < _ON_SURFACE_MM)
    rows = np.sort(np.random.default_rng(0).permutation(rows)[: config.kept_points])
    assert found.head.registration is not None
    return {
        "z_id": np.asarray(found.head.z_id, dtype=np.float32),
        "offsets": np.asarray(found.head.offsets, dtype=np.float32),
        "eyes": np.asarray(found.head.eyes, dtype=np.float32),
        "weights": np.asarray(weights, dtype=np.float32),
        "vertices": found.mesh.vertices.astype(np.float32),
        "registration": np.asarray(found.head.registration, dtype=np.float32),
        "measured": found.measured.astype(np.uint8),
        "points": points[rows].astype(np.float32),
        "normals": _outward(found.mesh, nearest.face[rows], normals[rows]).astype(np.float32),
    }


def _outward(mesh: Mesh, face: IntArray, normals: FloatArray) -> FloatArray:
    """Normals (N, 3) with the sign of that of the template's face (N,)."""
    sign = np.where(np.einsum("nc,nc->n", face_cross(mesh.vertices, mesh.faces[face]), normals) < 0.0, -1.0, 1.0)
    return normals * sign[:, None]
