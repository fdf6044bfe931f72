"""Random points on a surface, uniform by area; points thinned to an even spacing; directions spread over the sphere.

Shape legend: N points, F faces.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.surfaces.distances import check_mesh
from imhead.surfaces.properties import face_areas, face_cross
from imhead.types import BoolArray, FloatArray, IntArray, Mesh

RegionTest = Callable[[FloatArray], BoolArray]
"""Points (N, 3) in mm → (N,) bool: whether each lies in the region of interest."""

_MAX_ROUNDS = 400
_MIN_ACCEPTANCE = 1e-4


def sample_surface(
    mesh: Mesh, samples: int, *, seed: int, mask: BoolArray | None = None, region: RegionTest | None = None
) -> tuple[FloatArray, IntArray]:
    """Random points on a mesh, uniform by area.

    Args:
        mesh: the surface.
        samples: how many points to draw.
        seed: the same seed gives the same points.
        mask: (F,) bool, the faces to draw on; None for all.
        region: where points are kept; drawing goes on until there are `samples` of them.

    Returns:
        points (samples, 3) and the index of the face that each lies on (samples,).

    Raises:
        InputError: nothing to draw on, or (almost) no point of the surface lies in the region.
    """
    if samples < 1:
        raise InputError(f"samples is {samples}; ask for at least one")
    weights = np.where(checked_mask(mesh, mask, "mask"), face_areas(mesh), 0.0)
    total = np.cumsum(weights)
    if not total[-1] > 0:
        raise InputError("the chosen faces have no area; choose faces of a surface")
    rng = np.random.default_rng(seed)
    points: list[FloatArray] = []
    faces: list[IntArray] = []
    drawn = kept = 0
    for _ in range(_MAX_ROUNDS):
        # once the share of points in the region is known, draw a tenth more than should be missing
        missing = 1.1 * (samples - kept) * drawn / kept if kept else float(samples)
        batch = int(np.clip(missing, 64, 1_000_000)) if drawn else samples
        face = np.searchsorted(total, rng.random(batch) * total[-1], side="right")
        u, v = rng.random((2, batch))
        root = np.sqrt(u)
        share = np.stack([1 - root, root * (1 - v), root * v], axis=1)
        point = np.einsum("ck,ckd->cd", share, mesh.vertices[mesh.faces[face]])
        if region is not None:
            inside = _checked_region(region, point)
            point, face = point[inside], face[inside]
        points.append(point)
        faces.append(face)
        drawn, kept = drawn + batch, kept + len(point)
        if kept >= samples:
            return np.concatenate(points)[:samples], np.concatenate(faces)[:samples]
        if drawn * _MIN_ACCEPTANCE > max(kept, 1):
            break
    raise InputError("almost none of the surface lies in the region of interest; check the region, frame and units")


def checked_mask(mesh: Mesh, mask: BoolArray | None, name: str) -> BoolArray:
    """(F,) the mask, or all True for None.

    Raises:
        InputError: the mesh has no faces, or the mask is not bool (F,); the message calls it `name`.
    """
    check_mesh(mesh, "the mesh")
    if mask is None:
        return np.ones(len(mesh.faces), dtype=bool)
    value = np.asarray(mask)
    if value.dtype != np.bool_ or value.shape != (len(mesh.faces),):
        raise InputError(f"{name} is {value.dtype} {value.shape}; expected bool ({len(mesh.faces)},), one per face")
    return value


def _checked_region(region: RegionTest, points: FloatArray) -> BoolArray:
    inside = np.asarray(region(points))
    if inside.dtype != np.bool_ or inside.shape != (len(points),):
        raise InputError(f"region returned {inside.dtype} {inside.shape}; expected bool ({len(points)},)")
    return inside


def draw_points(
    vertices: FloatArray, faces: IntArray, count: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Random points on a surface, uniform by area.

    Returns:
        points (count, 3), unit normals of their faces (count, 3), rows of their faces (count,).
    """
    cross = face_cross(vertices, faces)
    area = np.linalg.norm(cross, axis=1)
    face = draw_rows(area, count, rng)
    s, t = folded(*rng.random((2, count)))
    return points_on(vertices, faces[face], s, t), cross[face] / np.maximum(area[face], 1e-30)[:, None], face


def draw_rows(weights: FloatArray, count: int, rng: np.random.Generator) -> IntArray:
    """Random rows (count,), drawn with probability proportional to the weights (F,)."""
    return rng.choice(len(weights), size=count, p=weights / weights.sum())


def folded(s: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Barycentric weights (N,) of a triangle's second and third corners, uniform if s and t (N,) are over [0, 1]."""
    outside = s + t > 1.0
    return np.where(outside, 1.0 - s, s), np.where(outside, 1.0 - t, t)


def points_on(vertices: FloatArray, corners: IntArray, s: FloatArray, t: FloatArray) -> FloatArray:
    """(N, 3) points in triangles (N, 3), at barycentric weights (N,) of their second and third corners."""
    a, b, c = (vertices[corners[:, k]] for k in range(3))
    return np.asarray(a + s[:, None] * (b - a) + t[:, None] * (c - a))


def fibonacci_sphere(count: int, first: float = 0.0) -> FloatArray:
    """(count, 3) unit vectors spread evenly over the sphere, from +Z down; `first` turns the spiral by its steps."""
    k = np.arange(count)
    z, turn = 1.0 - 2.0 * (k + 0.5) / count, (k + first) * np.pi * (3.0 - np.sqrt(5.0))
    ring = np.sqrt(1.0 - z * z)
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), z], axis=1)


def even_subset(points: FloatArray, spacing: float) -> NDArray[np.int64]:
    """Rows of points (N, 3), one per occupied cell of a cubic grid: the point nearest to the middle of its cell.

    Args:
        spacing: length of a cell, in the units of the points.
    """
    scaled = (points - points.min(0)) / spacing
    cell = np.floor(scaled).astype(np.int64)
    offset = np.square(scaled - cell - 0.5).sum(1)
    size = cell.max(0) + 1
    key = (cell[:, 0] * size[1] + cell[:, 1]) * size[2] + cell[:, 2]
    order = np.lexsort((offset, key))
    first = np.ones(len(order), dtype=bool)
    first[1:] = key[order][1:] != key[order][:-1]
    return np.sort(order[first])
