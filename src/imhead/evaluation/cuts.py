"""Discs and one half of the face, cut from a scan: what is cut is scored, the rest is fitted.

Several discs are cut at once, so that a scan costs few fits. Those of one round lie at least a disc's radius apart, rim
to rim, and there are few enough that most of the face is left.

Shape legend: N points of a scan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from imhead.conventions import FACE_RADIUS_MM
from imhead.errors import InputError
from imhead.surfaces.mending import without_unused_points
from imhead.types import BoolArray, FloatArray, IntArray, Scan

LEAST_POINTS = 5
"""Surface points that a cut hides, at least."""
_CELL_MM = 3.0  # one candidate for a centre in each: dense parts of a scan get no more discs than others
_RING_MM = 8.0  # width of the ring around a disc that must show the surface on every side
_LARGEST_GAP = np.radians(60.0)  # between the directions of two neighbours in the ring


@dataclass(frozen=True)
class CutKind:
    """What is cut from a scan."""

    name: str
    """Name in the rows."""
    radius_mm: float | None = None
    """Radius of a disc; None for one half of the face."""
    at_once: int = 1
    """Largest number of discs that are cut before a fit."""


KINDS = (CutKind("disc_10", 10.0, 10), CutKind("disc_20", 20.0, 5), CutKind("half"))
"""All kinds: discs of 10 mm and of 20 mm, at most about a sixth of the face at once, and one half of the face."""


@dataclass(frozen=True, eq=False)
class PlacedScan:
    """A scan whose place in the head frame is known from all its points."""

    scan: Scan
    """In its own frame and unit."""
    points_mm: FloatArray
    """(N, 3) its points in the head frame."""
    surface: BoolArray
    """(N,) points on the visible surface of the head; the rest is hair, clothes, noise or behind the surface."""
    nose_tip_mm: FloatArray
    """(3,) head frame."""

    @property
    def face(self) -> BoolArray:
        """(N,) surface points on the face."""
        near: BoolArray = self.surface & (self._from_tip_mm() < FACE_RADIUS_MM)
        return near

    def beyond_disc_mm(self, centre: int, radius_mm: float) -> FloatArray:
        """(N,) distance of each point beyond the rim of the disc around point `centre`; negative inside."""
        beyond: FloatArray = np.linalg.norm(self.points_mm - self.points_mm[centre], axis=1) - radius_mm
        return beyond

    def beyond_half_mm(self, side: int) -> FloatArray:
        """(N,) distance of each point beyond the half of the face on a side, +1 the left; negative inside."""
        beyond: FloatArray = np.maximum(-side * self.points_mm[:, 0], self._from_tip_mm() - FACE_RADIUS_MM)
        return beyond

    def is_near(self, row: int, others: list[int], distance_mm: float) -> bool:
        """Whether a point lies nearer than a distance to one of others."""
        away = np.linalg.norm(self.points_mm[others] - self.points_mm[row], axis=1)
        return bool((away < distance_mm).any())

    def _from_tip_mm(self) -> FloatArray:
        distance: FloatArray = np.linalg.norm(self.points_mm - self.nose_tip_mm, axis=1)
        return distance


def cut_rounds(placed: PlacedScan, kind: CutKind, discs: int, rng: np.random.Generator) -> list[list[FloatArray]]:
    """Rounds of cuts; those of one round are made before the same fit.

    Args:
        placed: the scan.
        kind: what is cut.
        discs: number of discs; a small scan has room for fewer.
        rng: draws the centres of the discs evenly over the face, or the side of the half.

    Returns:
        Of each cut the distance (N,) of the points beyond its rim, mm; points below 0 are cut.

    Raises:
        InputError: the scan shows too little of the face.
    """
    if kind.radius_mm is None:
        cut = placed.beyond_half_mm(int(rng.choice([-1, 1])))
        if min((placed.surface & (cut < 0)).sum(), (placed.surface & (cut >= 0)).sum()) < LEAST_POINTS:
            raise InputError(f"{placed.scan.name}: shows too little of a half of the face; give a scan of all of it")
        return [[cut]]
    rounds = _disc_rounds(placed, kind.radius_mm, kind.at_once, discs, rng)
    if not rounds:
        raise InputError(
            f"{placed.scan.name}: has no place for a disc of {kind.radius_mm:g} mm radius; give a larger or denser scan"
        )
    return [[placed.beyond_disc_mm(centre, kind.radius_mm) for centre in centres] for centres in rounds]


def without_points(scan: Scan, removed: BoolArray) -> Scan:
    """The shape of a scan without some of its points (N,), and without the faces at them; colours are left out."""
    keep, faces = ~removed, scan.faces
    bare = replace(scan, colors=None, texture=None)
    if faces is None:
        return replace(bare, points=scan.points[keep], normals=None if scan.normals is None else scan.normals[keep])
    faces = faces[keep[faces].all(axis=1)]
    used = np.unique(faces)
    points, faces = without_unused_points(scan.points, faces)
    return replace(bare, points=points, normals=None if scan.normals is None else scan.normals[used], faces=faces)


def _disc_rounds(
    placed: PlacedScan, radius_mm: float, at_once: int, discs: int, rng: np.random.Generator
) -> list[list[int]]:
    """Centres of discs in rounds. A centre that lies too near another of its round waits for the next."""
    surface = placed.points_mm[placed.surface]
    tree = cKDTree(surface)
    waiting = [int(row) for row in _candidates(placed, rng)]
    rounds: list[list[int]] = []
    left = discs
    while left and waiting:
        centres: list[int] = []
        later: list[int] = []
        for row in waiting:
            centre = placed.points_mm[row]
            if len(centres) == min(at_once, left) or placed.is_near(row, centres, 3.0 * radius_mm):
                later.append(row)
            elif _is_surrounded(surface[tree.query_ball_point(centre, radius_mm + _RING_MM)], centre, radius_mm):
                centres.append(row)
        if centres:
            rounds.append(centres)
        left -= len(centres)
        # no disc is drawn almost twice
        waiting = [row for row in later if not placed.is_near(row, centres, radius_mm)]
    return rounds


def _candidates(placed: PlacedScan, rng: np.random.Generator) -> IntArray:
    """Rows of points on the face in random order, one of each occupied cell."""
    rows = rng.permutation(np.flatnonzero(placed.face))
    cells = np.floor(placed.points_mm[rows] / _CELL_MM)
    first: IntArray = np.unique(cells, axis=0, return_index=True)[1]
    # drawn again: a cell with many points has its first one early
    return rows[rng.permutation(first)]


def _is_surrounded(near: FloatArray, centre: FloatArray, radius_mm: float) -> bool:
    """Whether a disc hides some of the surface points (K, 3) near it, and others lie around it on all sides."""
    beyond = np.linalg.norm(near - centre, axis=1) >= radius_mm
    if (~beyond).sum() < LEAST_POINTS:
        return False
    _, _, axes = np.linalg.svd(near - near.mean(axis=0), full_matrices=False)
    u, v = axes[:2] @ (near[beyond] - centre).T
    direction = np.sort(np.arctan2(v, u))
    gaps = np.diff(direction, append=direction[:1] + 2.0 * np.pi)
    return len(gaps) > 0 and float(gaps.max()) < _LARGEST_GAP
