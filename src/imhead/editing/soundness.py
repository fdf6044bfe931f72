"""Whether the skin near some regions is sound: no tear, no fold, no sheet through another, no thin wall pierced.

Shape legend: n vertices and F faces of the template near the regions, M walls among them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imhead.checkpoint import Model
from imhead.editing.smoothness import in_balls
from imhead.editing.steps import Regions, region_codes
from imhead.isosurface.field import HeadField
from imhead.regions import CENTERS_MM, REGIONS
from imhead.surfaces.crossings import crossing_edges, edges_of
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.properties import face_cross
from imhead.surfaces.visibility import visible_faces
from imhead.template.projection import ProjectionConfig, onto_zero_set
from imhead.template.sheets import opposite_sheets
from imhead.template.surface import template_of
from imhead.types import BoolArray, FloatArray, Head, IntArray, Mesh

_TORN_MM = 0.8  # a vertex that stays this far off the surface lies where there is none
_FOLDED_COSINE = -0.2  # between the normals of a face and of the same face on the mean head
_PIERCED_MM = 0.02  # depth within a wall, anywhere across it, below which the wall counts as pierced
_ACROSS = (0.15, 0.3, 0.7, 0.85)  # places across a wall that are looked at besides its middle
_ALLOWED = {"pierced": 0, "torn": 15, "folded": 20, "crossing": 40}
"""So many places more than before do not show: where lids and lips touch, the template takes them apart."""
_PROJECTION = ProjectionConfig(steps=3)
_WALLED = ("nose", "left_ear", "right_ear")
MOST_PIERCED = 10
"""Places of nose wings and ears that may be pierced: with more, holes show."""
_FEW_INVERTED = 5
_SEPTUM_MM = 8.0  # from the middle of the face


@dataclass(frozen=True, eq=False)
class SkinPatch:
    """The template near some regions, in the canonical pose."""

    model: Model
    vertices: IntArray
    """(n,) rows of the template."""
    normals: FloatArray
    """(n, 3) unit normals on the mean head."""
    share: FloatArray
    """(n,) 1 for vertices on the zero set, 0 for those that the template alone places."""
    seen: BoolArray
    """(n,) vertices that are seen from outside; what is wrong deep in a nostril or behind the lips does not count."""
    faces: IntArray
    """(F, 3) among these vertices, those that are seen from outside."""
    edges: IntArray
    """(E, 2) of these faces."""
    face_normals: FloatArray
    """(F, 3) unit normals on the mean head."""
    near: IntArray
    """(M,) one side of each wall, among these vertices."""
    far: IntArray
    """(M,) its other side."""

    def fault(self, head: Head, before: FaultCounts | None = None) -> tuple[FaultCounts, str]:
        """What is wrong with a head's skin; the sentence is empty unless much more is than with the head before.

        The cheaper checks come first; with `before`, the search ends at the first fault.
        """
        field = HeadField(self.model, head)
        points = template_of(self.model).blend(self.model, region_codes(self.model, head))[self.vertices]
        points = onto_zero_set(field.canonical_sdf, points, self.normals, self.share, _PROJECTION)
        checks: tuple[tuple[str, str, Callable[[], FloatArray]], ...] = (
            ("pierced", "a thin wall would be pierced", lambda: self._pierced(field, points)),
            ("torn", "the skin would tear", lambda: self._torn(field, points)),
            ("folded", "the skin would fold over", lambda: self._folded(points)),
            ("crossing", "the skin would pass through itself", lambda: self._crossing(points)),
        )
        counts: dict[str, int] = {}
        for name, sentence, places in checks:
            found = places()
            counts[name] = len(found)
            if before is not None and len(found) > before.get(name, 0) + _ALLOWED[name]:
                return counts, f"{sentence} at the {_region_near(found)}"
        return counts, ""

    def _pierced(self, field: HeadField, points: FloatArray) -> FloatArray:
        near, far = points[self.near], points[self.far]
        middles = 0.5 * (near + far)
        out = np.flatnonzero(field.canonical_sdf(middles) > -_PIERCED_MM)
        for part in _ACROSS:  # the sheets slide along each other: a wall is pierced where nothing of it is left
            places = near[out] + part * (far[out] - near[out])
            out = out[field.canonical_sdf(places) > -_PIERCED_MM] if len(out) else out
        return middles[out]

    def _torn(self, field: HeadField, points: FloatArray) -> FloatArray:
        checked = points[self.seen & (self.share > 0.99)]
        return checked[np.abs(field.canonical_sdf(checked)) > _TORN_MM]

    def _folded(self, points: FloatArray) -> FloatArray:
        cross = face_cross(points, self.faces)
        cosine = (cross * self.face_normals).sum(axis=1) / np.maximum(np.linalg.norm(cross, axis=1), 1e-9)
        return points[self.faces[cosine < _FOLDED_COSINE, 0]]

    def _crossing(self, points: FloatArray) -> FloatArray:
        return points[crossing_edges(points, self.faces, self.edges)[:, 0]]


FaultCounts = dict[str, int]
"""Kind of fault → how many places have it."""


def pierced_walls(model: Model, head: Head) -> int:
    """How many places of nose wings and ears are pierced; 0 without a template."""
    if _inverted_walls(model, head) <= _FEW_INVERTED:  # much cheaper, and no head with holes has so few
        return 0
    regions = tuple(region for region in REGIONS if region.group in _WALLED)
    return skin_patch(model, regions).fault(head)[0]["pierced"]


def _inverted_walls(model: Model, head: Head) -> int:
    """How many places of nose wings and ears are inside out by the template's linear blend; 0 without a template."""
    walls = _wings_and_ears(model)
    if walls is None:
        return 0
    near, far = walls
    template = template_of(model)
    points = template.blend(model, region_codes(model, head))
    normals = vertex_normals(points, template.faces)[0]
    thickness = ((points[near] - points[far]) * (normals[near] - normals[far])).sum(axis=1)
    return int(np.count_nonzero(thickness < 0.0))


