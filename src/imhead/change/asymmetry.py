"""Mirror analysis of one head: how far each side of the skin lies from the mirror image of the other.

Shape legend: V vertices of the template.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from imhead.change.alignment import Alignment, align
from imhead.change.change import stable_regions
from imhead.change.config import ChangeConfig
from imhead.change.surface import crossings, shown_vertices, target
from imhead.change.visits import Visit, in_regions
from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.measure.volumes import region_shares
from imhead.regions import REGIONS
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.properties import vertex_areas
from imhead.template.surface import TemplateSurface, template_of
from imhead.types import BoolArray, FloatArray, Mesh

FACE = (
    "forehead", "brow", "temple", "left_eye", "right_eye", "nose", "cheek", "mouth", "chin", "jaw",
)  # fmt: skip
"""Regions and groups over which the index is taken."""
_MIRROR = np.diag([-1.0, 1.0, 1.0])
_LEAST_MM2 = 50.0  # compared area of a region, below which it has no figures


@dataclass(frozen=True, eq=False)
class Asymmetry:
    """A head beside its mirror image."""

    vertices: FloatArray
    """(V, 3) the template, head frame, mm."""
    height_mm: FloatArray
    """(V,) signed distance from the mirror image along the normal, positive where this side stands farther out; NaN
    where one side is not shown."""
    compared: BoolArray
    """(V,) vertices that are shown on both sides."""
    plane_point_mm: FloatArray
    """(3,) a point of the plane of symmetry."""
    plane_normal: FloatArray
    """(3,) unit normal of it, towards the subject's left."""
    alignment: Alignment
    """Of the mirror image on the head."""
    index_mm: float
    """Root mean square of the distance over the face, by area."""
    by_region: dict[str, dict[str, float]]
    """Of each region: `mean_mm` signed, `rms_mm`, `area_cm2`; left and right apart."""

    def report(self) -> dict[str, Any]:
        """Figures of report.json."""
        return {
            "index_mm": round(self.index_mm, 3),
            "plane": {
                "point_mm": [round(float(k), 2) for k in self.plane_point_mm],
                "normal": [round(float(k), 5) for k in self.plane_normal],
            },
            "aligned_on": self.alignment.report(),
            "by_region": self.by_region,
            "sign": "positive where this side stands farther out than the mirror image of the other",
        }


def asymmetry_of(model: Model, visit: Visit, config: ChangeConfig) -> Asymmetry:
    """The mirror analysis of a head or a registered scan, in its own expression.

    Raises:
        InputError: hardly a place is shown on both sides.
    """
    template = template_of(model)
    vertices = visit.vertices
    mirrored = vertices[template.twin] @ _MIRROR
    normals, _ = vertex_normals(vertices, template.faces)
    shown = shown_vertices(template)
    area = vertex_areas(Mesh(vertices, template.faces[shown[template.faces].all(axis=1)]))
    both = visit.measured & visit.measured[template.twin] & shown
    names = config.mirror
    rows = np.flatnonzero(both & in_regions(template, model, stable_regions(names)))
    left = visit.left_mm[template.twin]
    places = vertices + visit.left_mm[:, None] * normals
    alignment = align(
        target(template, mirrored, left), rows, places[rows], normals[rows], area[rows], names,
        robust_mm=config.mirror_robust_mm, correlated_mm2=config.correlated_mm2, reach_mm=config.reach_mm,
        least_cosine=config.least_cosine, scale_free=False,
    )  # fmt: skip
    at = np.flatnonzero(both)
    met = crossings(
        target(template, alignment.moved(mirrored), left), at, places[at], normals[at],
        config.reach_mm, config.least_cosine,
    )  # fmt: skip
    height = np.full(len(vertices), np.nan)
    height[at] = -met.height_mm
    compared = np.isfinite(height)
    point, normal = mirror_plane(alignment.matrix)
    face = compared & in_regions(template, model, stable_regions(FACE))
    if not face.any():
        raise InputError(f"{visit.name}: no part of the face is shown on both sides; scan it from the front")
    index = float(np.sqrt(np.average(height[face] ** 2, weights=area[face])))
    return Asymmetry(
        vertices, height, compared, point, normal, alignment, index,
        _by_region(template, model, height, area, compared),
    )  # fmt: skip


def mirror_plane(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A point (3,) and the unit normal (3,) of the plane of the reflection that mirrors x and then moves by (4, 4).

    A motion along the plane, which no reflection has, is left out.
    """
    linear = matrix[:3, :3] @ _MIRROR
    # of a reflection the eigenvector of eigenvalue -1
    values, vectors = np.linalg.eigh(0.5 * (linear + linear.T))
    normal = vectors[:, int(values.argmin())]
    normal = normal if normal[0] > 0.0 else -normal
    point: FloatArray = 0.5 * float(matrix[:3, 3] @ normal) * normal
    return point, normal


def _by_region(
    template: TemplateSurface, model: Model, height: FloatArray, area: FloatArray, compared: BoolArray
) -> dict[str, dict[str, float]]:
    shares = region_shares(template, model)
    found = {}
    for region in REGIONS:
        weight = np.where(compared, shares[:, region.index] * area, 0.0)
        if weight.sum() < _LEAST_MM2:
            continue
        moved = np.where(compared, height, 0.0)
        found[region.name] = {
            "mean_mm": round(float(weight @ moved / weight.sum()), 3),
            "rms_mm": round(float(np.sqrt(weight @ moved**2 / weight.sum())), 3),
            "area_cm2": round(float(weight.sum() / 100.0), 2),
        }
    return found
