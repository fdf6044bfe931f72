"""Edits by number: the most plausible step of some regions' codes that changes measurements by given amounts.

    minimise Σ u² + Σ_soft (Δm / 1 mm)²   subject to: the targets are reached, the regions' other lengths stay

u holds independent steps of one standard deviation each, conditioned on the other regions. The template's linear blend
gives the first Jacobian; quasi-Newton (Broyden) steps then solve the problem on the zero set itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from imhead.checkpoint import Model
from imhead.editing.plausibility import whitening
from imhead.editing.steps import (
    Regions,
    conditional_steps,
    region_codes,
    region_names,
    region_rows,
    stepped,
    symmetric,
    with_mirrors,
)
from imhead.errors import InputError
from imhead.isosurface.field import HeadField
from imhead.measure.carrier import SurfacePoints, landmark_points
from imhead.measure.table import MEASUREMENTS, MeasuredChange, Measurement, measurement, slope, value
from imhead.regions import groups
from imhead.types import FloatArray, Head, IntArray

LIMIT_SIGMA = 4.0
"""The farthest that an edit may take a region from the mean along its direction, in standard deviations."""
_TOLERANCE = 0.02  # mm or degrees between what is asked for and what is reached
_SOFT_MM = 1.0
_STEPS = 20
_UNMOVED = 1e-6  # a measurement that moves less per standard deviation does not depend on the region
_NEAREST_STEP = 0.05  # mm or degrees
_LARGEST_CHANGE = 500.0  # mm or degrees: more than a head
_HALVINGS = 14  # of that change, down to the nearest step
_RETREATS = 20  # of 0.1 mm or degrees each
_LEAST_CHANGE = 1e-3  # mm or degrees: smaller changes are not reported
_MARGIN_MM = 20.0  # beyond a ball: heads' keypoints move with their codes


@dataclass(frozen=True)
class Reached:
    """What an edit by number did to the measurements."""

    targets: dict[str, MeasuredChange]
    """The measurements that were asked for."""
    held: dict[str, MeasuredChange]
    """The regions' other lengths, which were to stay."""
    moved: dict[str, MeasuredChange]
    """Every other measurement that changed, such as angles and lengths that share landmarks with a target."""
    step_sigma: float
    """Length of the step, in standard deviations."""
    sigma: float
    """How far the regions lie from the mean along the direction of the edit, in standard deviations."""


@dataclass(frozen=True, eq=False)
class _Problem:
    """The constants of one edit. K step directions, L landmarks, M hard and S soft measurements."""

    model: Model
    head: Head
    regions: Regions
    """The regions that step: the chosen ones, and with `mirror` their mirror images."""
    start: FloatArray
    """(L, 3) landmarks of the head before the edit."""
    near: IntArray
    """Rows of the landmarks that the edit can move."""
    movable: SurfacePoints
    """Those landmarks."""
    codes: FloatArray
    """(K, n, 64) change of the codes for one unit of each step."""
    moves: FloatArray
    """(K, L, 3) change of the landmarks for one unit of each step, by the linear blend."""
    hard: tuple[Measurement, ...]
    """The targets first, then the measurements that are held exactly."""
    soft: tuple[Measurement, ...]
    """Measurements of other groups, held in the least-squares sense."""

    def edited(self, u: FloatArray, what: str = "") -> Head:
        """The head after the step u (K,)."""
        delta = np.tensordot(u, self.codes, axes=1)
        return stepped(self.model, self.head, self.regions, delta, False, what)

    def landmarks(self, u: FloatArray) -> FloatArray:
        """Landmarks (L, 3) after the step u (K,)."""
        points = self.start.copy()
        points[self.near] = self.movable.on_head(self.model, self.edited(u))
        return points


