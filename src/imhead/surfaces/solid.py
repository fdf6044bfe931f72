"""Signed distances to a closed surface whose search trees are built once and queried many times.

Shape legend: N points, V vertices, F faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import igl
import numpy as np

from imhead.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Closest:
    """The closest points of a surface to N points."""

    distance: FloatArray
    """(N,) from `Solid.closest` unsigned, from `Solid.signed_distance` negative inside."""
    point: FloatArray
    """(N, 3) the closest points."""
    face: IntArray
    """(N,) the faces on which they lie."""


@dataclass(frozen=True, eq=False)
class Solid:
    """A closed surface, which may touch itself. Its search trees are built on first use."""

    vertices: FloatArray
    """(V, 3) float64; vertices without a face are ignored."""
    faces: IntArray
    """(F, 3)."""

    @cached_property
    def _tree(self) -> igl.AABB:
        tree = igl.AABB()
        tree.init(self.vertices, self.faces)
        return tree

    @cached_property
    def _winding(self) -> igl.FastWindingNumberBVH:
        winding = igl.FastWindingNumberBVH()
        winding.init(self.vertices, self.faces)
        return winding

    def inside(self, points: FloatArray) -> BoolArray:
        """(N,) bool: whether the winding number is above one half (Barill et al. 2018)."""
        inside: BoolArray = self._winding.winding_number(points) > 0.5
        return inside

    def closest(self, points: FloatArray) -> Closest:
        """Closest points, with unsigned distances."""
        squared, face, point = self._tree.squared_distance(self.vertices, self.faces, points)
        return Closest(np.sqrt(np.maximum(squared, 0.0)), point, face)

    def signed_distance(self, points: FloatArray) -> Closest:
        """Closest points, with signed distances, negative inside."""
        found = self.closest(points)
        return Closest(found.distance * np.where(self.inside(points), -1.0, 1.0), found.point, found.face)
