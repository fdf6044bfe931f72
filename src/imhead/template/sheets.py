"""The template's thin walls, such as lips, nose wings and ears, and its shut lips: pairs of opposite vertices.

Shape legend: M pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, CANONICAL_JAW_OPEN
from imhead.regions import CENTERS_MM, RADII_MM, resolve
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.rays import first_hit, ray_caster
from imhead.surfaces.sampling import even_subset
from imhead.template.surface import has_template, template_of
from imhead.template.topology import LEFT_EYE
from imhead.types import BoolArray, IntArray, Mesh

_MAX_WALL_MM, _MIN_WALL_MM = 20.0, 0.4
_MAX_GAP_MM = 4.0
_SPACING_MM = 1.8
_MAX_COSINE = -0.2  # between the outward normals of two opposite sheets
_START_MM = 0.02


@dataclass(frozen=True, eq=False)
class Sheets:
    """Pairs of opposite vertices of the template."""

    near: IntArray
    """(M,)."""
    far: IntArray
    """(M,)."""
    wall: BoolArray
    """(M,) True for the two sides of a wall, False for two lips across the mouth."""


@lru_cache(maxsize=4)
def opposite_sheets(model: Model) -> Sheets | None:
    """The walls of the mean head and its shut lips; None for a model without a template."""
    if not has_template(model):
        return None
    template = template_of(model)
    faces = template.faces[(template.part[template.faces] < LEFT_EYE).all(axis=1)]
    walls = _pairs(Mesh(template.mean, faces), -1.0, _MIN_WALL_MM, _MAX_WALL_MM)
    shut = template.mean - CANONICAL_JAW_OPEN * template.shapes[ARKIT_NAMES.index("jawOpen")]
    mouth = [region.index for region in resolve("mouth")]
    near, far = _pairs(Mesh(shut, faces), 1.0, 0.0, _MAX_GAP_MM)
    held = (np.linalg.norm(template.mean[near][:, None] - CENTERS_MM[mouth], axis=2) < RADII_MM[mouth]).any(axis=1)
    gaps = near[held], far[held]
    kind = np.arange(len(walls[0]) + len(gaps[0])) < len(walls[0])
    return Sheets(np.concatenate([walls[0], gaps[0]]), np.concatenate([walls[1], gaps[1]]), kind)


def _pairs(mesh: Mesh, side: float, least_mm: float, most_mm: float) -> tuple[IntArray, IntArray]:
    """Vertices (M,), and the vertices (M,) that face them along the normal (`side` 1) or against it (-1)."""
    normals = vertex_normals(mesh.vertices, mesh.faces)[0]
    near = np.unique(mesh.faces)
    near = near[even_subset(mesh.vertices[near], _SPACING_MM)]
    way = side * normals[near]
    hit = first_hit(ray_caster(mesh), mesh.vertices[near] + _START_MM * way, way)
    near, hit = near[hit >= 0], hit[hit >= 0]
    corners = mesh.faces[hit]
    apart = np.linalg.norm(mesh.vertices[corners] - mesh.vertices[near][:, None], axis=2)
    far = corners[np.arange(len(hit)), apart.argmin(axis=1)]
    opposite = np.einsum("mc,mc->m", normals[near], normals[far]) < _MAX_COSINE
    kept = opposite & (apart.min(axis=1) >= least_mm) & (apart.min(axis=1) < most_mm)
    return near[kept], far[kept]
