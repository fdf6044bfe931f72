"""A few points of the template carried to a head, without the rest of the template.

Some hundred points are blended and projected onto the zero set in milliseconds, fast enough to solve for a measurement.
Each point lies on the surface itself, not in the plane of the triangle that holds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, CANONICAL_JAW_OPEN
from imhead.isosurface.field import HeadField, expression_code
from imhead.measure.landmarks import SurfacePlaces, landmark_places, patch_faces
from imhead.regions import REGION_COUNT
from imhead.surfaces.normals import vertex_normals
from imhead.template.projection import ProjectionConfig, onto_zero_set
from imhead.template.surface import TemplateSurface, template_of
from imhead.types import FloatArray, Head, IntArray

_NEUTRAL = ProjectionConfig(reach_mm=4.0, least_cosine=0.4, sure_cosine=0.7)


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Points that move with a template. L points."""

    mean: FloatArray
    """(L, 3) on the mean head, canonical pose, mm."""
    basis: FloatArray
    """(39, 64, L, 3) mm that one unit of a region's code moves each point."""
    share: FloatArray
    """(L,) 1 for points on the zero set, 0 for those that the template alone places."""
    shut: FloatArray
    """(L, 3) step from the canonical pose to the neutral face, mm."""
    canonical_normals: FloatArray
    """(L, 3) unit normals of the mean head in the canonical pose."""
    neutral_normals: FloatArray
    """(L, 3) the same for the neutral face."""

    def blend(self, z: FloatArray) -> FloatArray:
        """Canonical points (L, 3) of region codes (39, 64): linear, without the field."""
        return self.mean + np.tensordot(z, self.basis, axes=2)

    def chosen(self, rows: IntArray) -> SurfacePoints:
        """The points of some rows."""
        return SurfacePoints(
            self.mean[rows], self.basis[:, :, rows], self.share[rows], self.shut[rows], self.canonical_normals[rows],
            self.neutral_normals[rows],
        )  # fmt: skip

    def on_head(self, model: Model, head: Head) -> FloatArray:
        """Points (L, 3) on the zero set of the head's neutral face, head frame, mm."""
        field = HeadField(model, head, expression_code(model, {}))
        start = self.blend(field.regional.z[0].cpu().numpy())
        canonical = onto_zero_set(field.canonical_sdf, start, self.canonical_normals, self.share)
        return onto_zero_set(field.skin_sdf, canonical + self.shut, self.neutral_normals, self.share, _NEUTRAL)


def surface_points(template: TemplateSurface, model: Model, places: SurfacePlaces) -> SurfacePoints:
    """The points at given places of a template."""
    used, corners = np.unique(places.corners, return_inverse=True)
    local = SurfacePlaces(corners.reshape(places.corners.shape), places.weights)
    shut = -CANONICAL_JAW_OPEN * template.shapes[ARKIT_NAMES.index("jawOpen")]
    return SurfacePoints(
        mean=places.of(template.mean.astype(np.float64)),
        basis=np.moveaxis(local.of(_basis(template, model, used)), 0, 2),
        share=places.of(template.on_surface.astype(np.float64)),
        shut=places.of(shut.astype(np.float64)),
        canonical_normals=_unit(places.of(vertex_normals(template.mean, template.faces)[0])),
        neutral_normals=_unit(places.of(vertex_normals(template.mean + shut, template.faces)[0])),
    )


def _basis(template: TemplateSurface, model: Model, vertices: IntArray) -> FloatArray:
    """(n, 39, 64, 3) the linear map of `TemplateSurface.blend` for some vertices."""
    parity = model.net.region_parity.cpu().numpy()
    mirror = model.net.mirror.cpu().numpy()
    twin = template.twin[vertices]
    basis = np.zeros((len(vertices), REGION_COUNT, parity.shape[1], 3))
    for sources, flip in ((vertices, False), (twin, True)):
        for row, stored in enumerate(sources):
            if stored >= template.half:
                continue
            pairs = np.flatnonzero(template.pair_vertex == stored)
            # on the midline both halves contribute, so each counts half
            share = 0.5 if template.twin[stored] == stored else 1.0
            for region, matrix in zip(template.pair_region[pairs], share * template.basis[pairs].astype(np.float64)):
                if flip:
                    basis[row, mirror[region]] += parity[region][:, None] * matrix * [-1.0, 1.0, 1.0]
                else:
                    basis[row, region] += matrix
    return basis


def _unit(vectors: FloatArray) -> FloatArray:
    result: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return result


@lru_cache(maxsize=4)
def landmark_points(model: Model) -> SurfacePoints:
    """The landmarks of a model, in the order of `landmark_names`.

    Raises:
        InputError: the model has no template.
    """
    return surface_points(template_of(model), model, landmark_places())


@lru_cache(maxsize=4)
def patch_points(model: Model, name: str) -> tuple[SurfacePoints, IntArray]:
    """The vertices (n, 3) of a patch of a model's template, and its faces (F, 3) among them.

    Raises:
        InputError: the model has no template.
    """
    used, faces = np.unique(patch_faces(name), return_inverse=True)
    places = SurfacePlaces(np.repeat(used[:, None], 3, axis=1), np.tile([1.0, 0.0, 0.0], (len(used), 1)))
    return surface_points(template_of(model), model, places), faces.reshape(-1, 3)
