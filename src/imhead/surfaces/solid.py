"""Distances to one closed surface, and its inside, asked for many times of one pose."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import igl
import numpy as np

from imhead.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Closest:
    """The nearest places of a surface to N points."""

    distance: FloatArray
    """(N,), not negative but inside, where the sign was asked for."""
    point: FloatArray
    """(N, 3) on the surface."""
    face: IntArray
    """(N,) the face that it lies on."""


@dataclass(frozen=True, eq=False)
class Solid:
    """A closed surface, which may touch itself; the trees that answer are built when first asked."""

    vertices: FloatArray
    """(V, 3) float64; those that no face names do not matter."""
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
        """(N,) bool: the surface winds around the point (Barill et al. 2018)."""
        within: BoolArray = self._winding.winding_number(points) > 0.5
        return within

    def closest(self, points: FloatArray) -> Closest:
        """Unsigned."""
        squared, face, point = self._tree.squared_distance(self.vertices, self.faces, points)
        return Closest(np.sqrt(np.maximum(squared, 0.0)), point, face)

    def signed_distance(self, points: FloatArray) -> Closest:
        """True signed distance, negative inside."""
        found = self.closest(points)
        return Closest(found.distance * np.where(self.inside(points), -1.0, 1.0), found.point, found.face)
