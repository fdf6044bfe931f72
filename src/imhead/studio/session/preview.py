"""The surface under a drag: that of the head at rest, computed anew only where the edit changes it.

    at rest ── + (blend after − blend before) ──► where the field changed: one Newton step ──► quick
                                                  where the field changed: projected as the template does ──► exact

The template projects each vertex by itself, so a part of them can be projected alone. Quick takes one value of the
field for each vertex near the edit; exact takes about eight where it changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, CANONICAL_JAW_OPEN, MODEL_UNIT_MM
from imhead.isosurface.field import HeadField, eyes_of
from imhead.surfaces.normals import vertex_normals
from imhead.template.projection import ProjectionConfig, onto_zero_set
from imhead.template.surface import POSED_PROJECTION, TemplateSurface, arkit_weights, posed_blend, template_of
from imhead.template.topology import LEFT_EYE
from imhead.types import BoolArray, FloatArray, Head, IntArray, Mesh

_CHANGE_MM = 0.02  # of the field at a vertex, or of the vertex: below it, the vertex stays as it is
_ON_SURFACE_MM = 0.05
_LONGEST_STEP_MM = 3.0
_CANONICAL, _FEWER = ProjectionConfig(), 1  # two Newton steps instead of four leave less than _CHANGE_MM


@dataclass(frozen=True, eq=False)
class Change:
    """A head that differs from the one at rest by an edit."""

    head: Head
    """The head after the edit."""
    rows: IntArray
    """(n,) vertices that the edit moves."""
    quick: Mesh
    """Its surface but for folds: vertices on the zero set where those of the head at rest were."""


class Preview:
    """Surfaces of heads that differ from a head at rest by an edit.

    Args:
        model: the model of the heads.
        head: the head at rest.
        mesh: its exact surface.
        loose: (V, 3) the vertices of that surface before self-intersections were taken apart.
        normals: (V, 3) its unit normals.
    """

    def __init__(self, model: Model, head: Head, mesh: Mesh, loose: FloatArray, normals: FloatArray) -> None:
        self.model, self.head = model, head
        self._template = template_of(model)
        self._mesh, self._loose, self._normals = mesh, loose, normals
        field = HeadField(model, head)
        self._skin = self._template.part < LEFT_EYE
        self._off = np.zeros(len(loose))
        self._off[self._skin] = field.skin_sdf(mesh.vertices[self._skin])
        self._canonical = field.canonical(mesh.vertices) / MODEL_UNIT_MM
        self._eyes = field.eyes
        self._codes, self._keypoints = _codes_and_keypoints(field)
        self._blend = posed_blend(self._template, model, self._codes, arkit_weights(model, head.z_exp))

    def change(self, head: Head) -> Change:
        """The vertices that differ between a head and the one at rest, and the quick surface."""
        field, template = HeadField(self.model, head), self._template
        codes, keypoints = _codes_and_keypoints(field)
        step = posed_blend(template, self.model, codes, arkit_weights(self.model, head.z_exp)) - self._blend
        moved = np.abs(step).max(axis=1) > _CHANGE_MM
        near = np.flatnonzero((self._in_balls(codes, keypoints) | moved) & self._skin)
        vertices = self._mesh.vertices + step
        change = field.skin_sdf(vertices[near]) - self._off[near]
        changed = (np.abs(change) > _CHANGE_MM) | moved[near]
        rows, along = near[changed], np.clip(change[changed], -_LONGEST_STEP_MM, _LONGEST_STEP_MM)
        # only where the head at rest lies on the zero set does the field say where its skin goes
        share = template.on_surface[rows] * (np.abs(self._off[rows]) < _ON_SURFACE_MM)
        vertices[rows] -= (share * along)[:, None] * self._normals[rows]
        placed = template.with_eyes(self.model, vertices, field.eyes)
        if np.array_equal(field.eyes, self._eyes):
            kept = np.ones(len(placed), dtype=bool)
            kept[rows] = False
            placed[kept] = self._mesh.vertices[kept]
        return Change(head, rows, Mesh(placed, template.faces))

    def exact(self, change: Change) -> Mesh:
        """The exact surface of a changed head, to some hundredths of a millimetre."""
        loose = self._loose.copy()
        loose[change.rows] = projected(
            self._template, HeadField(self.model, change.head), change.head, change.rows, _FEWER
        )
        eyes, weights = (
            eyes_of(self.model, change.head, change.head.z_exp),
            arkit_weights(self.model, change.head.z_exp),
        )
        return Mesh(self._template.settled(self.model, loose, eyes, weights), self._template.faces)

    def _in_balls(self, codes: FloatArray, keypoints: FloatArray) -> BoolArray:
        """(V,) whether a vertex lies in the ball of a region that has changed, before or after."""
        inside = np.zeros(len(self._canonical), dtype=bool)
        radius = self.model.net.radius.cpu().numpy()
        for row in np.flatnonzero((codes != self._codes).any(axis=1)):
            for center in (self._keypoints[row], keypoints[row]):
                inside |= ((self._canonical - center) ** 2).sum(axis=1) < radius[row] ** 2
        return inside


def projected(
    template: TemplateSurface, field: HeadField, head: Head, rows: IntArray, steps: int | None = None
) -> FloatArray:
    """Vertices (n, 3) of a head's skin as the template projects them, before it takes self-intersections apart, mm.

    Args:
        rows: (n,) the vertices.
        steps: of each projection; with fewer than the template's own, a vertex that lies on the posed zero set already
            is not projected again.
    """
    few = steps is not None
    canonical, posed = (replace(c, steps=steps) if steps is not None else c for c in (_CANONICAL, POSED_PROJECTION))
    shut = CANONICAL_JAW_OPEN * template.shapes[ARKIT_NAMES.index("jawOpen")]
    expressed = np.tensordot(arkit_weights(field.model, head.z_exp), template.shapes, axes=(0, 0))
    start = field.before_residual(template.blend(field.model, field.regional.z[0].cpu().numpy())[rows])
    normals = vertex_normals(template.mean, template.faces)[0][rows]
    placed = onto_zero_set(field.canonical_sdf, start, normals, template.on_surface[rows], canonical)
    placed = placed - shut[rows] + expressed[rows]
    normals = vertex_normals(template.mean - shut + expressed, template.faces)[0][rows]
    share = template.posed_share[rows]
    if few:
        share = np.where(np.abs(field.skin_sdf(placed)) > _CHANGE_MM, share, 0.0)
    return onto_zero_set(field.skin_sdf, placed, normals, share, posed)


def _codes_and_keypoints(field: HeadField) -> tuple[FloatArray, FloatArray]:
    """Region codes (39, 64) and keypoints (39, 3), the latter in model units."""
    return field.regional.z[0].cpu().numpy(), field.regional.keypoints[0].cpu().numpy()
