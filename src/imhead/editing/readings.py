"""Readings of a head, such as the width of its nose, and steps of region codes that bring them to given values.

The template's linear blend gives the first Jacobian; quasi-Newton (Broyden) steps then solve on the zero set itself.

Shape legend: K step directions, L landmarks, P readings, n regions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imhead.checkpoint import Model
from imhead.editing.smoothness import strain_energy
from imhead.editing.steps import (
    Regions,
    conditional_steps,
    region_codes,
    region_rows,
    stepped,
    symmetric,
    with_mirrors,
)
from imhead.isosurface.field import HeadField
from imhead.measure.carrier import SurfacePoints, landmark_points
from imhead.measure.table import Measurement, landmark_rows, slope, value
from imhead.types import BoolArray, FloatArray, Head, IntArray

_MARGIN_MM = 20.0  # beyond a ball: heads' keypoints move with their codes
_MOST_STEPS = 20
_LEAST_PIVOT = 1e-9  # keeps the system solvable where a reading does not move


@dataclass(frozen=True)
class Reading:
    """A number that landmarks give: a weighted sum of measurements, less a constant."""

    terms: tuple[tuple[Measurement, float], ...]
    """Measurements and their weights."""
    offset: float = 0.0
    """What is taken off, such as the population's mean."""

    @staticmethod
    def of(kind: Measurement) -> Reading:
        """The measurement itself, mm or degrees."""
        return Reading(((kind, 1.0),))

    def value(self, landmarks: FloatArray) -> float:
        """Its value for landmarks (L, 3), mm."""
        return sum(weight * value(kind, landmarks) for kind, weight in self.terms) - self.offset

    def slope(self, landmarks: FloatArray) -> FloatArray:
        """(L, 3) its gradient by the landmarks, per mm."""
        result = np.zeros(landmarks.shape)
        for kind, weight in self.terms:
            result += weight * slope(kind, landmarks)
        return result


Readings = tuple[Reading, ...]


