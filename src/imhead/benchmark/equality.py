"""Whether two meshes are one surface, whatever the order of their vertices and faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from imhead.types import FloatArray, Mesh

TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class Comparison:
    """Two meshes, compared."""

    vertices: tuple[int, int]
    """Vertices of the one and the other."""
    faces: tuple[int, int]
    """Faces of the one and the other."""
    largest_mm: float
    """Farthest vertex or middle of a face from the nearest one of the other mesh, either way."""

    @property
    def equal(self) -> bool:
        """Same counts, and nothing farther away than 1e-3 mm."""
        same = self.vertices[0] == self.vertices[1] and self.faces[0] == self.faces[1]
        return same and self.largest_mm <= TOLERANCE_MM


def compare(first: Mesh, second: Mesh) -> Comparison:
    """Compare two meshes in the same frame, mm."""
    middles = [mesh.vertices[mesh.faces].mean(axis=1) for mesh in (first, second)]
    largest = max(_farthest(first.vertices, second.vertices), _farthest(*middles))
    return Comparison(
        (len(first.vertices), len(second.vertices)), (len(first.faces), len(second.faces)), float(largest)
    )


def _farthest(first: FloatArray, second: FloatArray) -> float:
    if first.shape == second.shape and np.array_equal(first, second):
        return 0.0
    return max(float(cKDTree(b).query(a)[0].max()) for a, b in ((first, second), (second, first)))
