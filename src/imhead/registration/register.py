"""A registration: the template's vertices on a fitted scan, beyond what the codes of the head can say.

    fitted head's template ──likely move of the population──► ──smooth heights, from stiff to soft──► on the scan

Only the skin that the scan shows is drawn to it, by points whose normals agree and which are neither hair nor eyes.
Elsewhere the head's own surface is the goal, and vertices follow smoothly. Eyeballs stay, and lids lie on them.

Shape legend: V vertices, N scan points.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.sparse import csr_matrix, vstack
from scipy.spatial import cKDTree

from imhead.checkpoint import Model
from imhead.fitting.figures import distance_summary
from imhead.fitting.result import FitResult
from imhead.fitting.scan_points import ScanPoints, registration_points
from imhead.isosurface.field import eyes_of
from imhead.registration.config import RegistrationConfig
from imhead.registration.frames import offsets_of
from imhead.registration.matching import Matches, match, shown_faces
from imhead.registration.population import PopulationMoves
from imhead.registration.smooth import HeightField
from imhead.registration.soundness import sound
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.properties import face_areas
from imhead.template.projection import smoothstep
from imhead.template.surface import TemplateSurface, template_of
from imhead.template.topology import LEFT_EYE
from imhead.types import BoolArray, FloatArray, Head, Mesh, Scan

_MEASURED_MM = 3.5  # a vertex is measured where a used point is nearer than this, or than three spacings of the scan
_CROWDED = 4.0  # mm²: a vertex counts by its area up to this


@dataclass(frozen=True, eq=False)
class Registration:
    """The template on a scan."""

    mesh: Mesh
    """The registered template, head frame, mm."""
    start: Mesh
    """The fitted head's template, from which it started."""
    template: TemplateSurface
    """Its topology."""
    head: Head
    """The fitted head, with the registration."""
    measured: BoolArray
    """(V,) bool: vertices that the scan shows."""
    points: ScanPoints
    """The scan points that were used."""
    scan_to_surface_mm: dict[str, float | None]
    """Distances of the matched points to the registered template: median, mean, p90."""
    measured_fraction: float
    """Measured share of the skin that a scanner can see, by area."""
    crossed: int
    """Vertices at which faces cross or have turned over, which the fitted head's template does not have."""
    seconds: float
    """Wall time."""

    def report(self) -> dict[str, object]:
        """The figures of report.json."""
        return {
            "scan_to_surface_mm": self.scan_to_surface_mm,
            "measured_fraction": round(self.measured_fraction, 4),
            "noise_mm": round(self.points.noise_mm, 4),
            "crossed_vertices": self.crossed,
            "seconds": round(self.seconds, 3),
        }


def register(
    result: FitResult, scan: Scan, model: Model, config: RegistrationConfig = RegistrationConfig()
) -> Registration:
    """Register the template of a model on a scan that was fitted with it.

    Raises:
        InputError: the model has no template, or hardly a point of the scan shows skin.
    """
    began = time.perf_counter()
    template_of(model)  # refused before the work
    found = register_points(result.head, model, registration_points(result, scan), config)
    return replace(found, seconds=time.perf_counter() - began)


def register_points(
    head: Head, model: Model, points: ScanPoints, config: RegistrationConfig = RegistrationConfig()
) -> Registration:
    """Register the template of a head on points in its own frame.

    Raises:
        InputError: the model has no template.
    """
    began = time.perf_counter()
    template = template_of(model)
    start = template.posed(model, head)
    moved = _moved(template, model, head, start, points, config)
    skin = template.faces[(template.part[template.faces] < LEFT_EYE).all(axis=1)]
    finish = partial(template.with_eyes, model, eyes=eyes_of(model, head, head.z_exp))
    vertices, crossed = sound(start, moved, skin, finish)
    found = match(template, vertices, points, config.robust_mm, config)
    close = np.abs(found.height_mm) < max(2.0 * config.robust_mm, config.robust_noise * points.noise_mm)
    measured = _measured(template, vertices, found, points)
    mesh = Mesh(vertices, template.faces)
    shown = shown_faces(template)
    area = np.where(shown, face_areas(mesh), 0.0)
    fraction = float((area * measured[template.faces].mean(axis=1)).sum() / area.sum())
    offsets = offsets_of(template, start, vertices)
    return Registration(
        mesh, Mesh(start, template.faces), template, replace(head, registration=offsets), measured, points,
        distance_summary(np.abs(found.height_mm[close])), fraction, crossed, time.perf_counter() - began,
    )  # fmt: skip


