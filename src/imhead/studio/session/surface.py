"""The surface of a head, quick or exact, and where the regions lie on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import MODEL_UNIT_MM
from imhead.editing import region_codes
from imhead.isosurface.field import LEAST_SLOPE, HeadField, eyes_of
from imhead.studio.session.preview import Preview, projected
from imhead.surfaces.normals import vertex_normals
from imhead.template.surface import arkit_weights, posed_blend, template_of
from imhead.template.topology import LEFT_EYE
from imhead.types import FloatArray, Head, IntArray, Mesh

_LEAST_COSINE = 0.6  # between field and triangle normal; below it, only the triangles count


@dataclass(frozen=True, eq=False)
class RegionMap:
    """Where the regions lie on a mesh."""

    mesh: Mesh
    """The mesh."""
    influence: FloatArray
    """(V, 39) depth of each vertex in each region's ball: 1 at the centre, 0 outside."""

    @property
    def owner(self) -> IntArray:
        """(V,) row of the region in whose ball a vertex lies deepest."""
        owners: IntArray = self.influence.argmax(axis=1)
        return owners


def map_regions(model: Model, head: Head, mesh: Mesh) -> RegionMap:
    """Locate the regions on the mesh of a head."""
    field = HeadField(model, head)
    canonical = field.canonical(mesh.vertices) / MODEL_UNIT_MM
    centers = field.regional.keypoints[0].cpu().numpy()
    radius = model.net.radius.cpu().numpy()
    # |x|² - 2 x·k + |k|² avoids an array of (V, 39, 3)
    squared = (canonical**2).sum(axis=1)[:, None] - 2.0 * canonical @ centers.T + (centers**2).sum(axis=1)
    depth = 1.0 - np.sqrt(np.maximum(squared, 0.0)) / radius
    return RegionMap(mesh, np.maximum(depth, 0.0).astype(np.float32))


@dataclass(frozen=True, eq=False)
class ExactSurface:
    """The template of a head on its zero set."""

    mesh: Mesh
    """The template's mesh, its vertices on the zero set."""
    normals: FloatArray
    """(V, 3) unit normals, from the field's gradient where it is reliable."""
    loose: FloatArray
    """(V, 3) the vertices before self-intersections were taken apart."""


class SurfaceCache:
    """Exact surfaces of heads. The last two are kept: usually a head now and before."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._recent: list[tuple[Head, ExactSurface]] = []
        self._preview: Preview | None = None

    def of(self, head: Head) -> ExactSurface:
        """The exact surface of a head."""
        for row, (known, surface) in enumerate(self._recent):
            if known is head or same_surface(known, head):
                self._recent.append(self._recent.pop(row))
                return surface
        template, field = template_of(self.model), HeadField(self.model, head)
        template.check(self.model, head)
        skin = template.part < LEFT_EYE
        loose = template.mean.astype(np.float64)
        loose[skin] = projected(template, field, head, np.flatnonzero(skin))
        eyes, weights = eyes_of(self.model, head, head.z_exp), arkit_weights(self.model, head.z_exp)
        mesh = Mesh(template.settled(self.model, loose, eyes, weights), template.faces)
        surface = ExactSurface(mesh, smooth_normals(mesh, field.gradient(mesh.vertices)), loose)
        self._recent = [*self._recent[-1:], (head, surface)]
        return surface

    def holds(self, head: Head) -> bool:
        """Whether the surface of a head is in the cache."""
        return any(known is head or same_surface(known, head) for known, _ in self._recent)

    def preview(self, head: Head) -> Preview | None:
        """What shows a head that differs from a kept one by an edit; None if there is no such head."""
        for known, surface in reversed(self._recent):
            if np.array_equal(known.z_id, head.z_id):
                if self._preview is None or self._preview.head is not known:
                    self._preview = Preview(self.model, known, surface.mesh, surface.loose, surface.normals)
                return self._preview
        return None

    def clear(self) -> None:
        """Free the surfaces."""
        self._recent, self._preview = [], None


def same_surface(one: Head, other: Head) -> bool:
    """Whether two heads have equal codes and the same residual, and so the same surface."""
    return one.residual is other.residual and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("z_id", "z_exp", "offsets", "eyes")
    )


def smooth_normals(mesh: Mesh, gradients: FloatArray) -> FloatArray:
    """(V, 3) unit normals: the field's, blended towards the triangles' where the two disagree."""
    flat = vertex_normals(mesh.vertices, mesh.faces)[0]
    size = np.linalg.norm(gradients, axis=1, keepdims=True)
    normals = gradients / np.maximum(size, LEAST_SLOPE)
    agree = (normals * flat).sum(axis=1, keepdims=True)
    weight = np.clip((agree - _LEAST_COSINE) / (1.0 - _LEAST_COSINE), 0.0, 1.0)
    mixed = weight * normals + (1.0 - weight) * flat
    unit: FloatArray = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return unit


def quick_mesh(model: Model, head: Head) -> Mesh:
    """A head's template in a few milliseconds; its vertices lie near the exact surface, not on it."""
    template = template_of(model)
    vertices = posed_blend(template, model, region_codes(model, head), arkit_weights(model, head.z_exp))
    return Mesh(template.with_eyes(model, vertices, eyes_of(model, head, head.z_exp)), template.faces)
