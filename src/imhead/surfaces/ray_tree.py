"""Rays against triangles: Embree where it is installed, else libigl's tree, which finds the same faces more slowly.

Shape legend: N rays, V vertices, F faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import igl
import numpy as np
from numpy.typing import NDArray

try:
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene
except ImportError:  # no wheel for this platform
    EmbreeScene = None

from imhead.types import FloatArray, IntArray

_Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Hits:
    """The first face that each ray meets."""

    face: IntArray
    """(N,) -1 where a ray meets none."""
    distance: _Array
    """(N,) in lengths of the ray's direction; of no meaning where a ray meets no face."""
    u: _Array
    """(N,) barycentric weight of the face's second corner."""
    v: _Array
    """(N,) that of its third."""


class RayTree(Protocol):
    """A mesh ready for rays; both sides of its faces are hit. Several threads may ask at once."""

    def first(self, origins: _Array, directions: _Array, reach: _Array | None = None) -> Hits:
        """The first hits of rays (N, 3), no farther than `reach` (N,) lengths of their directions."""
        ...

    def face(self, origins: _Array, directions: _Array) -> IntArray:
        """(N,) the faces of `first`."""
        ...

    def blocked(self, origins: _Array, directions: _Array, reach: float) -> NDArray[np.bool_]:
        """(N,) whether anything lies on rays (N, 3) within `reach` lengths of their directions."""
        ...


def ray_tree(vertices: FloatArray, faces: IntArray, *, robust: bool = False) -> RayTree:
    """Build the search tree of a mesh.

    Args:
        vertices: (V, 3), any unit.
        faces: (F, 3), at least one.
        robust: no ray slips between two faces; in the default mode about one in a million does.
    """
    return _LibiglTree(vertices, faces) if EmbreeScene is None else _EmbreeTree(vertices, faces, robust)


def caster_name() -> str:
    """What casts the rays, for a person."""
    return "libigl" if EmbreeScene is None else "Embree"


class _EmbreeTree:
    """Single precision."""

    def __init__(self, vertices: FloatArray, faces: IntArray, robust: bool) -> None:
        self._scene = EmbreeScene(robust=True) if robust else EmbreeScene()
        TriangleMesh(self._scene, vertices.astype(np.float32), faces.astype(np.int32))
        self._scene.run(*np.eye(3, dtype=np.float32)[:2, None])  # the first ray builds the tree, on one thread

    def first(self, origins: _Array, directions: _Array, reach: _Array | None = None) -> Hits:
        limits = {} if reach is None else {"dists": _single(reach)}
        hit = self._scene.run(_single(origins), _single(directions), output=1, **limits)
        return Hits(hit["primID"].astype(np.int64), hit["tfar"], hit["u"], hit["v"])

    def face(self, origins: _Array, directions: _Array) -> IntArray:
        found: IntArray = self._scene.run(_single(origins), _single(directions)).astype(np.int64)
        return found

    def blocked(self, origins: _Array, directions: _Array, reach: float) -> NDArray[np.bool_]:
        limits = np.full(len(origins), reach, dtype=np.float32)
        hit: NDArray[np.bool_] = (
            self._scene.run(_single(origins), _single(directions), dists=limits, query="OCCLUDED") == 0
        )
        return hit


class _LibiglTree:
    """Double precision; exact enough that no ray slips between two faces."""

    def __init__(self, vertices: FloatArray, faces: IntArray) -> None:
        self._vertices = np.ascontiguousarray(vertices, dtype=np.float64)
        self._faces = np.ascontiguousarray(faces, dtype=np.int64)
        self._tree = igl.AABB()
        self._tree.init(self._vertices, self._faces)

    def first(self, origins: _Array, directions: _Array, reach: _Array | None = None) -> Hits:
        face, distance, uv = self._cast(origins, directions, np.inf)
        if reach is not None:
            face = np.where(distance <= reach, face, -1)
        return Hits(face, distance, uv[:, 0], uv[:, 1])

    def face(self, origins: _Array, directions: _Array) -> IntArray:
        return self._cast(origins, directions, np.inf)[0]

    def blocked(self, origins: _Array, directions: _Array, reach: float) -> NDArray[np.bool_]:
        hit: NDArray[np.bool_] = self._cast(origins, directions, reach)[0] >= 0
        return hit

    def _cast(self, origins: _Array, directions: _Array, reach: float) -> tuple[IntArray, FloatArray, FloatArray]:
        if not len(origins):
            return np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros((0, 2))
        start, along = (np.ascontiguousarray(rays, dtype=np.float64) for rays in (origins, directions))
        face, distance, uv = self._tree.intersect_ray_first(self._vertices, self._faces, start, along, reach)
        return face, distance, uv


def _single(values: _Array) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, dtype=np.float32)
