"""The mean head as the pose search sees it: oriented samples of its visible surface, and distances to them.

Shape legend: M samples, K of them drawn for a refinement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree
from torch import Tensor

from imhead.conventions import FACE_RADIUS_MM
from imhead.errors import InputError
from imhead.surfaces.properties import face_cross
from imhead.surfaces.rays import first_hit, ray_caster
from imhead.surfaces.sampling import draw_rows, even_subset, folded, points_on
from imhead.types import BoolArray, FloatArray, IntArray, Mesh

__all__ = ["NOSE_RADIUS_MM", "PoseTemplate", "TemplatePoints", "face_and_head_points", "face_points", "template_points"]

NOSE_RADIUS_MM = 25.0
"""Radius of the ball in which the nose tip stands out most clearly from the rest of a head."""
_SAMPLES = 9000
_SPACING_MM = 3.5
_SKY_DIRECTIONS = 48
_SKY_SHARE = 0.12
_SMOOTHING_RADIUS_MM = 40.0
_FULL_RELIEF_DEG = 45.0
_MAX_DISTANCE_MM = 40.0
_ABOVE_JAW_MM = 60.0
_POINTS_OFF_THE_FACE = 2500


@dataclass(frozen=True, eq=False)
class PoseTemplate:
    """Evenly spread oriented samples of the visible outside of the mean head, head frame, mm."""

    points: FloatArray
    """(M, 3)."""
    normals: FloatArray
    """(M, 3) unit, outward."""
    face: BoolArray
    """(M,) true within `conventions.FACE_RADIUS_MM` of the nose tip, on the front."""
    smooth_normals: FloatArray
    """(M, 3) unit normals averaged over 40 mm: those of a head without nose, lids and lips."""
    relief: FloatArray
    """(M,) 0 where a normal is that of the smooth shape, 1 where they differ by 45° or more: nose, lids, lips."""
    nose_tip_mm: FloatArray
    """(3,)."""
    nose_axis: FloatArray
    """(3,) unit: from the mean of the samples in a ball of `NOSE_RADIUS_MM` about the nose tip to the tip."""
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
        return PoseTemplate.of_samples(points, normals, _smooth_normals(points, normals), tip)

    @staticmethod
    def of_samples(points: FloatArray, normals: FloatArray, smooth: FloatArray, tip: FloatArray) -> PoseTemplate:
        """The template of oriented samples (M, 3), with their averaged normals (M, 3), and a nose tip (3,).

        Raises:
            InputError: no sample near the nose tip.
        """
        to_tip = np.linalg.norm(points - tip, axis=1)
        if to_tip.min() > 10.0:
            raise InputError(f"the mean head ends {to_tip.min():.0f} mm from the given nose tip; check units")
        step = tip - points[to_tip < NOSE_RADIUS_MM].mean(0)
        axis = step / float(np.linalg.norm(step))
        # the ball about the tip also holds the front of the throat; a face looks forward or sideways, never back
        face = (to_tip < FACE_RADIUS_MM) & (normals @ axis > -0.35)
        cosine = np.clip(np.einsum("ni,ni->n", smooth, normals), -1, 1)
        relief = np.clip(np.degrees(np.arccos(cosine)) / _FULL_RELIEF_DEG, 0.0, 1.0)
        return PoseTemplate(points, normals, face, smooth, relief, tip, axis, cKDTree(points))

    def lookup(self, points_mm: FloatArray) -> tuple[FloatArray, IntArray]:
        """Distance (N,) in mm, negative behind the surface, and row (N,) of the nearest sample, of points (N, 3).

        A point farther away than 40 mm gets 40 mm and an arbitrary row.
        """
        distance, nearest = self.tree.query(points_mm, distance_upper_bound=_MAX_DISTANCE_MM)
        nearest = np.minimum(nearest, len(self.points) - 1)
        side = np.einsum("ni,ni->n", points_mm - self.points[nearest], self.normals[nearest])
        return np.where(distance < _MAX_DISTANCE_MM, np.where(side < 0, -distance, distance), _MAX_DISTANCE_MM), nearest


def _visible_samples(mesh: Mesh) -> tuple[FloatArray, FloatArray]:
    """Points and normals (M, 3) of the surface that is seen from outside: no mouth cavity, no backs of eyeballs."""
    rng = np.random.default_rng(0)
    cross = face_cross(mesh.vertices, mesh.faces)
    area = np.linalg.norm(cross, axis=1)
    # several times too many, then thinned to one spacing
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
        facing = np.flatnonzero(normals @ direction > 0.05)
        rays = np.broadcast_to(direction, (len(facing), 3))
        open_sky[facing] += first_hit(caster, points[facing] + 0.05 * normals[facing], rays) < 0
    visible = open_sky > _SKY_SHARE * _SKY_DIRECTIONS / 2
    return points[visible], normals[visible]


def _smooth_normals(points: FloatArray, normals: FloatArray) -> FloatArray:
    """(M, 3) unit mean of the normals within `_SMOOTHING_RADIUS_MM`."""
    pairs = cKDTree(points).query_pairs(_SMOOTHING_RADIUS_MM, output_type="ndarray")
    smooth = normals.copy()
    for here, there in ((pairs[:, 0], pairs[:, 1]), (pairs[:, 1], pairs[:, 0])):
        for axis in range(3):
            smooth[:, axis] += np.bincount(here, weights=normals[there, axis], minlength=len(points))
    unit: FloatArray = smooth / np.linalg.norm(smooth, axis=1, keepdims=True)
    return unit


@dataclass(frozen=True, eq=False)
class TemplatePoints:
    """Samples of the template as tensors."""

    points: Tensor
    """(K, 3) float32, head frame mm."""
    normals: Tensor
    """(K, 3) float32 unit."""
    smooth_normals: Tensor
    """(K, 3) float32 unit, see `PoseTemplate.smooth_normals`."""
    relief: Tensor
    """(K,) float32, see `PoseTemplate.relief`."""


def face_points(template: PoseTemplate, count: int, rng: np.random.Generator) -> TemplatePoints:
    """`count` of the face's samples, drawn at random; all of them where it has fewer."""
    return template_points(template, rng.permutation(np.flatnonzero(template.face))[:count])


def face_and_head_points(template: PoseTemplate, rng: np.random.Generator) -> TemplatePoints:
    """All samples of the face, and some of the head above the jaw: where the scan shows it, it fixes the nod."""
    above_jaw = template.points[:, 1] > template.nose_tip_mm[1] - _ABOVE_JAW_MM
    drawn = rng.permutation(np.flatnonzero(~template.face & above_jaw))[:_POINTS_OFF_THE_FACE]
    return template_points(template, np.concatenate([np.flatnonzero(template.face), drawn]))


def template_points(template: PoseTemplate, rows: IntArray) -> TemplatePoints:
    """The samples of some rows (K,)."""
    fields = (template.points, template.normals, template.smooth_normals, template.relief)
    return TemplatePoints(*(torch.from_numpy(field[rows].astype(np.float32)) for field in fields))
