"""Whether a fit is as sure as it says: how often its 68 % and 95 % intervals hold the truth.

Held-out heads are scanned by virtual scanners, with holes, from one side, sparsely; of real scans, discs and one half
of the face are hidden. The true surface that a scan shows and that which it does not show are counted apart. The
constants are learnt from the odd held-out heads and counted on the even ones.

Shape legend: N points of a true surface.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError
from imhead.evaluation.calibration import TrueLandmarks, TrueSurface, balanced, held, learned
from imhead.evaluation.cases import HeldOutSource
from imhead.evaluation.cuts import KINDS, PlacedScan, cut_rounds, without_points
from imhead.evaluation.hidden import ScanSource
from imhead.evaluation.runner import CaseRunner, Row
from imhead.evaluation.virtual_scanner import ScannerConfig, virtual_scan
from imhead.fitting.certainty import Calibration, calibration_for, vertices_near
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.fitting.result import FitResult
from imhead.fitting.start import pose_template
from imhead.measure.carrier import landmark_points
from imhead.measure.landmarks import landmark_places
from imhead.regions import CENTERS_MM, REGIONS
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.transforms import transform_points
from imhead.surfaces.visibility import sample_visible
from imhead.template.topology import load_topology
from imhead.types import BoolArray, FloatArray, Mesh

SCANNERS: dict[str, ScannerConfig] = {
    "phone": ScannerConfig(cameras=3, target_points=20_000, holes=4, hole_radius_mm=14.0),
    "one_view": ScannerConfig(cameras=1, arc_deg=0.0, target_points=12_000, depth_noise_mm=0.1),
    "half": ScannerConfig(cameras=3, arc_deg=120.0, target_points=20_000, holes=0),
    "sparse": ScannerConfig(cameras=5, arc_deg=180.0, target_points=2_500, as_points=True, depth_noise_mm=0.8),
    "ring": ScannerConfig(cameras=6, arc_deg=360.0, target_points=30_000, holes=5, hole_radius_mm=20.0),
}
"""Kinds of virtual scans; `half` keeps one side of the face. Head k is scanned by the k // 2-th of them, cyclically."""
TEN = (
    "nasal_length", "nasal_height", "alar_width", "tip_projection", "intercanthal_distance", "biocular_width",
    "mouth_width", "face_height", "lower_face_height", "bizygomatic_width",
)  # fmt: skip
"""Measurements whose ± is counted."""
_TRUE_POINTS = 3000
_MISSED_MM = 15.0  # median error of a fit that missed the head: suite real counts these, certainty is of the others
_SHOULDERS = [region.index for region in REGIONS if region.group == "shoulder"]
_ONE_SIDE_MM = 5.0  # what a half scan shows beyond the middle


def certainty_suite(
    model: Model, source: HeldOutSource, heads: int, config: FitConfig, runner: CaseRunner
) -> list[Row]:
    """Rows of the even held-out heads: for each kind of scan, of the surface that it shows and that it does not; one
    row of ten measurements."""
    pose_template(model)  # made once, before the workers are forked
    cases = _virtual_cases(model, source, range(0, 2 * heads, 2), config, runner)
    calibration = calibration_for(model)
    return [*surface_rows([case["surface"] for case in cases], calibration), _landmark_row(cases, calibration)]


def hidden_certainty_suite(
    model: Model, scans: ScanSource, discs: int, config: FitConfig, runner: CaseRunner
) -> list[Row]:
    """Rows of real scans of which discs and one half of the face are hidden, for each kind of cut."""
    pose_template(model)
    return surface_rows(_all_hidden(model, scans, discs, config, runner), calibration_for(model))


