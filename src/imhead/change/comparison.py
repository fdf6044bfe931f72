"""Visits of one person compared: each later one with the first.

Scans are fitted together, so that they share one head; so is the surface of a head file beside them. Head files alone
are visits as they stand.

Shape legend: V vertices of the template.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from imhead.change.amounts import Amount, Place, by_region, places_beyond, whole
from imhead.change.change import Change, change_between, stable_regions
from imhead.change.config import ChangeConfig
from imhead.change.measured import MeasuredDifference, differences, displacement, usual_noise_mm
from imhead.change.visits import Visit, head_visit, on_stable, scan_of_head, scanned_visit
from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, ASSUMED_SCALE
from imhead.errors import InputError
from imhead.fitting.config import FitConfig
from imhead.fitting.person import fit_person
from imhead.fitting.person_scans import OwnFit, own_fit
from imhead.fitting.pose import Units
from imhead.registration.measured import neutral_vertices
from imhead.template.surface import template_of
from imhead.types import Head, Scan

Progress = Callable[[str, float], None]
_SAID = 0.1  # ARKit weights that differ by less are not said
_MOVES_MM = 0.5  # an expression that moves 5 % of the compared skin by less is not warned of
_POOR_MM = 1.0  # stable regions that agree no better show another person, or are not stable
_FIT_SHARE = 0.7  # of the progress


@dataclass(frozen=True, eq=False)
class ExpressionDifference:
    """How the expressions of two visits differ, by the model."""

    weights: dict[str, float]
    """ARKit weight after less before, of those that differ by at least 0.1."""
    moves_mm: float
    """95th percentile of how far the model says that this moves the compared skin along its normal."""
    taken_out: bool
    """Whether the later visit was taken to the expression of the first."""


@dataclass(frozen=True, eq=False)
class ComparedVisit:
    """A later visit beside the first."""

    visit: Visit
    """The later one."""
    change: Change
    """At each vertex."""
    whole: Amount | None
    """Of all that both show."""
    regions: dict[str, Amount]
    """By region."""
    places: list[Place]
    """Connected places beyond the noise."""
    measurements: list[MeasuredDifference]
    """On the neutral faces."""
    expression: ExpressionDifference
    """How the expressions differ."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Visits of one person compared with the first."""

    first: Visit
    """The first visit."""
    later: tuple[ComparedVisit, ...]
    """The others, in order."""
    warnings: tuple[str, ...]
    """Doubts, in sentences."""


def compare_visits(
    model: Model,
    sources: Sequence[Scan | Head],
    names: Sequence[str],
    config: ChangeConfig,
    *,
    scanner_mm: float | None = None,
    same_expression: bool = False,
    units: Units = "auto",
    mm_per_unit: float | None = None,
    progress: Progress = lambda stage, part: None,
) -> Comparison:
    """Compare visits of one person with the first.

    Args:
        model: of the heads.
        sources: scans in their own frames and units, or heads of the model; at least two, in order of time.
        names: what each is called.
        config: settings.
        scanner_mm: repeatability of the scanner, standard deviation of a distance between two scans; None measures it
            on the stable regions.
        same_expression: whether the model takes later visits to the expression of the first.
        units: unit of all scans, if known.
        mm_per_unit: scale of all scans, if known; goes before `units`.
        progress: is called with the stage and the part done, 0 to 1.

    Raises:
        InputError: fewer than two visits, a scan without a face, or hardly a stable place shown in both.
    """
    template_of(model)
    stable_regions(config.stable)  # refused before the work
    if len(sources) < 2 or len(names) != len(sources):
        raise InputError("a comparison needs two visits or more, each with a name; give BEFORE and AFTER")
    visits, warnings = _visits(model, sources, names, config, units, mm_per_unit, progress)
    first = visits[0]
    later = []
    for number, visit in enumerate(visits[1:], 1):
        progress("change", 1.0 - (1.0 - _FIT_SHARE) * 0.5 * (1.0 - number / len(visits)))
        later.append(compared_visit(model, first, visit, config, scanner_mm, same_expression))
    doubts = [*warnings, *_doubts(first, later)]
    return Comparison(first, tuple(later), tuple(doubts))


def compared_visit(
    model: Model, first: Visit, visit: Visit, config: ChangeConfig, scanner_mm: float | None, same_expression: bool
) -> ComparedVisit:
    """One later visit beside the first, about in its frame; arguments as for `compare_visits`."""
    change = change_between(model, first, visit, config, scanner_mm, same_expression)
    # both neutral faces by one step, so that an expression that both have cancels
    neutral = neutral_vertices(model, first.head)
    measured = differences(
        neutral, neutral + displacement(change, same_expression, config.slide_mm), first.measured & visit.measured,
        change.noise.total_mm / usual_noise_mm(),
    )  # fmt: skip
    return ComparedVisit(
        visit, change, whole(model, change, config), by_region(model, change, config),
        places_beyond(model, change, config), measured, _expression(change, same_expression),
    )  # fmt: skip


