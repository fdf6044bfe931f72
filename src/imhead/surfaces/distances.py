"""Exact distances from points to a mesh, unsigned and signed.

Shape legend: N points, F faces.
"""

from __future__ import annotations

import igl
import numpy as np

from imhead.errors import InputError
from imhead.surfaces.properties import face_areas, is_closed
from imhead.types import FloatArray, IntArray, Mesh


def point_to_surface(points: FloatArray, mesh: Mesh) -> tuple[FloatArray, FloatArray, IntArray]:
    """Exact distance from each point to a mesh.

    Args:
        points: (N, 3), in the units of the mesh.
        mesh: at least one face.

    Returns:
        distance (N,) not squared and never negative, closest point (N, 3), index of its face (N,).

    Raises:
        InputError: an empty array, a wrong shape or a number that is not finite.
    """
    query = _checked_points(points)
    check_mesh(mesh, "the mesh")
    squared, face, closest = igl.point_mesh_squared_distance(query, mesh.vertices, mesh.faces)
    return np.sqrt(np.maximum(squared, 0.0)), closest, face


class SurfaceTree:
    """A mesh that is asked for distances more than once.

    Args:
        mesh: at least one face.

    Raises:
        InputError: the mesh has none.
    """

    def __init__(self, mesh: Mesh) -> None:
        check_mesh(mesh, "the mesh")
        self.mesh = mesh
        self._vertices, self._faces = np.ascontiguousarray(mesh.vertices), np.ascontiguousarray(mesh.faces, np.int64)
        self._tree = igl.AABB()
        self._tree.init(self._vertices, self._faces)

    def nearest(self, points: FloatArray) -> tuple[FloatArray, IntArray]:
        """Unsigned distance (N,) of points (N, 3) and the index of the nearest face (N,)."""
        squared, face, _ = self._tree.squared_distance(self._vertices, self._faces, np.ascontiguousarray(points))
        return np.sqrt(np.maximum(squared, 0.0)), face


def signed_distance(points: FloatArray, mesh: Mesh) -> FloatArray:
    """(N,) signed distance from each point to a mesh, negative inside; exact, in the units of the mesh.

    The sign comes from the winding number if the mesh is watertight, else from the angle-weighted pseudonormal at the
    closest point, which needs no closed surface.

    Raises:
        InputError: as `point_to_surface`, or no face of the mesh has an area.
    """
    query = _checked_points(points)
    check_mesh(mesh, "the mesh")
    # a face without area has no normal, and pseudonormals around it become NaN
    faces = mesh.faces[face_areas(mesh) > 0]
    if not len(faces):
        raise InputError("the mesh has no face with an area; give a surface")
    vertices, faces = np.ascontiguousarray(mesh.vertices), np.ascontiguousarray(faces)
    squared, _, _ = igl.point_mesh_squared_distance(query, vertices, faces)
    distance = np.sqrt(np.maximum(squared, 0.0))
    if is_closed(mesh):
        inside = igl.fast_winding_number(vertices, faces, query) > 0.5
    else:
        kind = igl.SignedDistanceType.SIGNED_DISTANCE_TYPE_PSEUDONORMAL
        inside = igl.signed_distance(query, vertices, faces, kind)[0] < 0
    return np.asarray(np.where(inside, -distance, distance))


def check_mesh(mesh: Mesh, name: str) -> None:
    """Refuse a mesh without faces; `Mesh` itself has refused bad indices, NaN and wrong shapes.

    Raises:
        InputError: the mesh has no faces; the message begins with `name`.
    """
    # libigl segfaults on an empty array
    if not len(mesh.faces) or not len(mesh.vertices):
        raise InputError(f"{name} has no faces; give a surface, not points")


def _checked_points(points: FloatArray) -> FloatArray:
    query = np.ascontiguousarray(points, dtype=np.float64)
    if query.ndim != 2 or query.shape[1] != 3:
        raise InputError(f"points has shape {query.shape}; expected (n, 3)")
    if not len(query):
        raise InputError("points is empty; give at least one point")
    if not np.isfinite(query).all():
        raise InputError("points holds NaN or infinite numbers; drop them first")
    return query
