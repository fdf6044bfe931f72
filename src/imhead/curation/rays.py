"""Rays against a mesh: which face is met first.

Shape legend: N rays, F faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from imhead.types import Mesh

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_RAYS_AT_ONCE = 1 << 18


@dataclass(frozen=True, eq=False)
class Caster:
    """A mesh ready for rays."""

    scene: EmbreeScene | None
    """None for a mesh without faces, which embree does not take."""
    corners: Float
    """(F, 3, 3) corners of the faces."""
    normals: Float
    """(F, 3) not normalised, twice the area long."""
    origin: Float
    """(3,) the point that embree's zero stands for."""
    scale: float
    """Rays are cast at (point - origin) * scale, about a hundred units across, because embree works in float32."""


def ray_caster(mesh: Mesh) -> Caster:
    """Build the search tree of a mesh, in any frame and unit; both sides of its faces are hit."""
    corners: Float = mesh.vertices[mesh.faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    if len(mesh.faces) == 0:
        return Caster(None, corners, normals, np.zeros(3), 1.0)
    origin = mesh.vertices.mean(axis=0)
    scale = 100.0 / max(float(np.ptp(mesh.vertices, axis=0).max()), 1e-12)
    # trimesh's wrapper leaves robust off, and then about one ray in a million slips between two faces
    scene = EmbreeScene(robust=True)
    TriangleMesh(scene, ((mesh.vertices - origin) * scale).astype(np.float32), mesh.faces.astype(np.int32))
    return Caster(scene, corners, normals, origin, scale)


def first_hit(caster: Caster, origins: Float, directions: Float) -> Int:
    """(N,) face that each ray meets first, -1 for none.

    Args:
        caster: the mesh.
        origins: (N, 3), frame and unit of the mesh.
        directions: (N, 3), of any length above 0.
    """
    hits = [np.full(len(origins) if caster.scene is None else 0, -1, dtype=np.int64)]
    if caster.scene is not None:
        starts = ((origins - caster.origin) * caster.scale).astype(np.float32)
        rays = directions.astype(np.float32)
        for k in range(0, len(starts), _RAYS_AT_ONCE):
            hits.append(caster.scene.run(starts[k : k + _RAYS_AT_ONCE], rays[k : k + _RAYS_AT_ONCE]).astype(np.int64))
    return np.concatenate(hits)