def _visits(
    model: Model, sources: Sequence[Scan | Head], names: Sequence[str], config: ChangeConfig, units: Units,
    mm_per_unit: float | None, progress: Progress,
) -> tuple[list[Visit], tuple[str, ...]]:  # fmt: skip
    """A visit for each source, about in the frame of the first, and the warnings of the fit."""
    if not any(isinstance(source, Scan) for source in sources):
        heads = [head_visit(model, source, name) for source, name in zip(sources, names) if isinstance(source, Head)]
        return [heads[0], *(on_stable(model, heads[0], visit, config) for visit in heads[1:])], ()
    # the fit's messages name scans as the report does
    given = [
        scan_of_head(model, source, name) if isinstance(source, Head) else replace(source, name=name)
        for source, name in zip(sources, names)
    ]
    person = fit_person(
        given, model, config.fit, units=units, mm_per_unit=mm_per_unit, own=partial(_own_fit, sources),
        progress=lambda stage, part: progress(stage, _FIT_SHARE * part),
    )  # fmt: skip
    if person.lost:
        raise InputError(f"{given[person.lost[0][0]].name}: {person.lost[0][1]}; it cannot be compared")
    visits = []
    for row, placed in zip(person.rows, person.scans):
        progress(f"registration of {names[row]}", _FIT_SHARE + 0.15 * row / len(given))
        visit, source = scanned_visit(model, person.head, given[row], placed, names[row], config), sources[row]
        if isinstance(source, Head):
            visit = replace(visit, scanned=False, scale_assumed=source.scale_assumed)
        visits.append(visit)
    return visits, tuple(warning for warning in person.warnings if "shows somebody else" not in warning)


def _own_fit(
    sources: Sequence[Scan | Head], scan: Scan, row: int, model: Model, fit: FitConfig, units: Units,
    mm_per_unit: float | None,
) -> OwnFit:  # fmt: skip
    """`own_fit` of the scan of a source; that of a head is in mm, whatever the unit of the others."""
    if isinstance(sources[row], Head):
        units, mm_per_unit = "mm", None
    return own_fit(scan, row, model, fit, units, mm_per_unit)


def _expression(change: Change, taken_out: bool) -> ExpressionDifference:
    gap = change.weights
    said = {name: round(float(w), 2) for name, w in zip(ARKIT_NAMES, gap.tolist()) if abs(w) >= _SAID}
    moved = np.abs(change.expression_mm[change.compared])
    return ExpressionDifference(said, float(np.percentile(moved, 95)) if len(moved) else 0.0, taken_out)


def _doubts(first: Visit, later: Sequence[ComparedVisit]) -> list[str]:
    said = []
    for other in later:
        visit, change = other.visit, other.change
        pair = f"{first.name} and {visit.name}"
        stranger = next((k for k in (visit, first) if k.same_person is False), None)
        if stranger is not None:
            figures = "" if stranger.evidence is None else f" (excess {stranger.evidence.excess_mm:.2f} mm)"
            said.append(f"{pair}: seem to show two different people{figures}; the change then means nothing")
        elif float(np.median(np.abs(change.alignment.height_mm))) > _POOR_MM:
            said.append(
                f"{pair}: the stable regions agree to {np.median(np.abs(change.alignment.height_mm)):.1f} mm only; "
                "they are no stable regions, or show two people"
            )
        if other.expression.moves_mm > _MOVES_MM and not other.expression.taken_out:
            names = ", ".join(f"{k} {v:+.2f}" for k, v in sorted(other.expression.weights.items(), key=_by_size)[:4])
            said.append(
                f"{pair}: the expressions differ ({names}), which moves 5 % of the skin by "
                f"{other.expression.moves_mm:.1f} mm or more and counts as change; --same-expression takes it out"
            )
        if visit.evidence is None and first.evidence is None and not np.array_equal(first.head.z_id, visit.head.z_id):
            said.append(
                f"{pair}: are head files of two fits; the ± of measurements holds for scans that are fitted together, "
                "so give the scans if you have them"
            )
        if first.scale_assumed or visit.scale_assumed:
            said.append(f"{pair}: {ASSUMED_SCALE}; the size was fitted on the stable regions")
        wide = sorted(
            (row for row in other.measurements if row.unit == "mm" and (row.error or 0.0) > np.sqrt(2.0)),
            key=lambda row: -(row.error or 0.0),
        )
        if wide:
            names = ", ".join(f"{row.name} {(row.error or 0.0) / np.sqrt(2.0):.1f} mm" for row in wide[:5])
            said.append(f"{pair}: {len(wide)} measurements repeat no better than 1 mm ({names})")
    return said


def _by_size(item: tuple[str, float]) -> float:
    return -abs(item[1])
