"""Signed distance between two states of one template, along the normals of the first.

Shape legend: V vertices of the template, N of them asked for, F faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.registration.matching import shown_faces
from imhead.surfaces.rays import Caster, first_hit, ray_caster
from imhead.template.surface import TemplateSurface
from imhead.types import BoolArray, FloatArray, IntArray, Mesh


@dataclass(frozen=True, eq=False)
class Target:
    """A surface ready to be looked for along normals."""

    vertices: FloatArray
    """(V, 3) of the template, mm."""
    caster: Caster
    """Of the skin that a scanner can see."""
    faces: IntArray
    """(F, 3) its faces, in vertices of the template."""
    left_mm: FloatArray
    """(V,) how far the scan lies over the template at each vertex."""


@dataclass(frozen=True, eq=False)
class Crossing:
    """Where N normals meet a target."""

    height_mm: FloatArray
    """(N,) signed distance along the normal, with what the registration left; NaN where it meets nothing near."""
    corners: IntArray
    """(N, 3) vertices of the face that is met."""
    shares: FloatArray
    """(N, 3) barycentric weights of the place in it."""
    normals: FloatArray
    """(N, 3) of that face."""


def target(template: TemplateSurface, vertices: FloatArray, left_mm: FloatArray) -> Target:
    """The shown skin of a template (V, 3) as a target."""
    faces = template.faces[shown_faces(template)]
    return Target(vertices, ray_caster(Mesh(vertices, faces)), faces, left_mm)


def crossings(
    target: Target, rows: IntArray, places: FloatArray, normals: FloatArray, reach_mm: float, least_cosine: float
) -> Crossing:
    """Where normals at places meet a target, nearest to the height at which its own vertices stand.

    Args:
        target: whose faces look the same way as the normals.
        rows: (N,) vertices of the template that the places are.
        places: (N, 3) mm, in the frame of the target.
        normals: (N, 3) unit vectors.
        reach_mm: crossings farther from the height of the target's own vertex do not count: they are other folds.
        least_cosine: of the normals of both surfaces.
    """
    count = len(places)
    expected = np.einsum("nc,nc->n", target.vertices[rows] - places, normals)
    start = places + expected[:, None] * normals
    height = np.full(count, np.inf)
    found = np.full(count, -1, dtype=np.int64)
    for sign in (1.0, -1.0):
        # from a little behind, so that a surface in the same place is met
        face = first_hit(target.caster, start - sign * 1e-3 * normals, sign * normals)
        met = face >= 0
        corner, cross = target.caster.corners[face, 0], target.caster.normals[face]
        slope = np.einsum("nc,nc->n", cross, normals)
        size = np.linalg.norm(cross, axis=1)
        along = np.einsum("nc,nc->n", corner - start, cross) / np.where(slope == 0.0, np.inf, slope)
        met &= (slope > least_cosine * size) & (np.abs(along) < reach_mm) & (np.abs(along) < np.abs(height))
        height[met], found[met] = along[met], face[met]
    height += expected
    met = found >= 0
    corners = np.where(met[:, None], target.faces[found], 0)
    shares = np.zeros((count, 3))
    shares[met] = _shares(places[met] + height[met, None] * normals[met], target.caster.corners[found[met]])
    across = target.caster.normals[found] / np.linalg.norm(target.caster.normals[found], axis=1, keepdims=True)
    left = np.einsum("nk,nk->n", shares, target.left_mm[corners])
    return Crossing(np.where(met, height + left, np.nan), corners, shares, across)


def _shares(places: FloatArray, corners: FloatArray) -> FloatArray:
    """Barycentric weights (N, 3) of places (N, 3) in the planes of triangles (N, 3, 3)."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    cross = np.cross(first, second)
    area = np.einsum("nc,nc->n", cross, cross).clip(1e-30)
    offset = places - corners[:, 0]
    u = np.einsum("nc,nc->n", np.cross(offset, second), cross) / area
    v = np.einsum("nc,nc->n", np.cross(first, offset), cross) / area
    shares = np.stack([1.0 - u - v, u, v], axis=1).clip(0.0, 1.0)
    result: FloatArray = shares / shares.sum(axis=1, keepdims=True)
    return result


def shown_vertices(template: TemplateSurface) -> BoolArray:
    """(V,) vertices of the skin that a scanner can see."""
    shown = np.zeros(len(template.part), dtype=bool)
    shown[template.faces[shown_faces(template)]] = True
    return shown
