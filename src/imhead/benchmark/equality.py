"""Difference of two meshes, independent of the order of their vertices and faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from imhead.types import FloatArray, Mesh

TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class MeshDifference:
    """How two meshes differ."""

    vertices: tuple[int, int]
    """Vertex counts of both meshes."""
    faces: tuple[int, int]
    """Face counts of both meshes."""
    largest_mm: float
    """Hausdorff distance of the vertices or of the face centroids, whichever is larger, mm."""

    @property
    def equal(self) -> bool:
        """Equal counts, and no vertex or centroid farther away than 1e-3 mm."""
        same = self.vertices[0] == self.vertices[1] and self.faces[0] == self.faces[1]
        return same and self.largest_mm <= TOLERANCE_MM


def mesh_difference(first: Mesh, second: Mesh) -> MeshDifference:
    """Difference of two meshes in one frame, mm."""
    centroids = [mesh.vertices[mesh.faces].mean(axis=1) for mesh in (first, second)]
    largest = max(_hausdorff(first.vertices, second.vertices), _hausdorff(*centroids))
    return MeshDifference(
        (len(first.vertices), len(second.vertices)), (len(first.faces), len(second.faces)), float(largest)
    )


def _hausdorff(first: FloatArray, second: FloatArray) -> float:
    if first.shape == second.shape and np.array_equal(first, second):
        return 0.0
    return max(float(cKDTree(b).query(a)[0].max()) for a, b in ((first, second), (second, first)))
