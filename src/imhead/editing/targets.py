"""Edits by number: the most plausible step of some regions' codes that changes measurements by given amounts.

    minimise cost(u) + Σ_soft (Δm / 1 mm)²   subject to: the targets are reached, the regions' other lengths stay

u holds independent steps of one standard deviation each, conditioned on the other regions (`readings`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from imhead.checkpoint import Model
from imhead.editing.plausibility import whitening
from imhead.editing.readings import CodeSteps, Reading, Readings, values_of
from imhead.editing.steps import Regions, region_codes, region_names, region_rows
from imhead.errors import InputError
from imhead.measure.carrier import landmark_points
from imhead.measure.table import MEASUREMENTS, MeasuredChange, Measurement, measurement, value
from imhead.regions import groups
from imhead.types import FloatArray, Head

LIMIT_SIGMA = 4.0
"""The farthest that an edit may take a region from the mean along its direction, in standard deviations."""
_TOLERANCE = 0.02  # mm or degrees between what is asked for and what is reached
_SOFT_MM = 1.0
_UNMOVED = 1e-6  # a measurement that moves less per standard deviation does not depend on the region
_NEAREST_STEP = 0.05  # mm or degrees
_LARGEST_CHANGE = 500.0  # mm or degrees: more than a head
_HALVINGS = 14  # of that change, down to the nearest step
_RETREATS = 20  # of 0.1 mm or degrees each
_LEAST_CHANGE = 1e-3  # mm or degrees: smaller changes are not reported


class OutOfReach(InputError):
    """A change that no plausible head reaches."""

    def __init__(self, message: str, nearest: Mapping[str, float]) -> None:
        super().__init__(message)
        self.nearest = dict(nearest)
        """Measurement → the nearest value that can be reached, mm or degrees."""


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
    """The constants of one edit."""

    steps: CodeSteps
    hard: Readings
    """The targets first, then the measurements that are held exactly."""
    soft: Readings
    """Measurements of other groups, held in the least-squares sense."""
    targets: tuple[Measurement, ...]
    """The measurements that are asked for."""
    held: tuple[Measurement, ...]
    """The regions' other lengths."""


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
        InputError: an unknown measurement, or one that these regions do not move.
        OutOfReach: a change that no plausible head reaches; the error names the nearest reachable one.
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
        raise _out_of_reach(problem, wanted)
    return _edited(problem, u)


def _problem(model: Model, head: Head, regions: Regions, wanted: tuple[Measurement, ...], mirror: bool) -> _Problem:
    steps = CodeSteps.of(model, head, regions, mirror)
    regions = steps.basis.regions
    measured = tuple(Reading.of(m) for m in MEASUREMENTS)
    largest = np.abs(steps.slopes(measured, steps.start)).max(axis=1)
    moved = {m.name for m, slope in zip(MEASUREMENTS, largest) if slope > _UNMOVED}
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
    soft = tuple(Reading.of(m) for m in lengths if m not in held)
    return _Problem(steps, tuple(Reading.of(m) for m in (*wanted, *held)), soft, wanted, held)


def _other_side(name: str) -> str:
    """The same measurement on the other side."""
    for side, other in (("left_", "right_"), ("right_", "left_")):
        if name.startswith(side):
            return other + name.removeprefix(side)
    return name


def _solve(problem: _Problem, wanted: FloatArray) -> FloatArray | None:
    """The step u (K,) that changes the targets by `wanted` and holds the others; None where none is plausible."""
    goal = values_of(problem.hard, problem.steps.start)
    goal[: len(wanted)] += wanted
    u = problem.steps.solve(
        problem.hard, goal, _TOLERANCE, lambda u: _sigma_along(problem, u) <= 2.0 * LIMIT_SIGMA, problem.soft, _SOFT_MM
    )
    return u if u is not None and _sigma_along(problem, u) <= LIMIT_SIGMA else None


def _sigma_along(problem: _Problem, u: FloatArray) -> float:
    """How far the regions lie from the mean after the step u (K,), along its direction, in standard deviations."""
    steps = problem.steps
    white = whitening(steps.model, steps.basis.regions)
    way = white @ steps.delta(u).ravel()
    start = white @ region_codes(steps.model, steps.head)[region_rows(steps.basis.regions)].ravel()
    length = np.linalg.norm(way)
    return float((start + way) @ way / length) if length > 0.0 else 0.0


def _out_of_reach(problem: _Problem, wanted: FloatArray) -> OutOfReach:
    """The error for a change that is out of reach, with the nearest value that can be reached."""
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
    start = values_of(problem.hard, problem.steps.start)
    told = []
    named = {}
    for m, before, change, nearest in zip(problem.targets, start, wanted, reached):
        unit = "mm" if m.unit == "mm" else " degrees"
        named[m.name] = float(before + nearest)
        told.append(
            f"{m.name} cannot change by {change:+g}{unit} here; the nearest reachable value is "
            f"{before + nearest:.1f}{unit}, a change of {nearest:+.1f}{unit}"
        )
    return OutOfReach("; ".join(told), named)


def _edited(problem: _Problem, u: FloatArray) -> tuple[Head, Reached]:
    """The head after the step u (K,), and every measurement before and after."""
    after = landmark_points(problem.steps.model).on_head(problem.steps.model, problem.steps.edited(u))
    changes = {
        m.name: MeasuredChange(m.name, m.unit, value(m, problem.steps.start), value(m, after)) for m in MEASUREMENTS
    }
    asked = {m.name: changes[m.name] for m in problem.targets}
    held = {m.name: changes[m.name] for m in problem.held}
    moved = {k: c for k, c in changes.items() if k not in asked and k not in held and abs(c.change) > _LEAST_CHANGE}
    words = ", ".join(f"{k} {c.before:.2f} to {c.after:.2f}" for k, c in asked.items())
    reached = Reached(asked, held, moved, float(np.linalg.norm(u)), _sigma_along(problem, u))
    return problem.steps.edited(u, words), reached
