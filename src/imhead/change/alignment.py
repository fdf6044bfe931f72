"""Robust rigid alignment of two states of a template on what did not change, and how sure it is.

Shape legend: V vertices of the template, N of them stable, P parameters of the motion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from imhead.change.surface import Crossing, Target, crossings
from imhead.errors import InputError
from imhead.surfaces.transforms import matrix_of, transform_directions, transform_points
from imhead.types import FloatArray, IntArray

_STEPS = 8
_SCALES = (4.0, 2.0, 1.0)  # of the robust loss, in the first steps
_LEAST = 60  # vertices
_MAD = 1.4826  # standard deviations of a normal distribution in its median deviation


@dataclass(frozen=True, eq=False)
class Alignment:
    """The motion that lays one state on another."""

    matrix: FloatArray
    """(4, 4) frame of the later state → frame of the first, mm."""
    pivot_mm: FloatArray
    """(3,) about which it turns."""
    covariance: FloatArray
    """(P, P) of turns in radians, shifts in mm and, where it was free, the size as a share."""
    regions: tuple[str, ...]
    """On which it rests."""
    places: int
    """Vertices compared there."""
    area_cm2: float
    """Of them."""
    height_mm: FloatArray
    """(N,) distance between both states on them, after the alignment."""
    trusted_share: float
    """Share of their area that the robust loss counts at least half."""

    @property
    def spread_mm(self) -> float:
        """Standard deviation of the distance, by its median deviation."""
        return float(_MAD * np.median(np.abs(self.height_mm - np.median(self.height_mm))))

    def moved(self, points: FloatArray) -> FloatArray:
        """Points (N, 3) of the later state in the frame of the first."""
        return transform_points(self.matrix, points)

    def rows(self, places: FloatArray, normals: FloatArray) -> FloatArray:
        """(N, P) change of the distance along normals (N, 3) at places (N, 3) by the motion."""
        return _by_motion(places - self.pivot_mm, normals, len(self.covariance) == 7)

    def refined(self, motion: FloatArray, covariance: FloatArray) -> Alignment:
        """With a motion (P,) more, and the covariance (P, P) of what is left."""
        return replace(self, matrix=_motion(motion, self.pivot_mm) @ self.matrix, covariance=covariance)

    def report(self) -> dict[str, Any]:
        """Figures of report.json."""
        size = np.abs(self.height_mm)
        return {
            "regions": list(self.regions),
            "places": self.places,
            "area_cm2": round(self.area_cm2, 2),
            "median_mm": round(float(np.median(size)), 4),
            "p90_mm": round(float(np.percentile(size, 90)), 4),
            "spread_mm": round(self.spread_mm, 4),
            "trusted_share": round(self.trusted_share, 3),
            "matrix": self.matrix.tolist(),
        }


def align(
    after: Target, vertices: IntArray, places: FloatArray, normals: FloatArray, area: FloatArray,
    regions: tuple[str, ...], *, robust_mm: float, correlated_mm2: float, reach_mm: float, least_cosine: float,
    scale_free: bool,
) -> Alignment:  # fmt: skip
    """Lay a later state on the first one by point-to-plane steps with a Geman-McClure loss.

    Args:
        after: the later state, about in place.
        vertices: (N,) stable vertices.
        places: (N, 3) of the first state, mm.
        normals: (N, 3) unit vectors there.
        area: (N,) mm² that each stands for.
        regions: their names, for the report.
        robust_mm: scale of the loss at the end.
        correlated_mm2: area within which errors are alike.
        reach_mm: as in `crossings`.
        least_cosine: of the normals of both surfaces.
        scale_free: whether the size of the later state is free too.

    Raises:
        InputError: fewer than 60 stable places are shown in both.
    """
    pivot = area @ places / area.sum() if len(places) else np.zeros(3)
    matrix = np.eye(4)
    found = crossings(after, vertices, places, normals, reach_mm, least_cosine)
    for step in range(_STEPS):
        rows, height, weight, kept = _equations(found, matrix, places, normals, area, pivot, scale_free)
        if kept.sum() < _LEAST:
            raise InputError(
                f"only {int(kept.sum())} places of the stable regions ({', '.join(regions)}) are shown in both; "
                "name others with --stable"
            )
        scale = robust_mm * (_SCALES[step] if step < len(_SCALES) else 1.0)
        middle = float(np.median(height)) if step == 0 else 0.0
        robust = (scale**2 / (scale**2 + (height - middle) ** 2)) ** 2
        weighted = rows * (robust * weight)[:, None]
        change = np.linalg.solve(weighted.T @ rows + 1e-9 * np.eye(rows.shape[1]), -weighted.T @ height)
        matrix = _motion(change, pivot) @ matrix
        back = np.linalg.inv(matrix)
        turned = transform_directions(back, normals)
        size = np.linalg.norm(turned, axis=1, keepdims=True)
        found = crossings(after, vertices, transform_points(back, places), turned / size, reach_mm, least_cosine)
    rows, height, weight, kept = _equations(found, matrix, places, normals, area, pivot, scale_free)
    robust = (robust_mm**2 / (robust_mm**2 + height**2)) ** 2
    spread = max(float(_MAD * np.median(np.abs(height))), 1e-3)
    information = (rows * (robust * weight)[:, None]).T @ rows / (spread**2 * correlated_mm2)
    covariance = np.linalg.inv(information + 1e-9 * np.eye(rows.shape[1]))
    trusted = float(area[kept][robust > 0.5].sum() / area[kept].sum())
    return Alignment(
        matrix, pivot, covariance, regions, int(kept.sum()), float(area[kept].sum() / 100.0), height, trusted
    )


def _equations(
    found: Crossing, matrix: FloatArray, places: FloatArray, normals: FloatArray, area: FloatArray, pivot: FloatArray,
    scale_free: bool,
) -> tuple[FloatArray, FloatArray, FloatArray, Any]:  # fmt: skip
    """Rows (n, P), heights (n,), areas (n,) of the places that are met, and which (N,) these are."""
    kept = np.isfinite(found.height_mm)
    scale = np.cbrt(np.linalg.det(matrix[:3, :3]))
    height = found.height_mm[kept] * scale
    met = places[kept] + height[:, None] * normals[kept]
    across = transform_directions(matrix, found.normals[kept]) / scale
    cosine = np.einsum("nc,nc->n", across, normals[kept])
    return _by_motion(met - pivot, across, scale_free), height * cosine, area[kept], kept


def _by_motion(places: FloatArray, normals: FloatArray, scale_free: bool) -> FloatArray:
    """(N, P) change of the distance along normals (N, 3) at places (N, 3) about the pivot."""
    parts = [np.cross(places, normals), normals]
    if scale_free:
        parts.append(np.einsum("nc,nc->n", places, normals)[:, None])
    return np.concatenate(parts, axis=1)


def _motion(change: FloatArray, pivot: FloatArray) -> FloatArray:
    """(4, 4) of turns, shifts and, if there is one, a growth, about a pivot."""
    growth = 1.0 + (float(change[6]) if len(change) == 7 else 0.0)
    linear = growth * Rotation.from_rotvec(change[:3]).as_matrix()
    return matrix_of(linear, pivot + change[3:6] - linear @ pivot)
