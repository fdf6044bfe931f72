"""What the rim of a hole says about the surface inside it: a thin-plate spline, which knows nothing of faces.

Shape legend: N hidden points, M points beyond the rim.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.mending import without_unused_points
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.properties import face_cross
from imhead.types import BoolArray, FloatArray, Mesh

REACH_MM = 25.0
"""Points farther beyond the rim do not enter the spline."""
_SMOOTHING = 3.0
_MOST_POINTS = 1500  # the system of the spline is dense
_BAND_MM = 6.0  # width of the rim that gives the tangent plane
_STEP_MM = 1.0  # of the grid that draws a patch
_MARGIN_MM = 5.0  # of a patch around the hidden points
_OUTLIER_MM = 3.0
_LEAST_POINTS = 10


@dataclass(frozen=True, eq=False)
class Rim:
    """The surface points of a scan around a hole, in the frame of a fit, mm."""

    points: FloatArray
    """(M, 3)."""
    beyond_mm: FloatArray
    """(M,) distance of each point beyond the rim, from 0 to `REACH_MM`."""

    def plane(self) -> tuple[FloatArray, FloatArray]:
        """Origin (3,) and axes (3, 3) of the rim's tangent plane; the last axis is its normal, of either sign."""
        band = self.points[self.beyond_mm <= max(_BAND_MM, float(np.partition(self.beyond_mm, 2)[2]))]
        origin = band.mean(axis=0)
        axes: FloatArray = np.linalg.svd(band - origin, full_matrices=False)[2]
        return origin, axes


def thin_plate_distance(hidden: FloatArray, rim: Rim) -> FloatArray:
    """Distance (N,) of hidden points (N, 3) to a thin-plate spline through the rim, a height over its plane."""
    origin, axes = rim.plane()
    around, inside = (rim.points - origin) @ axes.T, (hidden - origin) @ axes.T
    low, high = inside[:, :2].min(axis=0) - _MARGIN_MM, inside[:, :2].max(axis=0) + _MARGIN_MM
    u, v = (np.arange(start, end + _STEP_MM, _STEP_MM) for start, end in zip(low, high))
    flat = np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1).reshape(-1, 2)
    height = _spline(around[:, :2], around[:, 2])(flat)
    corner = np.arange(len(flat)).reshape(len(u), len(v))
    a, b, c, d = (part.reshape(-1) for part in (corner[:-1, :-1], corner[1:, :-1], corner[:-1, 1:], corner[1:, 1:]))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([b, d, c], axis=1)])
    return point_to_surface(inside, Mesh(np.column_stack([flat, height]), faces))[0]


def with_rim_residuals(mesh: Mesh, hidden: FloatArray, distance: FloatArray, rim: Rim) -> FloatArray:
    """Distance (N,) of hidden points to a fitted surface that is moved by what it leaves over at the rim.

    The signed distances of the rim's points to the surface are carried into the hole by a thin-plate spline over the
    rim's tangent plane, and the surface is moved along its normals by that.

    Args:
        mesh: the fitted surface.
        hidden: (N, 3).
        distance: (N,) of the hidden points to the surface as it was fitted.
        rim: around the hole.
    """
    origin, axes = rim.plane()
    known, at_rim, normal = _closest(_part_near(mesh, rim.points, _OUTLIER_MM + _MARGIN_MM), rim.points)
    if known.sum() < _LEAST_POINTS:
        return distance
    residual = np.einsum("nc,nc->n", rim.points - at_rim, normal)
    spline = _spline(((at_rim - origin) @ axes[:2].T)[known], residual[known])
    part = _part_near(mesh, hidden, float(distance.max()) + _MARGIN_MM)
    normals, _ = vertex_normals(part.vertices, part.faces)
    moved = part.vertices + normals * spline((part.vertices - origin) @ axes[:2].T)[:, None]
    return point_to_surface(hidden, Mesh(moved, part.faces))[0]


def _closest(mesh: Mesh, points: FloatArray) -> tuple[BoolArray, FloatArray, FloatArray]:
    """Whether points (M, 3) lie near a mesh (M,), their closest points (M, 3) and the normals there (M, 3)."""
    if not len(mesh.faces):
        return np.zeros(len(points), dtype=bool), points, np.zeros_like(points)
    distance, closest, face = point_to_surface(points, mesh)
    normal = face_cross(mesh.vertices, mesh.faces[face])
    return distance < _OUTLIER_MM, closest, normal / np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-300)


def _part_near(mesh: Mesh, points: FloatArray, reach_mm: float) -> Mesh:
    """The faces of a mesh with a corner within reach of one of the points."""
    near = cKDTree(points).query(mesh.vertices, distance_upper_bound=reach_mm)[0] < reach_mm
    return Mesh(*without_unused_points(mesh.vertices, mesh.faces[near[mesh.faces].any(axis=1)]))


def _spline(places: FloatArray, values: FloatArray) -> RBFInterpolator:
    """A smoothed thin-plate spline through values (M,) at places (M, 2)."""
    kept = np.random.default_rng(0).permutation(len(places))[:_MOST_POINTS]
    return RBFInterpolator(places[kept], values[kept], kernel="thin_plate_spline", smoothing=_SMOOTHING)
