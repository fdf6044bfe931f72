"""What a fit knows of the parts that a scan does not show: discs and one half of the face are cut, and scored inside.

All competitors see the same rest of a scan and are scored on the same points: what was cut of the visible surface of
the head. Beside our fit stand ICT-FaceKit's own linear model, and a thin-plate spline through the rim, which has never
seen a face. The ratio of a median is to the better of these two.

Shape legend: N points of a scan.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from imhead.errors import InputError
from imhead.evaluation.accuracy import Competitor, TimedFit
from imhead.evaluation.cases import CaseKind, HeldOutSource, held_out
from imhead.evaluation.cuts import KINDS, CutKind, PlacedScan, cut_rounds, without_points
from imhead.evaluation.real import read_scans
from imhead.evaluation.rim import REACH_MM, Rim, thin_plate_distance, with_rim_residuals
from imhead.evaluation.runner import CaseRunner, Row, rounded
from imhead.evaluation.unseen import EXPLAINED_MM, ICT_LINEAR, visible_points
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.transforms import transform_points
from imhead.types import BoolArray, FloatArray, Scan

THIN_PLATE = "thin_plate"
"""Name of the thin-plate spline in the rows."""
HELD_OUT = CaseKind(points=30_000)
"""Virtual scans; a disc of 10 mm radius hides about 60 of their points."""


@dataclass(frozen=True, eq=False)
class ScanSource:
    """The scans of a run, each with its place."""

    count: int
    """Number of scans."""
    placed: Callable[[int], PlacedScan]
    """Scan `index`; raises InputError where no face is found in it."""
    name: Callable[[int], str]
    """Name of scan `index`."""


def real_scans(folder: Path, linear: Competitor, nose_tip_mm: FloatArray) -> ScanSource:
    """All scans of a folder, each placed by the linear model's fit to all its points.

    Points of the surface are the visible points within 3 mm of that fit.

    Args:
        folder: of scans.
        linear: the linear model.
        nose_tip_mm: (3,) of the mean head, head frame.

    Raises:
        InputError: the folder holds no scan, or one that cannot be read.
    """
    scans = read_scans(folder)
    return ScanSource(len(scans), lambda k: _placed(scans[k], linear, nose_tip_mm), lambda k: scans[k].name)


def held_out_scans(source: HeldOutSource, count: int) -> ScanSource:
    """Virtual scans of held-out heads, neutral: 30 000 points all over the visible head."""

    def placed(index: int) -> PlacedScan:
        case = held_out(source, index, HELD_OUT)
        points = transform_points(np.linalg.inv(case.head_to_scan), case.scan.points)
        return PlacedScan(case.scan, points, np.ones(len(points), dtype=bool), case.nose_tip_mm)

    return ScanSource(count, placed, lambda index: f"heldout_{index:03d}")


def hidden_suite(
    own: list[Competitor],
    linear: Competitor,
    scans: ScanSource,
    discs: int,
    runner: CaseRunner,
    *,
    rim_residuals: bool = False,
) -> list[Row]:
    """One row for each kind of cut and competitor, with the figures of each scan in the row's `cases`.

    Args:
        own: our ways of fitting.
        linear: ICT-FaceKit's own linear model, named `ICT_LINEAR`.
        scans: to cut from.
        discs: discs of each radius, cut from each scan.
        runner: runs the scans.
        rim_residuals: score the first of `own` also with what it leaves over at the rim, carried into the hole.
    """
    corrected = own[0].name if rim_residuals else None
    cases = runner.run(partial(_case, [*own, linear], corrected, scans, discs), scans.count, _shown)
    sizes = {competitor.name: competitor.code_size for competitor in own}
    if corrected:
        sizes[_with_residuals(corrected)] = sizes[corrected]
    sizes |= {ICT_LINEAR: linear.code_size, THIN_PLATE: 0}
    return [_row(kind, name, size, cases) for kind in KINDS for name, size in sizes.items()]


def _with_residuals(name: str) -> str:
    return f"{name}, with rim residuals"


def _placed(scan: Scan, linear: Competitor, nose_tip_mm: FloatArray) -> PlacedScan:
    fit = linear.fit(scan)
    points = transform_points(fit.scan_to_head, scan.points)
    surface = visible_points(scan)
    surface[surface] = point_to_surface(points[surface], fit.mesh)[0] < EXPLAINED_MM
    return PlacedScan(scan, points, surface, nose_tip_mm)


def _case(competitors: list[Competitor], corrected: str | None, scans: ScanSource, discs: int, index: int) -> Row:
    """Figures of one scan: of each kind of cut, each competitor's."""
    name = scans.name(index)
    try:
        placed = scans.placed(index)
    except InputError as error:
        return {"scan": name} | {kind.name: {"refused": str(error)} for kind in KINDS}
    row: Row = {"scan": name}
    for number, kind in enumerate(KINDS):
        # the cuts of a scan depend on its name alone, not on the scans beside it
        rng = np.random.default_rng([0x41DE, zlib.crc32(name.encode()), number])
        try:
            row[kind.name] = _kind_figures(competitors, corrected, placed, kind, discs, rng)
        except InputError as error:
            row[kind.name] = {"refused": str(error)}
    return row


