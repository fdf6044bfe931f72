"""Training samples of one posed head: points, true signed distances, normals and canonical correspondences.

The solid is the closed skin without the eyeballs, which are analytic (surfaces/eyeballs.py): its distances inside an
eyeball mean nothing, so no sample lies there. Crevices, which neither scanner nor mesh resolves, are filled: a gap
narrower than 1.5 mm is shut, and points in it count as inside. Distances are true distances to that solid; a point
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
from imhead.datasets.heads import HeadSource, SourceHead
from imhead.model.fusion import coverage
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS
from imhead.sources.ict import boundary_loops
from imhead.sources.scans import Measured
from imhead.surfaces.eyeballs import eyes_distance, fitted_eyes, near_eyes, on_eyeball
from imhead.surfaces.properties import face_cross
from imhead.surfaces.rays import first_hit, ray_caster
from imhead.surfaces.sampling import draw_rows, folded
from imhead.surfaces.solid import Solid
from imhead.surfaces.transforms import carried_with_faces
from imhead.types import BoolArray, FloatArray, IntArray, Mesh

_IN_EYE_MM = 0.4  # samples deeper inside an eyeball are dropped
_EYE_SHARE = 0.08  # samples in front of the eyeballs, where the skin is open or a lid lies on them
_EYE_CONE = 0.55  # least cosine between the gaze and the direction of such a sample
_EYE_REACH_MM = 2.0  # they lie up to this far in front: a shut lid is thinner
_WALL_SHARE = 0.06  # at most this share of samples lies inside thin walls
_WALL_MM = (0.3, 6.0)  # thickness of a thin wall
_WALL_TRIES = 2
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
_LID_DENSITY = 2.0  # factor of the sampling density within
_LID_REACH_MM = 4.0  # this distance from an eyeball
_RIM = 6.0  # added sampling density at the cut of the bust, falling to 0 at
_RIM_MM = 30.0  # this distance from it
_UNSEEN_DENSITY = 0.5  # of surface samples where a scan shows nothing
_SAME_PLACE_MM = 2.0  # a measured point this near to a sample stands for it
_SAME_SIDE = 0.7  # least cosine between their normals
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


def sampling_density(centroids: FloatArray) -> FloatArray:
    """Relative sampling density (N,) at points (N, 3) of the mean head: higher where regions are small."""
    distance = np.linalg.norm(centroids[:, None] - CENTERS_MM, axis=2)
    smallest = np.where(distance < 0.8 * RADII_MM, RADII_MM, 140.0).min(axis=1)
    return np.clip((60.0 / smallest) ** 1.6, 0.25, 6.0)


def face_density(source: HeadSource) -> FloatArray:
    """Relative sampling density (F,) of each face of the skin: `sampling_density`, raised at the lids and at the sharp
    edge where the bust is cut. It is the same for every head."""
    mean = (source.mean + source.canonical_offset).astype(np.float64)
    centroids = mean[source.skin_faces].mean(axis=1)
    density = sampling_density(centroids)
    balls = source.mean[np.unique(source.eye_faces)]
    if len(balls):
        eyes = fitted_eyes(balls[balls[:, 0] > 0.0], balls[balls[:, 0] <= 0.0])
        lids = near_eyes(centroids, eyes)
        density[lids[eyes_distance(centroids[lids], eyes) < _LID_REACH_MM]] *= _LID_DENSITY
    rims = boundary_loops(source.skin_open_faces)
    if rims:
        lowest = min(rims, key=lambda loop: float(mean[loop, 1].mean()))  # the others are mouth and lids
        away, _ = cKDTree(mean[lowest]).query(centroids)
        density *= 1.0 + _RIM * np.clip(1.0 - away / _RIM_MM, 0.0, None)
    return density


def head_samples(
    head: SourceHead,
    density: FloatArray,
    posed: FloatArray,
    count: int,
    rng: np.random.Generator,
    uncovered: int = 0,
    measured: Measured | None = None,
) -> Samples:
    """Draw `count` samples of the skin of a posed head; the first half of them lies on the surface.

    Where a scanner saw the head, surface samples are the points that it measured, with their normals; elsewhere there
    are half as many.

    Args:
        head: the identity.
        density: `face_density(head.source)`.
        posed: (V, 3) its vertices in a pose, mm.
        uncovered: number of samples, at most, that no ball of the mean head covers.
        measured: what a scanner saw of it in this pose; None of a head that is known everywhere.
    """
    posed, canonical, faces = posed.astype(np.float64), head.canonical, head.source.skin_faces
    skin = Solid(posed, faces)
    normals = igl.per_corner_normals(posed, faces, _SHARP_DEG).reshape(-1, 3, 3)
    surface = int(count * _SURFACE_SHARE)
    if measured is not None:
        density = density * np.where(measured.seen[faces].all(axis=1), 1.0, _UNSEEN_DENSITY)
    seeds, seed_face, seed_bary = _surface_points(posed, faces, density, int(surface * 1.3), rng)
    seed_normal = np.einsum("nkc,nk->nc", normals[seed_face], seed_bary)
    seed_normal /= np.maximum(np.linalg.norm(seed_normal, axis=1, keepdims=True), 1e-12)
    outward = face_cross(posed, faces)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-12)
    hidden = _in_eyes(seeds, head.eyes, 0.0)
    crevice = ~hidden & _in_crevice(skin, seeds, outward[seed_face])
    shut = seeds[crevice] + outward[seed_face[crevice]] * rng.uniform(0.0, _CREVICE_MM, (int(crevice.sum()), 1))
    shut = rng.permutation(np.tile(shut, (_CREVICE_COPIES, 1)))[: int(_CREVICE_SHARE * count)]
    shut += rng.normal(0.0, 0.3 * _CREVICE_MM, shut.shape)
    kept = np.flatnonzero(~hidden & ~crevice)[:surface]
    seeds, seed_face, seed_normal = seeds[kept], seed_face[kept], seed_normal[kept]
    home = np.einsum("nkc,nk->nc", canonical[faces[seed_face]], seed_bary[kept])
    nearest = seeds
    if measured is not None:
        seeds, seed_normal = _as_measured(seeds, seed_normal, measured)
    between = _between(skin, seeds, home, int(_BETWEEN_SHARE * count), rng)
    walls = _in_walls(Mesh(posed, faces), seeds, outward[seed_face], int(_WALL_SHARE * count), rng)
    eyes = _at_eyes(head.eyes, int(_EYE_SHARE * count), rng)
    special = np.concatenate([shut, between, walls, eyes, _uncovered_points(seeds, uncovered, rng)])
    special = special[~_in_eyes(special, head.eyes, _IN_EYE_MM)]
    off = _off_surface_points(seeds, count - len(seeds) - len(special), int(count * _FAR_SHARE), head.eyes, rng)
    off = np.concatenate([off, special])
    closest = skin.signed_distance(off)
    away = np.where(np.abs(closest.distance) > 0.05, closest.distance, np.inf)[:, None]
    off_normal = (off - closest.point) / away

    bound = np.abs(closest.distance) < _CREVICE_REACH_MM
    bound[bound] = _in_crevice(skin, closest.point[bound], outward[closest.face[bound]])
    bound &= closest.distance < _CREVICE_MM
    off_distance = np.where(bound, np.minimum(closest.distance, -_SHUT_MM), closest.distance)
    off_normal[bound] = 0.0

    points = np.concatenate([seeds, off])
    nearest = np.concatenate([nearest, closest.point])
    face = np.concatenate([seed_face, closest.face])
    return Samples(
        points=points,
        distance=np.concatenate([np.zeros(len(seeds)), off_distance]),
        normal=np.concatenate([seed_normal, off_normal]),
        target=carried_with_faces(posed, canonical.astype(np.float64), faces[face], nearest, points),
        bound=np.concatenate([np.zeros(len(seeds), dtype=bool), bound]),
    )


def _as_measured(points: FloatArray, normals: FloatArray, measured: Measured) -> tuple[FloatArray, FloatArray]:
    """Surface points (N, 3) and their normals (N, 3), each replaced by the nearest measured point, if it is the same
    place."""
    if not len(measured.points):
        return points, normals
    away, row = cKDTree(measured.points).query(points, distance_upper_bound=_SAME_PLACE_MM)
    row = np.where(np.isfinite(away), row, 0)
    own = measured.normals[row].astype(np.float64)
    same = np.isfinite(away) & (np.einsum("nc,nc->n", own, normals) > _SAME_SIDE)
    return np.where(same[:, None], measured.points[row], points), np.where(same[:, None], own, normals)


def _off_surface_points(
    seeds: FloatArray, count: int, far: int, eyes: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """`count` points (N, 3) outside the eyeballs: near surface points `seeds` (M, 3), the last `far` anywhere within
    the bounds."""
    near = count - far
    spread = rng.choice([s for _, s in _NEAR_SIGMA_MM], p=[p for p, _ in _NEAR_SIGMA_MM], size=2 * near)
    base = rng.integers(len(seeds), size=2 * near)
    around = seeds[base] + rng.normal(size=(2 * near, 3)) * (spread / np.sqrt(3.0))[:, None]
    around = around[~_in_eyes(around, eyes, _IN_EYE_MM)][:near]
    anywhere = rng.uniform(BOUNDS_MIN_MM, BOUNDS_MAX_MM, (2 * far, 3))
    return np.concatenate([around, anywhere[~_in_eyes(anywhere, eyes, _IN_EYE_MM)][:far]])


def _surface_points(
    posed: FloatArray, faces: IntArray, density: FloatArray, count: int, rng: np.random.Generator
) -> tuple[FloatArray, IntArray, FloatArray]:
    face = draw_rows(np.linalg.norm(face_cross(posed, faces), axis=1) * density, count, rng)
    s, t = folded(*rng.random((2, count)))
    bary = np.stack([1.0 - s - t, s, t], axis=1)
    return np.einsum("nkc,nk->nc", posed[faces[face]], bary), face, bary


def _in_eyes(points: FloatArray, eyes: FloatArray, depth_mm: float) -> BoolArray:
    """(N,) bool: points (N, 3) more than `depth_mm` inside an eyeball."""
    inside = np.zeros(len(points), dtype=bool)
    near = near_eyes(points, eyes)
    inside[near] = eyes_distance(points[near], eyes) < -depth_mm
    return inside


def _at_eyes(eyes: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """`count` points (N, 3) around the fronts of both eyeballs."""
    cosine = rng.uniform(_EYE_CONE, 1.0, count)
    angle = rng.uniform(0.0, 2.0 * np.pi, count)
    across = np.sqrt(1.0 - cosine**2)
    front = np.stack([across * np.cos(angle), across * np.sin(angle), cosine], axis=1)
    half = count // 2
    left, right = on_eyeball(front[:half], eyes[0]), on_eyeball(front[half:], eyes[1]) * [-1.0, 1.0, 1.0]
    away = front * rng.uniform(-_IN_EYE_MM, _EYE_REACH_MM, (count, 1))
    points: FloatArray = np.concatenate([left + away[:half], right + away[half:] * [-1.0, 1.0, 1.0]])
    return points


def _in_walls(skin: Mesh, seeds: FloatArray, outward: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Up to `count` points inside thin walls, between surface points `seeds` (N, 3) and the sheet behind them."""
    rows = rng.permutation(len(seeds))[: min(len(seeds), 10 * _WALL_TRIES * count)]
    start, way = seeds[rows] - 0.02 * outward[rows], -outward[rows]
    caster = ray_caster(skin)
    hit = first_hit(caster, start, way)
    start, way, hit = start[hit >= 0], way[hit >= 0], hit[hit >= 0]
    normal = caster.normals[hit]
    along = np.einsum("nc,nc->n", way, normal)
    # the ray leaves through the sheet behind; a grazing ray says nothing of the thickness
    through = along > 0.3 * np.linalg.norm(normal, axis=1)
    start, way, hit, normal, along = start[through], way[through], hit[through], normal[through], along[through]
    thickness = np.einsum("nc,nc->n", caster.corners[hit, 0] - start, normal) / along
    thin = np.flatnonzero((thickness > _WALL_MM[0]) & (thickness < _WALL_MM[1]))[:count]
    points: FloatArray = start[thin] + (rng.uniform(0.25, 0.75, len(thin)) * thickness[thin])[:, None] * way[thin]
    return points


def _in_crevice(skin: Solid, surface: FloatArray, outward: FloatArray) -> BoolArray:
    # the ball that touches the surface here from outside meets another part of it
    crevice: BoolArray = skin.closest(surface + _CREVICE_MM * outward).distance < 0.75 * _CREVICE_MM
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


def _between(skin: Solid, seeds: FloatArray, home: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
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
    outside: FloatArray = points[skin.signed_distance(points).distance > _BETWEEN_MM][:count]
    return outside
