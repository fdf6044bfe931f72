"""What rays see of a mesh: from a camera, and from its own vertices. A mesh is built into a ray-casting scene once.

Orthographic, in mm of the mesh's own frame. `imhead.rendering.shading` lights what is seen here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray
from scipy.sparse import csr_array

from imhead.parallel import in_threads
from imhead.surfaces.sampling import fibonacci_sphere
from imhead.types import FloatArray, Mesh

# rays start a little off the surface; creases darken by what stands within a nose's length, shadows fall further
_RAY_START_MM, _CREASE_MM, _SHADOW_MM = 0.4, 40.0, 600.0
_SKY_DIRECTIONS, _KEY_DIRECTIONS = 28, 6
_KEPT_SCENES, _KEPT_HITS = 4, 3
_THREADS = min(4, os.cpu_count() or 1)  # embree lets go of the interpreter while it casts


@dataclass(frozen=True)
class Camera:
    """An orthographic frame: a square window in space and the direction towards the viewer."""

    right: tuple[float, float, float]
    """Unit vector to the right of the picture."""
    up: tuple[float, float, float]
    """Unit vector to the top of the picture."""
    toward: tuple[float, float, float]
    """Unit vector from the subject to the viewer."""
    center_mm: tuple[float, float, float]
    """Point in the middle of the picture, mm."""
    half_mm: float
    """Half the side of the square window, mm."""

    @property
    def axes(self) -> FloatArray:
        """(3, 3) rows right, up, toward."""
        return np.array([self.right, self.up, self.toward])


@dataclass(frozen=True, eq=False)
class RayHits:
    """The first hits of one ray a pixel."""

    pixel: NDArray[np.int64]
    """(n,) flat index of each pixel that shows the mesh."""
    corner: NDArray[np.int64]
    """(n, 3) vertices of the face seen there."""
    facing: NDArray[np.float32]
    """(n,) +1 or -1 for the side seen."""
    mean: csr_array
    """(n, V) float32: from values at the vertices to values at the pixels."""
    depth_mm: FloatArray
    """(n,) towards the viewer, from the plane through the middle of the picture."""


class RayScene:
    """One mesh and everything that rays have found out about it.

    Args:
        mesh: head frame, mm.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._vertices, self._faces = mesh.vertices, mesh.faces
        self._scene = EmbreeScene()
        TriangleMesh(self._scene, mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32))
        self._scene.run(*np.eye(3, dtype=np.float32)[:2, None])  # the first ray builds the tree; no two threads may
        self._hits: dict[tuple[Camera, int], RayHits] = {}
        self._normals: FloatArray = np.zeros((0, 3))
        self._sky: dict[float, NDArray[np.float32]] = {}

    def hits(self, frame: Camera, size: int) -> RayHits:
        """What a camera sees with `size` × `size` pixels."""
        if (frame, size) not in self._hits:
            self._hits[frame, size] = self._look(frame, size)
            while len(self._hits) > _KEPT_HITS:
                del self._hits[next(iter(self._hits))]
        return self._hits[frame, size]

    def _look(self, frame: Camera, size: int) -> RayHits:
        right, up, toward = frame.axes
        across, upright, local = ((self._vertices - np.array(frame.center_mm)) @ frame.axes.T).T
        columns, rows = _pixels_of(across / frame.half_mm, size), _pixels_of(-upright / frame.half_mm, size)
        start = np.array(frame.center_mm) + (float(local.max()) + 10.0) * toward
        step = (np.arange(size) + 0.5) / size * 2.0 - 1.0
        start = start + frame.half_mm * (step[None, columns, None] * right - step[rows, None, None] * up)

        def cast(part: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
            hit: dict[str, NDArray[Any]] = self._scene.run(part, _along(-toward, len(part)), output=1)
            return hit

        origins = np.array_split(start.reshape(-1, 3).astype(np.float32), 4 * _THREADS)
        hits = list(in_threads(cast, origins, _THREADS))
        face, u, v, normal = (np.concatenate([hit[name] for hit in hits]) for name in ("primID", "u", "v", "Ng"))
        hit = np.flatnonzero(face >= 0)
        pixel = (np.arange(size)[rows, None] * size + np.arange(size)[None, columns]).reshape(-1)[hit]
        u, v = u[hit], v[hit]
        facing = np.where(normal[hit] @ toward >= 0, 1.0, -1.0).astype(np.float32)
        corner = self._faces[face[hit]]
        weight = np.stack([1 - u - v, u, v], axis=1).astype(np.float32)
        ends = np.arange(len(pixel) + 1) * 3
        mean = csr_array((weight.reshape(-1), corner.reshape(-1), ends), shape=(len(pixel), len(self._vertices)))
        return RayHits(pixel, corner, facing, mean, mean @ local)

    def ambient_occlusion(
        self, hits: RayHits, normals: FloatArray, key: FloatArray
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(V,) share of the near sky and (V,) share of a light that each vertex in view sees; 1 for the others.

        Args:
            normals: (V, 3) unit; turned to the side in view.
            key: (3,) unit, towards the middle of the light: a disc about 20 degrees wide, for soft shadows.
        """
        if not np.array_equal(normals, self._normals):
            self._normals, self._sky = normals.copy(), {}
        side = np.zeros(len(normals), dtype=np.float32)
        side[hits.corner] = hits.facing[:, None]
        sky, light = np.ones((2, len(normals)), dtype=np.float32)
        for sign in (-1.0, 1.0):
            rows = np.flatnonzero(side == sign)
            if len(rows):
                sky[rows] = self._sky_of(rows, sign)
        rows = np.flatnonzero(side)
        start = (self._vertices[rows] + _RAY_START_MM * normals[rows] * side[rows, None]).astype(np.float32)
        disc = key + 0.17 * fibonacci_sphere(_KEY_DIRECTIONS, 0.5)
        disc /= np.linalg.norm(disc, axis=1, keepdims=True)
        lit = in_threads(lambda direction: self._free(start, direction, _SHADOW_MM), disc, _THREADS)
        light[rows] = np.mean(list(lit), axis=0)
        return sky, light

    def _sky_of(self, rows: NDArray[np.int64], sign: float) -> NDArray[np.float32]:
        """(n,) share of the near sky of vertices (n,), seen from one side; from any camera the same, so asked once."""
        known = self._sky.setdefault(sign, np.full(len(self._vertices), np.nan, dtype=np.float32))
        new = rows[np.isnan(known[rows])]
        normal = (sign * self._normals[new]).astype(np.float32)
        start = (self._vertices[new] + _RAY_START_MM * normal).astype(np.float32)

        def part(direction: FloatArray) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
            cosine = normal @ direction
            above = np.flatnonzero(cosine > 0.05)
            return above, cosine[above], self._free(start[above], direction, _CREASE_MM)

        seen, total = np.zeros((2, len(new)), dtype=np.float32)
        for above, cosine, free in in_threads(
            part, fibonacci_sphere(_SKY_DIRECTIONS, 0.5).astype(np.float32), _THREADS
        ):
            seen[above] += cosine * free
            total[above] += cosine
        known[new] = np.divide(seen, total, out=np.ones_like(seen), where=total > 0)
        return known[rows]

    def _free(self, start: NDArray[np.float32], direction: FloatArray, reach_mm: float) -> NDArray[np.float32]:
        reach = np.full(len(start), reach_mm, dtype=np.float32)
        blocked = self._scene.run(start, _along(direction, len(start)), dists=reach, query="OCCLUDED")
        return np.asarray(blocked != 0, dtype=np.float32)


def _pixels_of(places: FloatArray, size: int) -> slice:
    """The pixels of a row (or column) of `size` over -1..1 that `places` (N,) lie on, and one more on either side."""
    first, last = ((float(end) + 1.0) / 2.0 * size for end in (places.min(), places.max()))
    return slice(int(np.clip(first - 1.0, 0, size)), int(np.clip(last + 2.0, 0, size)))


_scenes: WeakKeyDictionary[Mesh, RayScene] = WeakKeyDictionary()
_scenes_lock = Lock()


def scene_of(mesh: Mesh) -> RayScene:
    """The scene of a mesh: the last few are kept for as long as their mesh, which cannot change, is in use."""
    with _scenes_lock:
        scene = _scenes.pop(mesh, None)
    scene = scene or RayScene(mesh)
    with _scenes_lock:
        _scenes[mesh] = scene
        while len(_scenes) > _KEPT_SCENES:
            del _scenes[next(iter(_scenes))]
    return scene


def _along(direction: FloatArray, count: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.broadcast_to(direction.astype(np.float32), (count, 3)))