def _kind_figures(
    competitors: list[Competitor],
    corrected: str | None,
    placed: PlacedScan,
    kind: CutKind,
    discs: int,
    rng: np.random.Generator,
) -> Row:
    cuts: list[dict[str, FloatArray]] = []
    for of_round in cut_rounds(placed, kind, discs, rng):
        removed = np.any([beyond < 0 for beyond in of_round], axis=0)
        rest = without_points(placed.scan, removed)
        fits = {competitor.name: competitor.fit(rest) for competitor in competitors}
        cuts += _distances(placed, fits, corrected, of_round, removed)
    figures: Row = {}
    for name in cuts[0]:
        of_cuts = [cut[name] for cut in cuts]
        figures[name] = {
            "median_mm": balanced_median(of_cuts),
            "mean_mm": float(np.mean([distance.mean() for distance in of_cuts])),
            "cut_medians_mm": [float(np.median(distance)) for distance in of_cuts],
        }
    better = min(figures[name]["median_mm"] for name in (ICT_LINEAR, THIN_PLATE))
    for own in figures.values():
        own["ratio"] = own["median_mm"] / better
    points = sum(len(cut[ICT_LINEAR]) for cut in cuts)
    return {"cuts": len(cuts), "points": points, "models": figures}


def balanced_median(groups: list[FloatArray]) -> float:
    """Median over groups of values in which every group weighs the same, however many values it has.

    Scans are dense at eyes and lips; the centres of the discs are drawn by area.
    """
    values = np.concatenate(groups)
    weights = np.concatenate([np.full(len(group), 1.0 / len(group)) for group in groups])
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order]) / len(groups)
    # the mean of the two middle values where one half ends exactly between them
    low, high = (int(np.searchsorted(share, half)) for half in (0.5 - 1e-9, 0.5 + 1e-9))
    return float(values[order[[low, min(high, len(values) - 1)]]].mean())


def _distances(
    placed: PlacedScan,
    fits: dict[str, TimedFit],
    corrected: str | None,
    of_round: list[FloatArray],
    removed: BoolArray,
) -> list[dict[str, FloatArray]]:
    """Of each cut of a round the distances of the surface points inside it to each competitor's surface.

    Args:
        placed: the scan.
        fits: of the rest of the scan, by name.
        corrected: name of the fit that is scored with its residuals at the rim, too.
        of_round: of each cut the distance (N,) of the points beyond its rim.
        removed: (N,) points of all cuts of the round.
    """
    hidden = [np.flatnonzero(placed.surface & (beyond < 0)) for beyond in of_round]
    around = [np.flatnonzero(placed.surface & ~removed & (beyond < REACH_MM)) for beyond in of_round]
    ends = np.cumsum([len(rows) for rows in hidden])[:-1]
    found: list[dict[str, FloatArray]] = [{} for _ in of_round]
    for name, fit in fits.items():
        points = transform_points(fit.scan_to_head, placed.scan.points)
        # of all cuts at once: libigl sorts the whole mesh in every call
        distances = np.split(point_to_surface(points[np.concatenate(hidden)], fit.mesh)[0], ends)
        for k, distance in enumerate(distances):
            found[k][name] = distance
            if name == corrected:
                rim = Rim(points[around[k]], of_round[k][around[k]])
                found[k][_with_residuals(name)] = with_rim_residuals(fit.mesh, points[hidden[k]], distance, rim)
    for k, cut in enumerate(found):
        rim = Rim(placed.points_mm[around[k]], of_round[k][around[k]])
        cut[THIN_PLATE] = thin_plate_distance(placed.points_mm[hidden[k]], rim)
    return found


def _shown(case: Row) -> Row:
    """Medians of a scan, for the progress line."""
    return {"scan": case["scan"]} | {
        kind.name: case[kind.name].get("refused")
        or rounded({name: figures["median_mm"] for name, figures in case[kind.name]["models"].items()})
        for kind in KINDS
    }


def _row(kind: CutKind, name: str, code_size: int, scans: list[Row]) -> Row:
    """A competitor's figures over the scans for one kind of cut: of each scan's median, mean and ratio."""
    cases: list[Row] = []
    for scan in scans:
        of_kind = scan[kind.name]
        found = {key: of_kind[key] for key in ("refused", "cuts", "points") if key in of_kind}
        cases.append({"scan": scan["scan"]} | found | of_kind.get("models", {}).get(name, {}))
    done = [case for case in cases if "refused" not in case]
    row: Row = {"suite": "hidden", "kind": kind.name, "model": name, "code_size": code_size}
    row |= {"scans": len(cases), "scored": len(done)}
    if done:
        medians, means, ratios = ([case[key] for case in done] for key in ("median_mm", "mean_mm", "ratio"))
        row |= {
            "median_mm": float(np.median(medians)),
            "mean_of_medians_mm": float(np.mean(medians)),
            "mean_mm": float(np.mean(means)),
            "ratio": float(np.median(ratios)),
            "ratio_worst": float(np.max(ratios)),
        }
    return row | {"cases": cases}
