"""Where scan points lie on the template: closest points whose normals agree, with robust weights.

Shape legend: N points, M of them matched, V vertices, F faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import igl
import numpy as np
from scipy.sparse import csr_matrix

from imhead.fitting.scan_points import ScanPoints
from imhead.registration.config import RegistrationConfig
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.properties import face_cross
from imhead.template.projection import smoothstep
from imhead.template.surface import TemplateSurface
from imhead.template.topology import SKIN
from imhead.types import BoolArray, FloatArray, IntArray

_STRAIGHT = 0.5  # a point whose way to its place is flatter than this lies beside the template, not over it
_CLOSE_MM = 0.3  # nearer than this the way says nothing


@dataclass(frozen=True, eq=False)
class Matches:
    """Scan points matched with places on the template."""

    corners: IntArray
    """(M, 3) vertices of the face that holds each place."""
    shares: FloatArray
    """(M, 3) their barycentric weights."""
    normals: FloatArray
    """(M, 3) unit normals of the template at the places."""
    height_mm: FloatArray
    """(M,) signed distance of each point over its place, along the normal."""
    weight: FloatArray
    """(M,) inverse variance, 1/mm², times the robust weight."""

    def rows(self, vertices: int) -> csr_matrix:
        """(M, 3 · vertices): change of the heights for a displacement (vertices, 3) of the template."""
        values = self.shares[:, :, None] * self.normals[:, None, :]
        columns = 3 * self.corners[:, :, None] + np.arange(3)
        starts = np.arange(len(self.corners) + 1) * 9
        return csr_matrix((values.ravel(), columns.ravel(), starts), shape=(len(self.corners), 3 * vertices))

    def at_vertices(self, vertices: int) -> tuple[FloatArray, FloatArray]:
        """Mean height (V,), and summed weight (V,), of the points around each vertex."""
        shared = self.shares * self.weight[:, None]
        weight: FloatArray = np.bincount(self.corners.ravel(), shared.ravel(), vertices).astype(np.float64)
        scaled = shared * self.height_mm[:, None]
        total: FloatArray = np.bincount(self.corners.ravel(), scaled.ravel(), vertices).astype(np.float64)
        return total / np.maximum(weight, 1e-12), weight


def shown_faces(template: TemplateSurface) -> BoolArray:
    """(F,) bool: faces of the skin that a scanner can see."""
    seen = (template.part == SKIN) & (template.on_surface > 0.5)
    shown: BoolArray = seen[template.faces].all(axis=1)
    return shown


def match(
    template: TemplateSurface, vertices: FloatArray, points: ScanPoints, robust_mm: float, config: RegistrationConfig
) -> Matches:
    """Match scan points with a posed template (V, 3).

    A point is left out where its nearest face is not shown skin: an eyeball, the mouth inside, the back of a lid.
    """
    squared, face, place = igl.point_mesh_squared_distance(points.points, vertices, template.faces)
    distance = np.sqrt(np.maximum(squared, 0.0))
    corners = template.faces[face]
    shares = _barycentric(place, vertices[corners])
    smooth, _ = vertex_normals(vertices, template.faces)
    normals = np.einsum("nk,nkc->nc", shares, smooth[corners])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-30)
    height = np.einsum("nc,nc->n", points.points - place, normals)
    cosine = np.einsum("nc,nc->n", points.normals, normals)
    if not points.oriented:
        cosine = np.abs(cosine)
    elif np.median(cosine) < 0.0:
        cosine = -cosine  # an inside-out scan
    scale = max(robust_mm, config.robust_noise * points.noise_mm)
    kept = shown_faces(template)[face] & (distance < max(config.reach_mm, 2.0 * scale))
    kept &= (np.abs(height) > _STRAIGHT * distance) | (distance < _CLOSE_MM)
    precision = points.share / (config.point_sigma_mm**2 + points.noise_mm**2)
    robust = (scale**2 / (scale**2 + height**2)) ** 2
    weight = np.where(kept, smoothstep(*config.normal_gate, cosine) * robust * precision, 0.0)
    used = weight > 0.0
    return Matches(corners[used], shares[used], normals[used], height[used], weight[used])


def _barycentric(places: FloatArray, triangles: FloatArray) -> FloatArray:
    """Barycentric weights (N, 3) of places (N, 3) in triangles (N, 3, 3)."""
    flat = np.arange(3 * len(triangles)).reshape(-1, 3)
    whole = face_cross(triangles.reshape(-1, 3), flat)
    size = np.einsum("nc,nc->n", whole, whole).clip(1e-30)
    shares = np.empty((len(places), 3))
    for k in range(3):
        one, other = triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]
        shares[:, k] = np.einsum("nc,nc->n", np.cross(one - places, other - places), whole) / size
    shares = shares.clip(0.0, 1.0)
    result: FloatArray = shares / shares.sum(axis=1, keepdims=True).clip(1e-30)
    return result
