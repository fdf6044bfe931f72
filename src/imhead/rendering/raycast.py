"""Ray casting: what an orthographic camera sees of a mesh, and ambient occlusion of its vertices.

In mm of the mesh's own frame. The scene of a mesh is built once. `imhead.rendering.shading` lights what is seen.

Shape legend: V vertices, P pixels that show the mesh.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property, partial
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from imhead.parallel import in_threads
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.ray_tree import Hits, ray_tree
from imhead.surfaces.sampling import fibonacci_sphere
from imhead.types import FloatArray, Mesh

# rays start slightly off the surface; occluders up to _CREASE_MM darken creases, up to _SHADOW_MM cast shadows
_RAY_START_MM, _CREASE_MM, _SHADOW_MM = 0.4, 40.0, 600.0
_AMBIENT_DIRECTIONS, _KEY_DIRECTIONS = 28, 6
# each vertex in a row has other directions, and means of neighbours are taken: the rim of no single shadow shows
_GROUPS, _MEANS = 4, 5
_KEPT_SCENES, _KEPT_HITS = 4, 3
_THREADS = min(4, os.cpu_count() or 1)  # casting rays releases the interpreter lock


@dataclass(frozen=True)
class Camera:
    """An orthographic camera with a square picture."""

    right: tuple[float, float, float]
    """Unit vector to the right of the picture."""
    up: tuple[float, float, float]
    """Unit vector to the top of the picture."""
    toward: tuple[float, float, float]
    """Unit vector from the subject to the viewer."""
    center_mm: tuple[float, float, float]
    """Point in the middle of the picture, mm."""
    half_mm: float
    """Half the side of the picture, mm."""

    @property
    def axes(self) -> FloatArray:
        """(3, 3) rows right, up, toward."""
        return np.array([self.right, self.up, self.toward])


@dataclass(frozen=True, eq=False)
class RayHits:
    """First hits of the rays of a picture, one ray for each pixel."""

    pixel: NDArray[np.int64]
    """(P,) flat indices of the pixels that show the mesh."""
    corner: NDArray[np.int64]
    """(P, 3) vertices of the face that is hit."""
    face: NDArray[np.int64]
    """(P,) the face that is hit."""
    facing: NDArray[np.float32]
    """(P,) +1 where the front of the face is hit, -1 where its back is."""
    mean: csr_array
    """(P, V) float32 barycentric weights: values at vertices → values at pixels."""
    depth_mm: FloatArray
    """(P,) distance towards the viewer from the plane through the middle of the picture."""

    @cached_property
    def seen(self) -> NDArray[np.int64]:
        """(U,) vertices of the faces that are hit, sorted."""
        shown = np.zeros(self.mean.shape[1], dtype=bool)
        shown[self.corner] = True
        return np.flatnonzero(shown)

    @cached_property
    def mean_of_seen(self) -> csr_array:
        """(P, U) `mean` for values at `seen` vertices alone."""
        local = np.zeros(self.mean.shape[1], dtype=np.int32)
        local[self.seen] = np.arange(len(self.seen))
        pixels, seen = len(self.pixel), len(self.seen)
        return csr_array((self.mean.data, local[self.mean.indices], self.mean.indptr), shape=(pixels, seen))

    @property
    def shares(self) -> NDArray[np.float32]:
        """(P, 3) barycentric weights of the corners."""
        return self.mean.data.reshape(-1, 3)


class RayScene:
    """The ray-casting scene of one mesh, with its latest hits and its ambient occlusion.

    Args:
        mesh: head frame, mm.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._vertices, self._faces = mesh.vertices, mesh.faces
        self._tree = ray_tree(mesh.vertices, mesh.faces)
        self._hits: dict[tuple[Camera, int], RayHits] = {}
        self._normals: FloatArray = np.zeros((0, 3))
        self._ambient: dict[float, NDArray[np.float32]] = {}
        self._lights: dict[tuple[float, ...], tuple[RayHits, tuple[NDArray[np.float32], NDArray[np.float32]]]] = {}

    @cached_property
    def normals(self) -> FloatArray:
        """(V, 3) smooth unit normals."""
        return vertex_normals(self._vertices, self._faces)[0]

    def hits(self, frame: Camera, size: int) -> RayHits:
        """First hits of a camera with `size` × `size` pixels."""
        if (frame, size) not in self._hits:
            self._hits[frame, size] = self._cast_picture(frame, size)
            while len(self._hits) > _KEPT_HITS:
                del self._hits[next(iter(self._hits))]
        return self._hits[frame, size]

    def _cast_picture(self, frame: Camera, size: int) -> RayHits:
        right, up, toward = frame.axes
        across, upright, local = ((self._vertices - np.array(frame.center_mm)) @ frame.axes.T).T
        columns, rows = _pixels_of(across / frame.half_mm, size), _pixels_of(-upright / frame.half_mm, size)
        start = np.array(frame.center_mm) + (float(local.max()) + 10.0) * toward
        step = (np.arange(size) + 0.5) / size * 2.0 - 1.0
        start = start + frame.half_mm * (step[None, columns, None] * right - step[rows, None, None] * up)

        def cast(part: NDArray[np.float32]) -> Hits:
            return self._tree.first(part, _along(-toward, len(part)))

        origins = np.array_split(start.reshape(-1, 3).astype(np.float32), 4 * _THREADS)
        hits = list(in_threads(cast, origins, _THREADS))
        face, u, v = (np.concatenate([getattr(hit, name) for hit in hits]) for name in ("face", "u", "v"))
        hit = np.flatnonzero(face >= 0)
        pixel = (np.arange(size)[rows, None] * size + np.arange(size)[None, columns]).reshape(-1)[hit]
        u, v = u[hit], v[hit]
        corner = self._faces[face[hit]]
        x, y = across[corner], upright[corner]  # in the picture, a face seen from its front is counter-clockwise
        turn = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
        facing = np.where(turn >= 0.0, 1.0, -1.0).astype(np.float32)
        weight = np.stack([1 - u - v, u, v], axis=1).astype(np.float32)
        ends = np.arange(len(pixel) + 1) * 3
        mean = csr_array((weight.reshape(-1), corner.reshape(-1), ends), shape=(len(pixel), len(self._vertices)))
        return RayHits(pixel, corner, face[hit].astype(np.int64), facing, mean, mean @ local)

    def ambient_occlusion(
        self, hits: RayHits, normals: FloatArray, key: FloatArray
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Light that reaches the visible vertices: ambient visibility (V,), and the visible share of a key light (V,).

        Both are from 0 to 1; hidden vertices have 1.

        Args:
            hits: the picture; it decides which vertices, and which sides of them, are visible.
            normals: (V, 3) unit.
            key: (3,) unit, towards the middle of the light, a disc about 20 degrees wide for soft shadows.
        """
        if not np.array_equal(normals, self._normals):
            self._normals, self._ambient, self._lights = normals.copy(), {}, {}
        place = (id(hits), *key.tolist())
        if place not in self._lights:
            # the hits are kept too, so that no later ones have their number
            self._lights[place] = hits, self._lights_of(hits, normals, key)
            while len(self._lights) > _KEPT_HITS:
                del self._lights[next(iter(self._lights))]
        return self._lights[place][1]

    def _lights_of(
        self, hits: RayHits, normals: FloatArray, key: FloatArray
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As `ambient_occlusion`, of normals for which ambient visibility may be known."""
        side = np.zeros(len(normals), dtype=np.float32)
        side[hits.corner] = hits.facing[:, None]
        ambient, light = np.ones((2, len(normals)), dtype=np.float32)
        for sign in (-1.0, 1.0):
            rows = np.flatnonzero(side == sign)
            if len(rows):
                ambient[rows] = self._ambient_of(rows, sign)
        rows = np.flatnonzero(side)
        start = (self._vertices[rows] + _RAY_START_MM * normals[rows] * side[rows, None]).astype(np.float32)
        disc = key + 0.17 * fibonacci_sphere(_GROUPS * _KEY_DIRECTIONS, 0.5)
        disc /= np.linalg.norm(disc, axis=1, keepdims=True)
        for group in range(_GROUPS):
            own = rows % _GROUPS == group
            cast = partial(self._unoccluded, start[own], reach_mm=_SHADOW_MM)
            light[rows[own]] = np.mean(list(in_threads(cast, disc[group::_GROUPS], _THREADS)), axis=0)
        seen = side != 0.0
        first, second, third = self._faces.T
        local = np.full(len(side), -1)
        local[rows] = np.arange(len(rows))
        faces = local[self._faces[seen[first] & seen[second] & seen[third]]]
        ambient[rows], light[rows] = _means(ambient[rows], faces), _means(light[rows], faces)
        return ambient, light

    def _ambient_of(self, rows: NDArray[np.int64], sign: float) -> NDArray[np.float32]:
        """(N,) ambient visibility of vertices (N,) on one side; independent of the camera, so computed once."""
        known = self._ambient.setdefault(sign, np.full(len(self._vertices), np.nan, dtype=np.float32))
        new = rows[np.isnan(known[rows])]
        directions = fibonacci_sphere(_GROUPS * _AMBIENT_DIRECTIONS, 0.5).astype(np.float32)
        for group in range(_GROUPS):
            own = new[new % _GROUPS == group]
            known[own] = self._ambient_from(own, sign, directions[group::_GROUPS])
        return known[rows]

    def _ambient_from(
        self, rows: NDArray[np.int64], sign: float, directions: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """(N,) share of directions (D, 3) above the surface, by cosine, in which nothing is near vertices (N,)."""
        normal = (sign * self._normals[rows]).astype(np.float32)
        start = (self._vertices[rows] + _RAY_START_MM * normal).astype(np.float32)

        def ray(direction: FloatArray) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
            cosine = normal @ direction
            above = np.flatnonzero(cosine > 0.05)
            return above, cosine[above], self._unoccluded(start[above], direction, _CREASE_MM)

        seen, total = np.zeros((2, len(rows)), dtype=np.float32)
        for above, cosine, visible in in_threads(ray, directions, _THREADS):
            seen[above] += cosine * visible
            total[above] += cosine
        return np.divide(seen, total, out=np.ones_like(seen), where=total > 0)

    def _unoccluded(self, start: NDArray[np.float32], direction: FloatArray, reach_mm: float) -> NDArray[np.float32]:
        """(N,) 1 where nothing lies within reach of a start (N, 3) in a direction (3,), else 0."""
        return np.asarray(~self._tree.blocked(start, _along(direction, len(start)), reach_mm), dtype=np.float32)


def _means(values: NDArray[np.float32], faces: NDArray[np.int64]) -> NDArray[np.float32]:
    """(V,) values averaged over the neighbours on faces (F, 3) a few times."""
    corners, size = faces.ravel(), len(values)
    count = 3.0 * np.bincount(corners, minlength=size)
    first, second, third = (np.ascontiguousarray(corner) for corner in faces.T)
    for _ in range(_MEANS):
        face = values[first] + values[second] + values[third]
        total = np.bincount(corners, np.repeat(face, 3), size)
        values = np.divide(total, count, out=values.astype(np.float64), where=count > 0).astype(np.float32)
    return values


def _pixels_of(places: FloatArray, size: int) -> slice:
    """Pixels of a row or column of `size` over -1..1 that `places` (N,) span, and one more on either side."""
    first, last = ((float(end) + 1.0) / 2.0 * size for end in (places.min(), places.max()))
    return slice(int(np.clip(first - 1.0, 0, size)), int(np.clip(last + 2.0, 0, size)))


_scenes: WeakKeyDictionary[Mesh, RayScene] = WeakKeyDictionary()
_scenes_lock = Lock()


def scene_of(mesh: Mesh) -> RayScene:
    """The scene of a mesh. The latest few are kept while their meshes, which are immutable, are in use."""
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
