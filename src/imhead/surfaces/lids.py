"""Lids that lie on the eyeball, in every pose.

Expression shapes move lids along straight lines, through the eyeball. Here each vertex of a lid keeps at least the
distance to the eyeball that it has on the mean head, and its margin does not stand off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.surfaces.eyeballs import eye_centers, eyes_distance, near_eyes
from imhead.types import FloatArray, IntArray

_LID_MM = 5.0  # distance from the eyeball within which skin belongs to the lids
_BEHIND_MM = -0.5  # the margin's inner edge ends this far inside the eyeball
_CLEARANCE_MM = 1.0  # largest distance to the eyeball that a vertex has to keep
_STEPS = 8  # along a ray; the cornea's normals are no rays from the centre
_INSIDE_MM, _OFF_RATE = -0.15, 3.0  # what lies inside ends as far inside; others stand off by this rate more


@dataclass(frozen=True, eq=False)
class Lids:
    """The lids of a mesh whose vertices correspond from head to head."""

    vertices: IntArray
    """(n,) vertices of the skin near the eyeballs."""
    least_mm: FloatArray
    """(n,) distance to the eyeball that each keeps, mm."""
    most_mm: FloatArray
    """(n,) distance that each does not exceed."""

    @classmethod
    def of(cls, mean: FloatArray, skin: IntArray, eyes: FloatArray) -> Lids:
        """The lids, from the mean head.

        Args:
            mean: (V, 3) vertices, mm.
            skin: vertices (n,) of the skin.
            eyes: (2, 5) its eyeballs.
        """
        near = skin[near_eyes(mean[skin].astype(np.float64), eyes)]
        distance = eyes_distance(mean[near].astype(np.float64), eyes)
        kept = (distance > 2.0 * _BEHIND_MM) & (distance < _LID_MM)
        least = np.clip(distance[kept], _BEHIND_MM, _CLEARANCE_MM)
        most = _INSIDE_MM + _OFF_RATE * np.maximum(distance[kept], 0.0)
        return cls(near[kept], np.minimum(least, most), np.where(distance[kept] < _CLEARANCE_MM, most, np.inf))

    def on_eyes(self, vertices: FloatArray, eyes: FloatArray) -> FloatArray:
        """Vertices (V, 3) of a head with eyeballs (2, 5), its lids moved along rays from the eyeballs' centres, mm."""
        points = vertices[self.vertices].astype(np.float64)
        centers = eye_centers(eyes)
        center = np.where(points[:, :1] > 0.0, centers[0], centers[1])
        away = points - center
        length = np.linalg.norm(away, axis=1, keepdims=True)
        ray = away / np.maximum(length, 1e-9)
        for _ in range(_STEPS):  # along a ray the distance grows by at most its length, so that no step goes too far
            distance = eyes_distance(center + length * ray, eyes)
            length = length + (np.clip(distance, self.least_mm, self.most_mm) - distance)[:, None]
        moved = vertices.copy()
        moved[self.vertices] = center + length * ray
        return moved
