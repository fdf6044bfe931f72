"""Areas, normals, closedness and volume of a mesh.

Shape legend: V vertices, F faces.
"""

from __future__ import annotations

import numpy as np

from imhead.errors import InputError
from imhead.types import FloatArray, IntArray, Mesh


def face_areas(mesh: Mesh) -> FloatArray:
    """(F,) area of each face, squared units of the mesh."""
    return np.asarray(0.5 * np.linalg.norm(face_cross(mesh.vertices, mesh.faces), axis=1))


def face_normals(mesh: Mesh) -> FloatArray:
    """(F, 3) unit normals; zero where a face has no area."""
    cross = face_cross(mesh.vertices, mesh.faces)
    length = np.linalg.norm(cross, axis=1, keepdims=True)
    return np.asarray(np.divide(cross, length, out=np.zeros_like(cross), where=length > 0))


def vertex_areas(mesh: Mesh) -> FloatArray:
    """(V,) a third of the area of the faces around each vertex: weights that make statistics independent of density."""
    share = np.repeat(face_areas(mesh) / 3.0, 3)
    return np.bincount(mesh.faces.ravel(), weights=share, minlength=len(mesh.vertices)).astype(np.float64)


def is_closed(mesh: Mesh) -> bool:
    """Whether the mesh is watertight and consistently oriented: each edge is used equally often in both directions."""
    if not len(mesh.faces):
        return False
    ends = mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    count = len(mesh.vertices)
    low, high = ends.min(axis=1), ends.max(axis=1)
    _, edge = np.unique(low * count + high, return_inverse=True)
    balance = np.bincount(edge, weights=np.where(ends[:, 0] == low, 1.0, -1.0))
    return bool((balance == 0).all())


def volume_ml(mesh: Mesh) -> float:
    """Signed volume in millilitres of a closed mesh in mm; positive if its faces are oriented outwards.

    Raises:
        InputError: the mesh is not watertight, so it has no volume.
    """
    if not is_closed(mesh):
        raise InputError("the mesh is not watertight, so it has no volume; close its holes first")
    # signed tetrahedra about the centroid, so that a mesh far from its origin loses no digits
    a, b, c = (mesh.vertices - mesh.vertices.mean(axis=0))[mesh.faces].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0 / 1000.0)


def face_cross(vertices: FloatArray, faces: IntArray) -> FloatArray:
    """(F, 3) face normals whose lengths are twice the areas of the faces (F, 3) over vertices (V, 3)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.asarray(np.cross(b - a, c - a))
