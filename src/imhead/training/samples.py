"""Training samples of one posed head: points, true signed distances, normals and canonical correspondences.

The head is the union of closed surfaces (sources/ict.py) without crevices, which neither scanner nor mesh resolves: a
gap narrower than 1.5 mm is shut, and points in it count as inside. Distances are true distances to that union; a point
offset by d along the normal need not have distance d near lids, lips, nostrils and ears. The sign comes from the
winding number.
"""

from __future__ import annotations

from dataclasses import dataclass

import igl
import numpy as np
import torch
from scipy.spatial import cKDTree

from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.datasets.heads import HeadSource
from imhead.model.fusion import coverage
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS
from imhead.sources.ict import boundary_loops
from imhead.surfaces.properties import face_cross
from imhead.surfaces.sampling import draw_rows, folded
from imhead.surfaces.solid import Closest, Solid
from imhead.types import BoolArray, FloatArray, IntArray

_EYE_REACH_MM = 30.0  # at a larger distance from an eye the skin is always nearer
_NEAR_SIGMA_MM = ((0.4, 1.0), (0.4, 5.0), (0.2, 20.0))  # share, spread of the off-surface samples
_FAR_SHARE = 0.08
UNCOVERED_SHARE = 0.06
"""Share of the canonical samples that no region's ball covers. No code acts there: without samples, the field grows a
spurious sheet."""
_UNCOVERED = 3e-3  # sum of blend weights below which a point counts as uncovered
_BARELY_COVERED = 0.1  # uncovered samples lie around surface points with less than this
_UNCOVERED_SIGMA_MM = 15.0
_UNCOVERED_TRIES = 8
_SURFACE_SHARE = 0.5
_CREVICE_MM = 0.75  # a gap that a ball of this radius cannot enter is shut: lips that meet, a lid on its eyeball
_CREVICE_REACH_MM = 5.0  # at a larger distance from the surface, crevices are ignored
_CREVICE_SHARE = 0.05  # at most this share of samples lies in crevices
_CREVICE_COPIES = 6  # samples around each surface point drawn in a crevice
_SHUT_MM = 0.2  # a point in a crevice is at least this far inside
_BETWEEN_SHARE = 0.08  # at most this share of samples lies between lips that the pose moves apart
_BETWEEN_TRIES = 6
_BETWEEN_MM = 1.5  # least distance of such a sample from the surface
_SHARP_DEG = 60.0  # faces that meet at a larger angle have normals of their own: skin and the cap of the bust's cut
_RIM = 6.0  # added sampling density at the cut of the bust, falling to 0 at
_RIM_MM = 30.0  # this distance from it
_MOVED_MM = 3.0  # the pose moves lips apart where it moves them by more
_MOUTH = [r.index for r in REGIONS if r.group == "mouth"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of one posed head. Lengths are mm, head frame."""

    points: FloatArray
    """(N, 3) observed points."""
    distance: FloatArray
    """(N,) true signed distance, negative inside."""
    normal: FloatArray
    """(N, 3) unit gradient of the distance: on the surface, its normal."""
    target: FloatArray
    """(N, 3) where each point lies in the canonical pose."""
    bound: BoolArray
    """(N,) bool: the nearest surface is in a crevice; the distance is an upper bound and the normal zero."""


@dataclass(frozen=True, eq=False)
class _Solids:
    """The closed surfaces whose union a head is."""

    skin: Solid
    eyes: Solid

    @classmethod
    def of(cls, source: HeadSource, posed: FloatArray) -> _Solids:
        return cls(Solid(posed, source.skin_faces), Solid(posed, source.eye_faces))

    def near_eyes(self, points: FloatArray, margin_mm: float) -> BoolArray:
        vertices = self.eyes.vertices[np.unique(self.eyes.faces)]
        near = np.zeros(len(points), dtype=bool)
        for side in (vertices[vertices[:, 0] > 0], vertices[vertices[:, 0] <= 0]):
            low, high = side.min(axis=0) - margin_mm, side.max(axis=0) + margin_mm
            near |= ((points > low) & (points < high)).all(axis=1)
        return near

    def signed_distance(self, points: FloatArray) -> Closest:
        """True signed distance to the union; faces are skin, then eyes."""
        skin = self.skin.signed_distance(points)
        near = self.near_eyes(points, _EYE_REACH_MM)
        eye = self.eyes.signed_distance(points[near])
        distance, point, face = skin.distance.copy(), skin.point.copy(), skin.face.copy()
        closer = eye.distance < distance[near]
        rows = np.flatnonzero(near)[closer]
        distance[rows], point[rows] = eye.distance[closer], eye.point[closer]
        face[rows] = eye.face[closer] + len(self.skin.faces)
        return Closest(distance, point, face)


def sampling_density(centroids: FloatArray) -> FloatArray:
    """Relative sampling density (N,) at points (N, 3) of the mean head: higher where regions are small."""
    distance = np.linalg.norm(centroids[:, None] - CENTERS_MM, axis=2)
    smallest = np.where(distance < 0.8 * RADII_MM, RADII_MM, 140.0).min(axis=1)
    return np.clip((60.0 / smallest) ** 1.6, 0.25, 6.0)


def face_density(source: HeadSource) -> FloatArray:
    """Relative sampling density (F,) of each face, skin then eyes: `sampling_density`, raised at the sharp edge where
    the bust is cut. It is the same for every head."""
    mean = (source.mean + source.canonical_offset).astype(np.float64)
    centroids = mean[np.concatenate([source.skin_faces, source.eye_faces])].mean(axis=1)
    density = sampling_density(centroids)
    rims = boundary_loops(source.skin_open_faces)
    if rims:
        lowest = min(rims, key=lambda loop: float(mean[loop, 1].mean()))  # the others are mouth and lids
        away, _ = cKDTree(mean[lowest]).query(centroids)
        density *= 1.0 + _RIM * np.clip(1.0 - away / _RIM_MM, 0.0, None)
    return density


def head_samples(
    source: HeadSource,
    density: FloatArray,
    posed: FloatArray,
    canonical: FloatArray,
    count: int,
    rng: np.random.Generator,
    uncovered: int = 0,
) -> Samples:
    """Draw `count` samples of a posed head; the first half of them lies on the surface.

    Args:
        density: `face_density(source)`.
        posed: (V, 3) vertices of the head, mm.
        canonical: (V, 3) the same vertices in the canonical pose, mm.
        uncovered: number of samples, at most, that no ball of the mean head covers.
    """
    posed = posed.astype(np.float64)
    solids = _Solids.of(source, posed)
    faces = np.concatenate([source.skin_faces, source.eye_faces])
    normals = igl.per_corner_normals(posed, faces, _SHARP_DEG).reshape(-1, 3, 3)
    surface = int(count * _SURFACE_SHARE)
    seeds, seed_face, seed_bary = _surface_points(posed, faces, density, int(surface * 1.3), rng)
    seed_normal = np.einsum("nkc,nk->nc", normals[seed_face], seed_bary)
    seed_normal /= np.maximum(np.linalg.norm(seed_normal, axis=1, keepdims=True), 1e-12)
    outward = face_cross(posed, faces)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-12)
    hidden = _hidden(solids, seeds, seed_face)
    crevice = ~hidden & _in_crevice(solids, seeds, outward[seed_face])
    shut = seeds[crevice] + outward[seed_face[crevice]] * rng.uniform(0.0, _CREVICE_MM, (int(crevice.sum()), 1))
    shut = rng.permutation(np.tile(shut, (_CREVICE_COPIES, 1)))[: int(_CREVICE_SHARE * count)]
    shut += rng.normal(0.0, 0.3 * _CREVICE_MM, shut.shape)
    kept = np.flatnonzero(~hidden & ~crevice)[:surface]
    seeds, seed_face, seed_normal = seeds[kept], seed_face[kept], seed_normal[kept]
    home = np.einsum("nkc,nk->nc", canonical[faces[seed_face]], seed_bary[kept])
    between = _between(solids, seeds, home, int(_BETWEEN_SHARE * count), rng)
    special = np.concatenate([shut, between, _uncovered_points(seeds, uncovered, rng)])
    off = _off_surface_points(seeds, count - len(seeds) - len(special), int(count * _FAR_SHARE), rng)
    off = np.concatenate([off, special])
    closest = solids.signed_distance(off)
    away = np.where(np.abs(closest.distance) > 0.05, closest.distance, np.inf)[:, None]
    off_normal = (off - closest.point) / away

    bound = np.abs(closest.distance) < _CREVICE_REACH_MM
    bound[bound] = _in_crevice(solids, closest.point[bound], outward[closest.face[bound]])
    bound &= closest.distance < _CREVICE_MM
    off_distance = np.where(bound, np.minimum(closest.distance, -_SHUT_MM), closest.distance)
    off_normal[bound] = 0.0

    points = np.concatenate([seeds, off])
    nearest = np.concatenate([seeds, closest.point])
    face = np.concatenate([seed_face, closest.face])
    return Samples(
        points=points,
        distance=np.concatenate([np.zeros(len(seeds)), off_distance]),
        normal=np.concatenate([seed_normal, off_normal]),
        target=carried_with_faces(posed, canonical.astype(np.float64), faces[face], nearest, points),
        bound=np.concatenate([np.zeros(len(seeds), dtype=bool), bound]),
    )


def carried_with_faces(
    source: FloatArray, target: FloatArray, corners: IntArray, nearest: FloatArray, points: FloatArray
) -> FloatArray:
    """`points` (N, 3), moved with the triangles `corners` (N, 3) from vertices `source` to `target` (V, 3).

    The `nearest` point (N, 3) on the triangle keeps its barycentric coordinates; the offset from it turns with the
    triangle's frame.
    """
    a, b, c = (source[corners[:, k]] for k in range(3))
    u, v, w = b - a, c - a, nearest - a
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    wu, wv = (w * u).sum(1), (w * v).sum(1)
    det = np.maximum(uu * vv - uv * uv, 1e-12)
    s, t = (vv * wu - uv * wv) / det, (uu * wv - uv * wu) / det
    moved = sum(weight[:, None] * target[corners[:, k]] for k, weight in enumerate((1.0 - s - t, s, t)))
    rotation = np.einsum("nij,nkj->nik", _frames(target[corners]), _frames(source[corners]))
    result: FloatArray = moved + np.einsum("nij,nj->ni", rotation, points - nearest)
    return result


def _frames(corner: FloatArray) -> FloatArray:
    x = corner[:, 1] - corner[:, 0]
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    z = np.cross(x, corner[:, 2] - corner[:, 0])
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    return np.stack([x, np.cross(z, x), z], axis=2)


def _off_surface_points(seeds: FloatArray, count: int, far: int, rng: np.random.Generator) -> FloatArray:
    """`count` points (N, 3): near surface points `seeds` (M, 3), and the last `far` anywhere within the bounds."""
    near = count - far
    spread = rng.choice([s for _, s in _NEAR_SIGMA_MM], p=[p for p, _ in _NEAR_SIGMA_MM], size=near)
    base = rng.integers(len(seeds), size=near)
    around = seeds[base] + rng.normal(size=(near, 3)) * (spread / np.sqrt(3.0))[:, None]
    return np.concatenate([around, rng.uniform(BOUNDS_MIN_MM, BOUNDS_MAX_MM, (far, 3))])


def _surface_points(
    posed: FloatArray, faces: IntArray, density: FloatArray, count: int, rng: np.random.Generator
) -> tuple[FloatArray, IntArray, FloatArray]:
    face = draw_rows(np.linalg.norm(face_cross(posed, faces), axis=1) * density, count, rng)
    s, t = folded(*rng.random((2, count)))
    bary = np.stack([1.0 - s - t, s, t], axis=1)
    return np.einsum("nkc,nk->nc", posed[faces[face]], bary), face, bary


def _hidden(solids: _Solids, points: FloatArray, face: IntArray) -> BoolArray:
    # a point of one solid that lies inside another is not on the surface of their union
    skin = face < len(solids.skin.faces)
    hidden = np.zeros(len(points), dtype=bool)
    near = skin & solids.near_eyes(points, 3.0)
    for mask, solid in ((near, solids.eyes), (~skin, solids.skin)):
        if mask.any():
            hidden[mask] = solid.inside(points[mask])
    return hidden


def _in_crevice(solids: _Solids, surface: FloatArray, outward: FloatArray) -> BoolArray:
    # the ball that touches the surface here from outside meets another part of it
    ball = surface + _CREVICE_MM * outward
    nearest = np.minimum(solids.skin.closest(ball).distance, solids.eyes.closest(ball).distance)
    crevice: BoolArray = nearest < 0.75 * _CREVICE_MM
    return crevice


def _uncovered_points(seeds: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Up to `count` points that no ball of the mean head covers, around barely covered surface points of `seeds`."""
    bare = seeds[_coverage(seeds) < _BARELY_COVERED]
    if not (count and len(bare)):
        return np.zeros((0, 3))
    around = bare[rng.integers(len(bare), size=_UNCOVERED_TRIES * count)]
    around += rng.normal(0.0, _UNCOVERED_SIGMA_MM, around.shape)
    points: FloatArray = around[_coverage(around) < _UNCOVERED][:count]
    return points


def _coverage(points: FloatArray) -> FloatArray:
    """(N,) sum of the blend weights of the mean head's regions."""
    total: FloatArray = coverage(*(torch.from_numpy(part) for part in (points, CENTERS_MM, RADII_MM))).numpy()
    return total


def _between(solids: _Solids, seeds: FloatArray, home: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Up to `count` outside points on chords from one of the mouth's surface points `seeds` to another.

    `home` (N, 3) are the seeds in the canonical pose. The other samples are dense near the surface only: the middle of
    an open mouth has too few to constrain the warp.
    """
    mouth = np.flatnonzero((np.linalg.norm(home[:, None] - CENTERS_MM[_MOUTH], axis=2) < RADII_MM[_MOUTH]).any(axis=1))
    moved = mouth[np.linalg.norm(seeds[mouth] - home[mouth], axis=1) > _MOVED_MM]
    if not len(moved):
        return np.zeros((0, 3))
    start, end = (seeds[rng.choice(rows, size=_BETWEEN_TRIES * count)] for rows in (moved, mouth))
    points = start + rng.uniform(0.1, 0.9, (len(start), 1)) * (end - start)
    outside: FloatArray = points[solids.signed_distance(points).distance > _BETWEEN_MM][:count]
    return outside
