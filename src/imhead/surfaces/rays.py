"""Rays against a mesh: the first face that each ray hits.

Shape legend: N rays, F faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.surfaces.properties import face_cross
from imhead.surfaces.ray_tree import RayTree, ray_tree
from imhead.types import FloatArray, IntArray, Mesh

_RAYS_AT_ONCE = 1 << 18


@dataclass(frozen=True, eq=False)
class Caster:
    """A mesh ready for rays."""

    tree: RayTree | None
    """None for a mesh without faces, which has no tree."""
    corners: FloatArray
    """(F, 3, 3) corners of the faces."""
    normals: FloatArray
    """(F, 3) not normalised: their lengths are twice the areas of the faces."""
    origin: FloatArray
    """(3,) the point that becomes the origin of the tree."""
    scale: float
    """Rays are cast at (point - origin) * scale, about a hundred units across, because Embree works in float32."""


def ray_caster(mesh: Mesh) -> Caster:
    """Build the search tree of a mesh, in any frame and unit; both sides of its faces are hit."""
    corners: FloatArray = mesh.vertices[mesh.faces].astype(np.float64)
    normals = face_cross(mesh.vertices.astype(np.float64), mesh.faces)
    if len(mesh.faces) == 0:
        return Caster(None, corners, normals, np.zeros(3), 1.0)
    origin = mesh.vertices.mean(axis=0)
    scale = 100.0 / max(float(np.ptp(mesh.vertices, axis=0).max()), 1e-12)
    # trimesh's wrapper leaves robust off, and then about one ray in a million slips between two faces
    tree = ray_tree((mesh.vertices - origin) * scale, mesh.faces, robust=True)
    return Caster(tree, corners, normals, origin, scale)


def first_hit(caster: Caster, origins: FloatArray, directions: FloatArray) -> IntArray:
    """(N,) face that each ray hits first, -1 for none.

    Args:
        caster: the mesh.
        origins: (N, 3), frame and unit of the mesh.
        directions: (N, 3), of any length above 0.
    """
    hits: list[IntArray] = [np.full(len(origins) if caster.tree is None else 0, -1, dtype=np.int64)]
    if caster.tree is not None:
        starts = (origins - caster.origin) * caster.scale
        for k in range(0, len(starts), _RAYS_AT_ONCE):
            hits.append(caster.tree.face(starts[k : k + _RAYS_AT_ONCE], directions[k : k + _RAYS_AT_ONCE]))
    return np.concatenate(hits)