@lru_cache(maxsize=4)
def _wings_and_ears(model: Model) -> tuple[IntArray, IntArray] | None:
    """Opposite vertices (M,) and (M,) of the walls of nose wings and ears; the septum stands for itself."""
    sheets = opposite_sheets(model)
    if sheets is None:
        return None
    near, far = sheets.near[sheets.wall], sheets.far[sheets.wall]
    mean = template_of(model).mean
    middles = 0.5 * (mean[near] + mean[far])
    region = np.linalg.norm(middles[:, None] - CENTERS_MM, axis=2).argmin(axis=1)
    chosen = np.array([REGIONS[k].group in _WALLED for k in region]) & (np.abs(middles[:, 0]) > _SEPTUM_MM)
    return near[chosen], far[chosen]


@lru_cache(maxsize=32)
def skin_patch(model: Model, regions: Regions) -> SkinPatch:
    """The skin that an edit of some regions can reach.

    Raises:
        InputError: the model has no template.
    """
    template, sheets = template_of(model), opposite_sheets(model)
    near = in_balls(template, regions)
    seen = _seen_faces(model)
    on_seen = np.isin(np.arange(len(near)), template.faces[seen])
    walls: BoolArray = np.zeros(0, dtype=bool) if sheets is None else sheets.wall & near[sheets.near] & near[sheets.far]
    # each vertex is placed on its own, so those that no check looks at are left out
    looked_at = near & on_seen
    if sheets is not None:
        looked_at[sheets.near[walls]] = looked_at[sheets.far[walls]] = True
    vertices = np.flatnonzero(looked_at)
    row = np.full(len(near), -1)
    row[vertices] = np.arange(len(vertices))
    faces = row[template.faces[seen & near[template.faces].all(axis=1)]]
    cross = face_cross(template.mean[vertices].astype(np.float64), faces)
    return SkinPatch(
        model=model,
        vertices=vertices,
        normals=vertex_normals(template.mean, template.faces)[0][vertices],
        share=template.on_surface[vertices],
        seen=on_seen[vertices],
        faces=faces,
        edges=edges_of(faces),
        face_normals=cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-9),
        near=row[sheets.near[walls]] if sheets is not None else vertices[:0],
        far=row[sheets.far[walls]] if sheets is not None else vertices[:0],
    )


@lru_cache(maxsize=4)
def _seen_faces(model: Model) -> BoolArray:
    """(F,) faces of the template that are seen from outside on the mean head."""
    template = template_of(model)
    seen: BoolArray = visible_faces(Mesh(template.mean, template.faces))
    return seen


def _region_near(places: FloatArray) -> str:
    """Name of the region nearest to most of the places (N, 3), for a sentence."""
    nearest = np.linalg.norm(places[:, None] - CENTERS_MM, axis=2).argmin(axis=1)
    return REGIONS[int(np.bincount(nearest).argmax())].name.replace("_", " ")
