"""Exact distances from points to a mesh, unsigned and signed.

Shape legend: N points, F faces.
"""

from __future__ import annotations

import igl
import numpy as np

from imhead.errors import InputError
from imhead.surfaces.properties import face_areas, is_closed
from imhead.types import BoolArray, FloatArray, IntArray, Mesh

_HASH_FACTORS = np.array([-7046029254386353131, -4417276706812531889, 1609587929392839161])  # odd, of mixed bits


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
    signed = np.zeros(len(query))
    # most vertices of an edited head are still those of the head before
    used = np.zeros(len(vertices), dtype=bool)
    used[faces.ravel()] = True
    away = np.flatnonzero(~_among(query, vertices[used]))
    if len(away):
        signed[away] = _signed(query[away], vertices, faces, is_closed(mesh))
    return signed


def _among(points: FloatArray, places: FloatArray) -> BoolArray:
    """(N,) points (N, 3) that are equal to one of some places (M, 3), to the bit; one in a great many may be missed."""
    keys = _hashed(places)
    order = np.argsort(keys)
    found = order[np.minimum(np.searchsorted(keys, _hashed(points), sorter=order), len(order) - 1)]
    return np.asarray((places[found] == points).all(axis=1))


def _hashed(points: FloatArray) -> IntArray:
    """(N,) a number for each point (N, 3), equal for equal ones."""
    bits = np.ascontiguousarray(points, dtype=np.float64).view(np.int64)
    keys: IntArray = (bits * _HASH_FACTORS).sum(axis=1)
    return keys


def _signed(query: FloatArray, vertices: FloatArray, faces: IntArray, closed: bool) -> FloatArray:
    """(N,) as `signed_distance`, of points (N, 3) of which each is asked for."""
    squared, _, _ = igl.point_mesh_squared_distance(query, vertices, faces)
    distance = np.sqrt(np.maximum(squared, 0.0))
    if closed:
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
