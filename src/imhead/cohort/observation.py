"""What a study knows of one sitting: corresponding vertices, landmarks and measurements of the neutral head, with ±.

Shape legend: V vertices, F faces, L landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.checkpoint import Model
from imhead.measure.landmarks import landmark_places, patch_faces
from imhead.measure.table import MEASUREMENTS, VOLUMES, errors, landmark_rows
from imhead.regions import CENTERS_MM, RADII_MM
from imhead.registration.matching import shown_faces
from imhead.registration.measured import head_landmarks, head_measurements, neutral_vertices
from imhead.template.surface import TemplateSurface
from imhead.types import BoolArray, FloatArray, Head, IntArray


@dataclass(frozen=True, eq=False)
class Surface:
    """The topology that all heads of a study share."""

    faces: IntArray
    """(F, 3)."""
    region: IntArray
    """(V,) row of `regions.REGIONS` that each vertex of the visible skin belongs to; -1 for the others."""


@dataclass(frozen=True, eq=False)
class Observation:
    """One sitting of one person."""

    vertices: FloatArray
    """(V, 3) of the neutral head, with its registration, head frame, mm."""
    measured: BoolArray
    """(V,) whether the scan shows the place; all true for a head that was not fitted."""
    sigma_mm: FloatArray
    """(V,) the person's surface lies within, with 68 % probability; NaN for a head that was not fitted."""
    landmarks: FloatArray
    """(L, 3) of the neutral head, mm."""
    landmark_sigma_mm: FloatArray
    """(L,) standard deviation along an axis; NaN for a head that was not fitted."""
    landmark_measured: BoolArray
    """(L,) whether the scan shows the landmark."""
    measurements: dict[str, float]
    """Name → value, in the unit of `measure.table`."""
    errors: dict[str, float]
    """Name → ±, half of the 68 % interval; empty for a head that was not fitted, and without volumes."""
    seen: dict[str, bool]
    """Name → whether the scan shows what the measurement depends on."""
    scale_assumed: bool
    """Whether the unit of the scan was not known."""


def template_regions(template: TemplateSurface) -> IntArray:
    """(V,) the region nearest to each vertex of the visible skin, by its distance over the region's radius; else -1."""
    away = np.linalg.norm(template.mean[:, None] - CENTERS_MM, axis=2) / RADII_MM
    nearest = away.argmin(axis=1)
    shown = np.zeros(len(nearest), dtype=bool)
    shown[template.faces[shown_faces(template)]] = True
    return np.where(shown, nearest, -1)


def observe(model: Model, head: Head) -> Observation:
    """The neutral head of a sitting.

    Raises:
        InputError: the model has no template, or the head belongs to another model.
    """
    vertices, places = neutral_vertices(model, head), landmark_places()
    landmarks, measurements = head_landmarks(model, head, vertices), head_measurements(model, head, vertices)
    patches = {kind.name: patch_faces(kind.landmarks[0]) for kind in VOLUMES}
    count, certainty = len(vertices), head.certainty
    if certainty is None or len(certainty.sigma_mm) != count or len(certainty.landmark_mm) != len(landmarks):
        everywhere, unknown = np.ones(count, dtype=bool), np.full(count, np.nan)
        return Observation(
            vertices, everywhere, unknown, landmarks, np.full(len(landmarks), np.nan),
            np.ones(len(landmarks), dtype=bool), measurements, {}, dict.fromkeys(measurements, True),
            head.scale_assumed,
        )  # fmt: skip
    measured: BoolArray = certainty.measured
    shown: BoolArray = np.asarray(measured[places.corners].any(axis=1))
    seen = {kind.name: bool(shown[landmark_rows(kind)].all()) for kind in MEASUREMENTS}
    seen |= {name: bool(measured[faces].mean() > 0.5) for name, faces in patches.items()}
    by_axis = (certainty.landmarks.astype(np.float64) ** 2).sum(axis=1).reshape(-1, 3).mean(axis=1)
    return Observation(
        vertices, measured, certainty.sigma_mm.astype(np.float64), landmarks,
        np.sqrt(by_axis + certainty.landmark_mm.astype(np.float64) ** 2),
        shown, measurements, errors(landmarks, certainty), seen, head.scale_assumed,
    )  # fmt: skip
