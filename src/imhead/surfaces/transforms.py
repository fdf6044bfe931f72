"""Similarities as (4, 4) matrices, applied to points and directions, and estimated between two sets of points.

Shape legend: N points.
"""

from __future__ import annotations

import numpy as np

from imhead.types import FloatArray, IntArray


def transform_points(matrix: FloatArray, points: FloatArray) -> FloatArray:
    """Points (N, 3) transformed by a matrix (4, 4).

    >>> transform_points(np.diag([2.0, 2.0, 2.0, 1.0]), np.ones((1, 3)))
    array([[2., 2., 2.]])
    """
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


def transform_directions(matrix: FloatArray, directions: FloatArray) -> FloatArray:
    """Directions (N, 3) transformed by the linear part of a matrix (4, 4): rotated and scaled, not translated."""
    return np.asarray(directions @ matrix[:3, :3].T)


def matrix_of(linear: FloatArray, shift: FloatArray) -> FloatArray:
    """The (4, 4) matrix of a linear part (3, 3), rotation times scale, and a translation (3,)."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, shift
    return matrix


def rotation_of(matrix: FloatArray) -> FloatArray:
    """(3, 3) rotation of a similarity (4, 4), without its scale."""
    return matrix[:3, :3] / np.cbrt(np.linalg.det(matrix[:3, :3]))


def aligned(source: FloatArray, target: FloatArray, weights: FloatArray | None = None) -> tuple[float, FloatArray]:
    """Scale and rotation that align `source` with `target` about their centroids, by least squares (Umeyama 1991).

    Args:
        source: (N, 3).
        target: (N, 3).
        weights: (N,) that sum to 1; None for equal weights.

    Returns:
        The scale and a (3, 3) rotation, never a reflection: target ≈ scale · rotation · source, both centred.
    """
    if weights is None:
        a, b = source - source.mean(axis=0), target - target.mean(axis=0)
        weighted = a
    else:
        a, b = source - weights @ source, target - weights @ target
        weighted = weights[:, None] * a
    u, spread, vt = np.linalg.svd(weighted.T @ b)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u @ np.diag(sign) @ vt).T
    return float((spread * sign).sum() / (weighted * a).sum()), rotation


def carried_with_faces(
    source: FloatArray, target: FloatArray, corners: IntArray, nearest: FloatArray, points: FloatArray
) -> FloatArray:
    """`points` (N, 3), moved with the triangles `corners` (N, 3) from vertices `source` to `target` (V, 3).

    The `nearest` point (N, 3) on the triangle keeps its barycentric coordinates; the offset from it turns with the
    triangle's frame.
    """
    a, b, c = (source[corners[:, k]] for k in range(3))
    u, v, w = b - a, c - a, nearest - a
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    wu, wv = (w * u).sum(1), (w * v).sum(1)
    det = np.maximum(uu * vv - uv * uv, 1e-12)
    s, t = (vv * wu - uv * wv) / det, (uu * wv - uv * wu) / det
    moved = sum(weight[:, None] * target[corners[:, k]] for k, weight in enumerate((1.0 - s - t, s, t)))
    rotation = np.einsum("nij,nkj->nik", _frames(target[corners]), _frames(source[corners]))
    result: FloatArray = moved + np.einsum("nij,nj->ni", rotation, points - nearest)
    return result


def _frames(corner: FloatArray) -> FloatArray:
    x = corner[:, 1] - corner[:, 0]
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    z = np.cross(x, corner[:, 2] - corner[:, 0])
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    return np.stack([x, np.cross(z, x), z], axis=2)