def learn_calibration(
    model: Model,
    source: HeldOutSource,
    heads: int,
    config: FitConfig,
    runner: CaseRunner,
    scans: ScanSource | None = None,
    discs: int = 10,
) -> Calibration:
    """The constants of a model's certainty, from the odd held-out heads, and from discs of real scans if given."""
    pose_template(model)
    cases = _virtual_cases(model, source, range(1, 2 * heads, 2), config, runner)
    surfaces = [case["surface"] for case in cases]
    if scans is not None:
        surfaces += _all_hidden(model, scans, discs, config, runner)
    return learned(surfaces, [case["landmarks"] for case in cases], TEN)


def _virtual_cases(
    model: Model, source: HeldOutSource, indices: Sequence[int], config: FitConfig, runner: CaseRunner
) -> list[Row]:
    """The cases of held-out heads, without those in whose scan no face was found."""

    def case(k: int) -> Row:
        try:
            return virtual_case(model, source, indices[k], config)
        except InputError as error:
            return {"refused": str(error)}

    return [found for found in runner.run(case, len(indices), _shown) if "refused" not in found]


def virtual_case(model: Model, source: HeldOutSource, index: int, config: FitConfig) -> Row:
    """The virtual scan of a held-out head, fitted: its true surface and landmarks beside what the fit says.

    Raises:
        InputError: no face was found in it.
    """
    head = source.head(index)
    truth = Mesh(head.neutral, np.concatenate([head.source.skin_faces, head.source.eye_faces]))
    kind = list(SCANNERS)[index // 2 % len(SCANNERS)]
    rng = np.random.default_rng([0xCE57, index])
    made = virtual_scan(truth, SCANNERS[kind], rng, f"heldout_{index:03d}")
    scan = made.scan
    if kind == "half":
        side = float(rng.choice([-1.0, 1.0]))
        across = transform_points(np.linalg.inv(made.head_to_scan), scan.points)[:, 0]
        scan = without_points(scan, side * across > _ONE_SIDE_MM)
    result = fit_scan(scan, model, config)
    to_head = result.scan_to_head @ made.head_to_scan
    points, _ = sample_visible(truth, _TRUE_POINTS, rng, visible=source.visible[id(head.source)])
    surface = _true_surface(model, result, transform_points(to_head, points), scan.name, kind, 0.0)
    registered = load_topology().place(head.registered(head.neutral))
    found = landmark_points(model).on_head(model, result.head)
    evidence = result.evidence
    assert evidence is not None  # `_true_surface` checked it
    marks = TrueLandmarks(scan.name, kind, landmark_places().of(registered), found, evidence)
    return {"surface": surface, "landmarks": marks}


def surface_rows(surfaces: Sequence[TrueSurface], calibration: Calibration) -> list[Row]:
    """How often intervals hold the true surface, for each kind of scan and of all, seen and unseen apart."""
    kinds = list(dict.fromkeys(one.kind for one in surfaces))
    rows: list[Row] = []
    for kind in (*kinds, "all"):
        of_kind = [one for one in surfaces if kind in (one.kind, "all")]
        for seen in (True, False):
            over, weight = balanced(of_kind, calibration, seen)
            if not len(over):
                continue
            part = [one.measured == seen for one in of_kind]
            error = np.concatenate([one.error_mm[rows] for one, rows in zip(of_kind, part)])
            sigma = np.concatenate([one.sigma_mm(calibration)[rows] for one, rows in zip(of_kind, part)])
            rows.append(
                {
                    "suite": "certainty", "kind": kind, "part": "measured" if seen else "inferred",
                    "scans": len({one.name for one in of_kind}), "points": len(over),
                    "within_68": held(over, weight, 1.0), "within_95": held(over, weight, calibration.factor_95),
                    "sigma_median_mm": float(np.median(sigma)), "error_median_mm": float(np.median(error)),
                    "calibrated": calibration.calibrated,
                }
            )  # fmt: skip
    return rows


def _landmark_row(cases: Sequence[Row], calibration: Calibration) -> Row:
    over = np.concatenate([case["landmarks"].over_sigma(calibration, TEN) for case in cases])
    even = np.ones(len(over))
    return {
        "suite": "certainty", "kind": "all", "part": "measurements", "scans": len(cases), "points": len(over),
        "within_68": held(over, even, 1.0), "within_95": held(over, even, calibration.factor_95),
        "calibrated": calibration.calibrated,
    }  # fmt: skip


def _all_hidden(
    model: Model, scans: ScanSource, discs: int, config: FitConfig, runner: CaseRunner
) -> list[TrueSurface]:
    def case(k: int) -> Row:
        return {"scan": scans.name(k), "surfaces": _hidden_cases(model, scans, k, discs, config)}

    cases = runner.run(case, scans.count, lambda row: {"scan": row["scan"], "fits": len(row["surfaces"])})
    return [one for found in cases for one in found["surfaces"]]


def _hidden_cases(model: Model, scans: ScanSource, index: int, discs: int, config: FitConfig) -> list[TrueSurface]:
    """Of one scan, for each kind of cut, the hidden surface and that which was left."""
    try:
        placed = scans.placed(index)
    except InputError:
        return []
    found: list[TrueSurface] = []
    for number, kind in enumerate(KINDS):
        # the cuts of a scan depend on its name alone, not on the scans beside it
        rng = np.random.default_rng([0xCE57, zlib.crc32(placed.scan.name.encode()), number])
        try:
            for of_round in cut_rounds(placed, kind, discs, rng):
                removed: BoolArray = np.any([beyond < 0 for beyond in of_round], axis=0)
                surface = _hidden_case(model, placed, removed, kind.name, config, rng)
                if np.median(surface.error_mm) < _MISSED_MM:
                    found.append(surface)
        except InputError:
            continue
    return found


def _hidden_case(
    model: Model, placed: PlacedScan, removed: BoolArray, kind: str, config: FitConfig, rng: np.random.Generator
) -> TrueSurface:
    result = fit_scan(without_points(placed.scan, removed), model, config)
    hidden, left = np.flatnonzero(placed.face & removed), np.flatnonzero(placed.face & ~removed)
    rows = np.concatenate([rng.permutation(hidden)[:_TRUE_POINTS], rng.permutation(left)[:_TRUE_POINTS]])
    points = transform_points(result.scan_to_head, placed.scan.points[rows])
    noise = 0.0 if result.evidence is None else result.evidence.noise_mm
    return _true_surface(model, result, points, placed.scan.name, kind, noise)


def _true_surface(
    model: Model, result: FitResult, points: FloatArray, name: str, kind: str, own_noise_mm: float
) -> TrueSurface:
    """What a fit says at points (N, 3) of the true surface, in its head frame.

    Those at the shoulders are left out: there the bust is cut and closed, which is no surface of a person.
    """
    nearest = np.linalg.norm(points[:, None] - CENTERS_MM, axis=2).argmin(axis=1)
    points = points[~np.isin(nearest, _SHOULDERS)]
    evidence = result.evidence
    if evidence is None:
        raise InputError("suite certainty needs a model with a template beside it; imhead train writes both")
    weights = np.array([result.expression.get(arkit, 0.0) for arkit in ARKIT_NAMES])
    near, share = vertices_near(model, result.head, points, weights)
    distance, codes = ((share * values[near]).sum(axis=1) for values in (evidence.distance_mm, evidence.codes_mm))
    measured = (share * evidence.measured[near]).sum(axis=1) > 0.5
    error = point_to_surface(points, result.mesh)[0]
    return TrueSurface(
        name, kind, error, own_noise_mm, distance, codes, measured, evidence.noise_mm, evidence.misfit_mm,
        evidence.unusual,
    )  # fmt: skip


def _shown(case: Row) -> Row:
    if "refused" in case:
        return case
    surface = case["surface"]
    return {
        "scan": surface.name, "kind": surface.kind, "error_median_mm": round(float(np.median(surface.error_mm)), 3)
    }  # fmt: skip