def reach_targets(
    model: Model, head: Head, regions: Regions, changes: Mapping[str, float], mirror: bool = False
) -> tuple[Head, Reached]:
    """Change measurements of the neutral face by given amounts, through the codes of some regions.

    Args:
        changes: measurement → change, in its own unit.
        mirror: step on both sides alike.

    Returns:
        The edited head, and what the edit did to the measurements.

    Raises:
        InputError: an unknown measurement, one that these regions do not move, or a change that no plausible head
            reaches; then the message names the nearest reachable one.
    """
    for name, change in changes.items():
        if not abs(change) <= _LARGEST_CHANGE:
            raise InputError(f"{name}: a change of {change:g} is no change of a head; give a smaller number")
        if measurement(name) not in MEASUREMENTS:
            raise InputError(f"{name} is a volume, which is measured but not aimed at; choose a distance or an angle")
    problem = _problem(model, head, regions, tuple(measurement(name) for name in changes), mirror)
    wanted = np.array(list(changes.values()), dtype=np.float64)
    u = _solve(problem, wanted)
    if u is None:
        raise InputError(_nearest_reachable(problem, wanted))
    return _edited(problem, u, len(wanted))


def _problem(model: Model, head: Head, regions: Regions, wanted: tuple[Measurement, ...], mirror: bool) -> _Problem:
    points = landmark_points(model)
    codes = conditional_steps(model, regions)
    if mirror:
        full = symmetric(model, regions, codes)
        regions = with_mirrors(regions)
        codes = full[:, region_rows(regions)]
    start = points.on_head(model, head)
    moves = np.tensordot(codes, points.basis[region_rows(regions)], axes=2)
    moved = {m.name for m in MEASUREMENTS if np.abs(_slopes(moves, (m,), start)).max() > _UNMOVED}
    for m in wanted:
        if m.name not in moved:
            group = m.group if m.group in groups() else "chin or mouth"
            raise InputError(f"{m.name} does not depend on {region_names(regions)}; edit {group}")
    tied = {name for m in wanted for name in (m.name, *m.tied)}
    if mirror:
        tied |= {_other_side(name) for name in tied}
    own = {name for name, members in groups().items() if {r.name for r in regions} & set(members)}
    lengths = tuple(m for m in MEASUREMENTS if m.unit == "mm" and m.name not in tied and m.name in moved)
    held = tuple(m for m in lengths if m.group in own)
    near = _in_reach(model, head, regions, points)
    soft = tuple(m for m in lengths if m not in held)
    return _Problem(model, head, regions, start, near, points.chosen(near), codes, moves, (*wanted, *held), soft)


def _in_reach(model: Model, head: Head, regions: Regions, points: SurfacePoints) -> IntArray:
    """Rows of the landmarks that an edit of the regions may move."""
    field = HeadField(model, head)
    canonical = points.blend(region_codes(model, head))
    near = np.zeros(len(canonical), dtype=bool)
    for ball in (field.ball(r.index) for r in regions):
        near |= np.linalg.norm(canonical - ball.center_mm, axis=1) < ball.radius_mm + _MARGIN_MM
    return np.flatnonzero(near)


def _other_side(name: str) -> str:
    """The same measurement on the other side."""
    for side, other in (("left_", "right_"), ("right_", "left_")):
        if name.startswith(side):
            return other + name.removeprefix(side)
    return name


def _solve(problem: _Problem, wanted: FloatArray) -> FloatArray | None:
    """The step u (K,) that changes the targets by `wanted` and holds the others; None where none is plausible."""
    u = np.zeros(len(problem.codes))
    points = problem.start
    goal = _values(problem.hard, points)
    goal[: len(wanted)] += wanted
    soft_start = _values(problem.soft, points)
    hard, soft = (_slopes(problem.moves, kinds, points) for kinds in (problem.hard, problem.soft))
    for _ in range(_STEPS):
        missing = goal - _values(problem.hard, points)
        if np.abs(missing).max() < _TOLERANCE:
            break
        # stationary point of ½uᵀHu - gᵀu under hard · u = missing + hard · u_now
        h = np.eye(len(u)) + soft.T @ soft / _SOFT_MM**2
        g = soft.T @ (soft @ u - (_values(problem.soft, points) - soft_start)) / _SOFT_MM**2
        system = np.block([[h, hard.T], [hard, -1e-9 * np.eye(len(hard))]])
        before = u
        try:
            u = np.linalg.solve(system, np.concatenate([g, missing + hard @ u]))[: len(u)]
        except np.linalg.LinAlgError:
            return None
        if not np.isfinite(u).all() or _sigma_along(problem, u) > 2.0 * LIMIT_SIGMA:
            return None
        points = problem.landmarks(u)
        # Broyden: the smallest change of the Jacobian that explains what the step did
        step, left = u - before, goal - _values(problem.hard, points)
        hard += np.outer(missing - left - hard @ step, step) / (step @ step)
    reached = np.abs(goal - _values(problem.hard, points)).max() < _TOLERANCE
    return u if reached and _sigma_along(problem, u) <= LIMIT_SIGMA else None