def values_of(readings: Readings, landmarks: FloatArray) -> FloatArray:
    """(P,) the readings of landmarks (L, 3), mm."""
    return np.array([reading.value(landmarks) for reading in readings], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class StepBasis:
    """Independent steps of some regions' codes, and how they move landmarks."""

    regions: Regions
    """The n regions that step: the chosen ones, and with `mirror` their mirror images."""
    codes: FloatArray
    """(K, n, 64) change of the codes for one unit of each step."""
    moves: FloatArray
    """(K, L, 3) change of the landmarks for one unit of each step, by the linear blend."""
    cost: FloatArray
    """(K, K) of a step: 1 for each standard deviation, squared, plus the strain of the skin."""


@lru_cache(maxsize=32)
def step_basis(model: Model, regions: Regions, mirror: bool) -> StepBasis:
    """Steps of one standard deviation each, conditioned on the other regions."""
    codes = conditional_steps(model, regions)
    if mirror:
        full = symmetric(model, regions, codes)
        regions = with_mirrors(regions)
        codes = full[:, region_rows(regions)]
    moves = np.tensordot(codes, landmark_points(model).basis[region_rows(regions)], axes=2)
    return StepBasis(regions, codes, moves, np.eye(len(codes)) + strain_energy(model, regions, codes))


@dataclass(frozen=True, eq=False)
class CodeSteps:
    """Steps u (K,) of a head's region codes, and where they take its landmarks."""

    model: Model
    head: Head
    """The head at u = 0."""
    basis: StepBasis
    """What one unit of each step changes."""
    start: FloatArray
    """(L, 3) landmarks of that head; those that no reading uses are only blended."""
    near: IntArray
    """Rows of the landmarks that are used and can move."""
    movable: SurfacePoints
    """Those landmarks."""

    @staticmethod
    def of(model: Model, head: Head, regions: Regions, mirror: bool, readings: Readings | None = None) -> CodeSteps:
        """Steps of the regions, for readings that are to be followed; all landmarks by default."""
        points = landmark_points(model)
        basis = step_basis(model, regions, mirror)
        used = np.arange(len(points.mean))
        if readings is not None:
            rows = [row for r in readings for kind, _ in r.terms for row in landmark_rows(kind)]
            used = np.unique(np.array(rows, dtype=np.int64))
        start = points.blend(region_codes(model, head))
        near = used[_in_reach(model, head, basis.regions, start[used])]
        if len(used):
            start[used] = points.chosen(used).on_head(model, head)
        return CodeSteps(model, head, basis, start, near, points.chosen(near))

    def edited(self, u: FloatArray, what: str = "") -> Head:
        """The head after the step u (K,)."""
        return stepped(self.model, self.head, self.basis.regions, self.delta(u), False, what)

    def delta(self, u: FloatArray) -> FloatArray:
        """(n, 64) change of the codes after the step u (K,)."""
        change: FloatArray = np.tensordot(u, self.basis.codes, axes=1)
        return change

    def landmarks(self, u: FloatArray) -> FloatArray:
        """Landmarks (L, 3) after the step u (K,)."""
        points = self.start.copy()
        points[self.near] = self.movable.on_head(self.model, self.edited(u))
        return points

    def slopes(self, readings: Readings, landmarks: FloatArray) -> FloatArray:
        """(P, K) how readings change with u, by the linear blend's moves."""
        found = [np.tensordot(self.basis.moves, reading.slope(landmarks), axes=2) for reading in readings]
        return np.stack(found) if found else np.zeros((0, len(self.basis.moves)))

    def solve(
        self,
        hard: Readings,
        goal: FloatArray,
        tolerance: float,
        allowed: Callable[[FloatArray], bool] = lambda u: True,
        soft: Readings = (),
        soft_size: float = 1.0,
        fixed: FloatArray | None = None,
    ) -> FloatArray | None:
        """The step u (K,) of least cost that brings readings to a goal (P,); None where it is not found.

            minimise uᵀ cost u + Σ_soft (change / soft_size)²   subject to: hard readings = goal

        Args:
            tolerance: largest difference from the goal, in the readings' unit.
            allowed: whether a step may be taken; the search ends at the first that may not.
            fixed: (Q, K) linear functions of the step that are to stay 0.
        """
        points = self.start
        u = np.zeros(len(self.basis.codes))
        linear = np.zeros((0, len(u))) if fixed is None else fixed
        soft_start = values_of(soft, points)
        hard_slopes = np.concatenate([self.slopes(hard, points), linear])
        soft_slopes = self.slopes(soft, points) / soft_size
        h = self.basis.cost + soft_slopes.T @ soft_slopes
        missing = np.concatenate([goal - values_of(hard, points), np.zeros(len(linear))])
        for _ in range(_MOST_STEPS):
            if np.abs(missing).max(initial=0.0) < tolerance:
                return u
            # stationary point of ½uᵀHu - gᵀu under hard · u = missing + hard · u_now
            g = soft_slopes.T @ (soft_slopes @ u - (values_of(soft, points) - soft_start) / soft_size)
            system = np.block([[h, hard_slopes.T], [hard_slopes, -_LEAST_PIVOT * np.eye(len(missing))]])
            before = u
            u = np.linalg.solve(system, np.concatenate([g, missing + hard_slopes @ u]))[: len(u)]
            if not np.isfinite(u).all() or not allowed(u):
                return None
            points = self.landmarks(u)
            # Broyden: the smallest change of the Jacobian that explains what the step did
            step, left = u - before, np.concatenate([goal - values_of(hard, points), -linear @ u])
            if not step.any():
                return None
            hard_slopes += np.outer(missing - left - hard_slopes @ step, step) / (step @ step)
            missing = left
        return u if np.abs(missing).max(initial=0.0) < tolerance else None


def _in_reach(model: Model, head: Head, regions: Regions, canonical: FloatArray) -> BoolArray:
    """(N,) whether an edit of the regions may move canonical points (N, 3), mm."""
    field = HeadField(model, head)
    near = np.zeros(len(canonical), dtype=bool)
    for ball in (field.ball(r.index) for r in regions):
        near |= np.linalg.norm(canonical - ball.center_mm, axis=1) < ball.radius_mm + _MARGIN_MM
    return near