def _moved(
    template: TemplateSurface, model: Model, head: Head, start: FloatArray, points: ScanPoints,
    config: RegistrationConfig,
) -> FloatArray:  # fmt: skip
    """Vertices (V, 3) after all fields, before anything that crosses is taken back."""
    wide = partial(match, template, points=points, robust_mm=2.0 * config.robust_mm, config=config)
    narrow = partial(match, template, points=points, robust_mm=config.robust_mm, config=config)
    vertices = _by_population(template, model, head, start, wide(start), points, config)
    faces = template.faces[(template.part[template.faces] < LEFT_EYE).all(axis=1)]
    for length_mm, sigma_mm in config.smooth_mm:
        rest = vertices
        field = HeightField(rest, vertex_normals(rest, template.faces)[0], faces, length_mm, sigma_mm)
        for _ in range(2):
            found = narrow(vertices)
            rows, height, weight = _observed(template, start, vertices, found, points, config)
            # heights over the present vertices, of a displacement from those before this field
            step = field.explaining(rows, height + rows @ (vertices - rest).ravel(), weight)
            vertices = rest + step
    return vertices


def _by_population(
    template: TemplateSurface, model: Model, head: Head, start: FloatArray, found: Matches, points: ScanPoints,
    config: RegistrationConfig,
) -> FloatArray:  # fmt: skip
    """Vertices (V, 3) after the most likely move among the model's heads."""
    # the offsets of a fit are no draws of the population, so the move begins without them
    codes = np.asarray(head.offsets, dtype=np.float32)
    base = start - (template.blend(model, codes) - template.mean)
    shown = np.unique(template.faces[shown_faces(template)])
    normals, _ = vertex_normals(start, template.faces)
    mean, weight = found.at_vertices(len(start))
    measured = weight > 0.0
    # where nothing is measured, the goal is the head's own surface
    goal = np.where(measured, mean, 0.0) + np.einsum("vc,vc->v", start - base, normals)
    area = np.bincount(
        template.faces.ravel(), np.repeat(face_areas(Mesh(start, template.faces)) / 3.0, 3), minlength=len(start)
    )
    away = _from_measured(start, measured)
    sure = np.where(measured, 1.0, smoothstep(*config.rim_mm, away))
    noise = np.where(measured, 1.0 / np.maximum(weight, 1e-12), 0.0)
    precision = sure * np.minimum(area / _CROWDED, 1.0) / (config.population_sigma_mm**2 + noise)
    moves = PopulationMoves(template, model, head, base, normals, shown, config)
    moved: FloatArray = base + moves.likely(goal[shown], precision[shown])
    return moved


def _observed(
    template: TemplateSurface, start: FloatArray, vertices: FloatArray, found: Matches, points: ScanPoints,
    config: RegistrationConfig,
) -> tuple[csr_matrix, FloatArray, FloatArray]:  # fmt: skip
    """Rows (M, 3V), heights (M,) and weights (M,): of the scan, and of the head's own surface where nothing is seen."""
    measured = _measured(template, vertices, found, points)
    shown = np.unique(template.faces[shown_faces(template)])
    away = _from_measured(start, measured)[shown]
    sure = smoothstep(*config.rim_mm, away) / config.unmeasured_sigma_mm**2
    held, sure = shown[sure > 0.0], sure[sure > 0.0]
    normals, _ = vertex_normals(start, template.faces)
    columns = (3 * held[:, None] + np.arange(3)).ravel()
    rows = csr_matrix((normals[held].ravel(), columns, 3 * np.arange(len(held) + 1)), (len(held), 3 * len(start)))
    height = np.einsum("vc,vc->v", start[held] - vertices[held], normals[held])
    return (
        csr_matrix(vstack([found.rows(len(start)), rows])),
        np.concatenate([found.height_mm, height]),
        np.concatenate([found.weight, sure]),
    )


def _measured(template: TemplateSurface, vertices: FloatArray, found: Matches, points: ScanPoints) -> BoolArray:
    """(V,) bool: vertices of shown skin with a matched point near by."""
    measured = np.zeros(len(vertices), dtype=bool)
    if not len(found.height_mm):
        return measured
    shown = np.unique(template.faces[shown_faces(template)])
    places = np.einsum("nk,nkc->nc", found.shares, vertices[found.corners])
    near = max(_MEASURED_MM, 3.0 * points.spacing_mm)
    away = cKDTree(places).query(vertices[shown], distance_upper_bound=near)[0]
    measured[shown] = away < near
    return measured


def _from_measured(vertices: FloatArray, measured: BoolArray) -> FloatArray:
    """(V,) distance of each vertex to the nearest measured one, mm."""
    if not measured.any():
        return np.full(len(vertices), np.inf)
    return np.asarray(cKDTree(vertices[measured]).query(vertices)[0])