def _values(kinds: tuple[Measurement, ...], points: FloatArray) -> FloatArray:
    return np.array([value(m, points) for m in kinds], dtype=np.float64)


def _slopes(moves: FloatArray, kinds: tuple[Measurement, ...], points: FloatArray) -> FloatArray:
    """(M, K) how measurements change with u, by the linear blend's moves (K, L, 3)."""
    found = [np.tensordot(moves, slope(m, points), axes=2) for m in kinds]
    return np.stack(found) if found else np.zeros((0, len(moves)))


def _sigma_along(problem: _Problem, u: FloatArray) -> float:
    """How far the regions lie from the mean after the step u (K,), along its direction, in standard deviations."""
    white = whitening(problem.model, problem.regions)
    way = white @ np.tensordot(u, problem.codes, axes=1).ravel()
    start = white @ region_codes(problem.model, problem.head)[region_rows(problem.regions)].ravel()
    length = np.linalg.norm(way)
    return float((start + way) @ way / length) if length > 0.0 else 0.0


def _nearest_reachable(problem: _Problem, wanted: FloatArray) -> str:
    """The message for a change that is out of reach: the nearest value that can be reached."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        if (high - low) * np.abs(wanted).max() <= _NEAREST_STEP:
            break
        middle = 0.5 * (low + high)
        low, high = (low, middle) if _solve(problem, middle * wanted) is None else (middle, high)
    reached = np.trunc(10.0 * low * wanted) / 10.0
    # the value named must be reachable itself: at the edge, a rounded step can fail where a finer one succeeds
    for _ in range(_RETREATS):
        if not reached.any() or _solve(problem, reached) is not None:
            break
        low -= 0.1 / np.abs(wanted).max()
        reached = np.trunc(10.0 * max(low, 0.0) * wanted) / 10.0
    else:
        reached = np.zeros_like(wanted)
    start = _values(problem.hard, problem.start)
    told = []
    for m, before, change, nearest in zip(problem.hard, start, wanted, reached):
        unit = "mm" if m.unit == "mm" else " degrees"
        told.append(
            f"{m.name} cannot change by {change:+g}{unit} here; the nearest reachable value is "
            f"{before + nearest:.1f}{unit}, a change of {nearest:+.1f}{unit}"
        )
    return "; ".join(told)


def _edited(problem: _Problem, u: FloatArray, targets: int) -> tuple[Head, Reached]:
    """The head after the step u (K,), and every measurement before and after; the first of `hard` are the targets."""
    after = landmark_points(problem.model).on_head(problem.model, problem.edited(u))
    changes = {m.name: MeasuredChange(m.name, m.unit, value(m, problem.start), value(m, after)) for m in MEASUREMENTS}
    asked = {m.name: changes[m.name] for m in problem.hard[:targets]}
    held = {m.name: changes[m.name] for m in problem.hard[targets:]}
    moved = {k: c for k, c in changes.items() if k not in asked and k not in held and abs(c.change) > _LEAST_CHANGE}
    words = ", ".join(f"{k} {c.before:.2f} to {c.after:.2f}" for k, c in asked.items())
    reached = Reached(asked, held, moved, float(np.linalg.norm(u)), _sigma_along(problem, u))
    return problem.edited(u, words), reached
