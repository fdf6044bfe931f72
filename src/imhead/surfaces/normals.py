"""Normals of the vertices of a mesh, and of a point cloud by local planes.

Shape legend: N points, k neighbours, V vertices, F faces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from imhead.errors import InputError
from imhead.surfaces.properties import face_cross
from imhead.types import FloatArray, IntArray

_CANCELLED = 1e-6
_FACES_AT_ONCE = 1 << 17


def plane_normals(points: NDArray[np.floating], k: int = 16) -> FloatArray:
    """Unit normals of the planes fitted to the `k` nearest neighbours of each point; each sign is arbitrary.

    Args:
        points: (N, 3), any units.
        k: neighbours per plane, including the point itself.

    Returns:
        (N, 3) float64.

    Raises:
        InputError: fewer than three points, or a NaN.
    """
    cloud, neighbours = _neighbourhoods(points, k)
    return _planes(cloud, neighbours)


def _neighbourhoods(points: NDArray[np.floating], k: int) -> tuple[FloatArray, IntArray]:
    cloud = np.asarray(points, dtype=np.float64)
    if cloud.ndim != 2 or cloud.shape[1] != 3:
        raise InputError(f"points have shape {cloud.shape}; expected (N, 3)")
    if len(cloud) < 3:
        raise InputError(f"{len(cloud)} points have no surface; give at least three, and better thousands")
    if not np.isfinite(cloud).all():
        raise InputError("points hold NaN or infinite numbers; remove them first")
    _, neighbours = cKDTree(cloud).query(cloud, k=min(max(k, 3), len(cloud)))
    return cloud, np.asarray(neighbours, dtype=np.int64)


def _planes(cloud: FloatArray, neighbours: IntArray) -> FloatArray:
    local = cloud[neighbours]
    local = local - local.mean(1, keepdims=True)
    covariance = np.einsum("nki,nkj->nij", local, local)
    _, axes = np.linalg.eigh(covariance)
    return np.ascontiguousarray(axes[:, :, 0])


def vertex_normals(vertices: NDArray[Any], faces: NDArray[Any]) -> tuple[FloatArray, int]:
    """Area-weighted unit normals of the vertices, every one of length 1.

    Args:
        vertices: (V, 3).
        faces: (F, 3), counter-clockwise seen from outside.

    Returns:
        (V, 3) normals, and the number of vertices whose face normals cancel out, as where a surface is doubled back on
        itself. Such a vertex takes the normal of its largest face, or +Z if none of its faces has area.
    """
    points, triangles = np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64)
    weighted = np.empty((len(triangles), 3))
    for first in range(0, len(triangles), _FACES_AT_ONCE):
        some = slice(first, first + _FACES_AT_ONCE)
        weighted[some] = face_cross(points, triangles[some])
    area = np.linalg.norm(weighted, axis=1)
    total, scale = np.zeros((len(points), 3)), np.zeros(len(points))
    for corner in triangles.T:  # one after the other: three times the faces at once would not fit beside a large scan
        for axis in range(3):
            np.add.at(total[:, axis], corner, weighted[:, axis])
        np.add.at(scale, corner, area)
    length = np.linalg.norm(total, axis=1)
    cancelled = length <= _CANCELLED * scale
    if cancelled.any():
        largest = _largest_faces(triangles, area, len(points))[cancelled]
        fallback = np.zeros((len(largest), 3))
        fallback[largest >= 0] = weighted[largest[largest >= 0]]
        fallback[np.linalg.norm(fallback, axis=1) == 0] = (0.0, 0.0, 1.0)
        total[cancelled] = fallback
        length[cancelled] = np.linalg.norm(fallback, axis=1)
    total /= length[:, None]
    return total, int(cancelled.sum())


def _largest_faces(faces: IntArray, area: FloatArray, count: int) -> IntArray:
    """(V,) the face of the largest area around each vertex, the last of equal ones; -1 around none."""
    rising = np.argsort(area, kind="stable")
    largest = np.full(count, -1, dtype=np.int64)
    for corner in faces.T if len(faces) else ():
        own = np.full(count, -1, dtype=np.int64)
        own[corner[rising]] = rising  # the largest is written last
        wins = (own >= 0) & ((largest < 0) | (area[own] >= area[largest]))
        largest[wins] = own[wins]
    return largest
