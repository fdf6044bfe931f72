"""What the pose finder knows of a head: oriented samples of the mean head, and distances to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from imhead.conventions import FACE_RADIUS_MM
from imhead.errors import InputError
from imhead.surfaces.properties import face_cross
from imhead.surfaces.rays import first_hit, ray_caster
from imhead.surfaces.sampling import draw_rows, even_subset, folded, points_on
from imhead.types import FloatArray, Mesh

NOSE_RADIUS_MM = 25.0
"""Ball in which the nose tip stands out most clearly from the rest of a head."""


_SAMPLES = 9000


_SPACING_MM = 3.5


_SKY_DIRECTIONS = 48


_SKY_SHARE = 0.12


_SMOOTH_RADIUS_MM = 40.0


_FULL_RELIEF_DEG = 45.0


_REACH_MM = 40.0


@dataclass(frozen=True, eq=False)
class PoseTemplate:
    """Evenly spread oriented samples of the visible outside of the mean head, head frame, mm."""

    points: FloatArray
    """(M, 3)."""
    normals: FloatArray
    """(M, 3) unit, outward."""
    face: NDArray[np.bool_]
    """(M,) true within `conventions.FACE_RADIUS_MM` of the nose tip, on the front."""
    smooth_normals: FloatArray
    """(M, 3) unit normals of the shape without its relief: what a bare skull or an egg would have there."""
    relief: FloatArray
    """(M,) 0 where the surface is plain, up to 1 where it turns away from `smooth_normals`: nose, lids, lips."""
    nose_tip_mm: FloatArray
    """(3,)."""
    nose_axis: FloatArray
    """(3,) unit: from the mean of the surface in a ball of `NOSE_RADIUS_MM` to the nose tip."""
    nose_height_mm: float
    """Length of that step: how far the tip stands out."""
    tree: cKDTree
    """Of `points`."""

    @staticmethod
    def from_mesh(mesh: Mesh, nose_tip_mm: ArrayLike) -> PoseTemplate:
        """Sample the outside of a mean head.

        Args:
            mesh: head frame, mm, faces counter-clockwise from outside.
            nose_tip_mm: (3,).

        Raises:
            InputError: a mesh without faces, or no surface near the nose tip.
        """
        if not len(mesh.faces):
            raise InputError("the mean head has no faces; a pose template needs a mesh")
        tip = np.asarray(nose_tip_mm, dtype=np.float64)
        points, normals = _visible_samples(mesh)
        near = np.linalg.norm(points - tip, axis=1)
        if near.min() > 10.0:
            raise InputError(f"the mean head ends {near.min():.0f} mm from the given nose tip; check units")
        step = tip - points[near < NOSE_RADIUS_MM].mean(0)
        height = float(np.linalg.norm(step))
        axis = step / height
        # the ball around the tip also holds the throat's front; a face looks forward or sideways, never back
        face = (near < FACE_RADIUS_MM) & (normals @ axis > -0.35)
        smooth = _smooth_normals(points, normals)
        cosine = np.clip(np.einsum("ni,ni->n", smooth, normals), -1, 1)
        relief = np.clip(np.degrees(np.arccos(cosine)) / _FULL_RELIEF_DEG, 0.0, 1.0)
        return PoseTemplate(points, normals, face, smooth, relief, tip, axis, height, cKDTree(points))

    def lookup(self, points_mm: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
        """Distance in mm, negative behind the surface, and row of the nearest sample, for points (N, 3).

        Farther away than 40 mm, the distance is 40 mm and the row any.
        """
        distance, nearest = self.tree.query(points_mm, distance_upper_bound=_REACH_MM)
        nearest = np.minimum(nearest, len(self.points) - 1)
        side = np.einsum("ni,ni->n", points_mm - self.points[nearest], self.normals[nearest])
        return np.where(distance < _REACH_MM, np.where(side < 0, -distance, distance), _REACH_MM), nearest


def _visible_samples(mesh: Mesh) -> tuple[FloatArray, FloatArray]:
    """Even samples from which a good part of the sky is seen: no mouth cavity, no backs of eyeballs."""
    rng = np.random.default_rng(0)
    cross = face_cross(mesh.vertices, mesh.faces)
    area = np.linalg.norm(cross, axis=1)
    # several times as many as wanted, then thinned to one spacing
    pick = draw_rows(area, 6 * _SAMPLES, rng)
    points = points_on(mesh.vertices, mesh.faces[pick], *folded(*rng.random((len(pick), 2)).T))
    normals = cross[pick] / area[pick, None]
    keep = even_subset(points, _SPACING_MM)
    points, normals = points[keep], normals[keep]

    caster = ray_caster(mesh)
    sky = rng.standard_normal((_SKY_DIRECTIONS, 3))
    sky /= np.linalg.norm(sky, axis=1, keepdims=True)
    open_sky = np.zeros(len(points))
    for direction in sky:
        front = np.flatnonzero(normals @ direction > 0.05)
        rays = np.broadcast_to(direction, (len(front), 3))
        open_sky[front] += first_hit(caster, points[front] + 0.05 * normals[front], rays) < 0
    seen = open_sky > _SKY_SHARE * _SKY_DIRECTIONS / 2
    return points[seen], normals[seen]


def _smooth_normals(points: FloatArray, normals: FloatArray) -> FloatArray:
    pairs = cKDTree(points).query_pairs(_SMOOTH_RADIUS_MM, output_type="ndarray")
    smooth = normals.copy()
    for here, there in ((pairs[:, 0], pairs[:, 1]), (pairs[:, 1], pairs[:, 0])):
        for axis in range(3):
            smooth[:, axis] += np.bincount(here, weights=normals[there, axis], minlength=len(points))
    return smooth / np.linalg.norm(smooth, axis=1, keepdims=True)
