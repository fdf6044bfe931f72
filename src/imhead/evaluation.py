"""Accuracy in mm, on heads that training never saw and on real scans."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model
from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM, FACE_RADIUS_MM, UNIT_MM
from imhead.curation.scanfile import SCAN_EXTENSIONS, read_scan
from imhead.curation.virtual_scan import sample_points, visible_faces
from imhead.editing import sample
from imhead.errors import InputError
from imhead.fitting.fit import FitConfig, FitResult, fit_scan, pose_template
from imhead.geometry.field import HeadField
from imhead.geometry.meshing import extract_mesh
from imhead.geometry.metrics import SurfaceMetrics, surface_metrics, vertex_areas
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS
from imhead.sources.compose import ComposeConfig, draw_identity, group_masks
from imhead.sources.ict import IctModel
from imhead.training.codes import keypoint_weights
from imhead.training.population import HELD_OUT_SEED
from imhead.types import BoolArray, FloatArray, Mesh, Scan

POINTS = 5000
"""Points of a held-out head that a fit is given."""
_POSE_FAILURE_DEG = 10.0
_POSE_FAILURE_MM = 15.0
_AREAS: dict[str, tuple[tuple[str, ...], float]] = {
    "lids": (("eye_inner", "eye_outer", "upper_lid", "lower_lid"), 0.55),
    "lips": (("upper_lip", "lower_lip", "mouth_corner"), 0.6),
    "ears": (("ear_helix", "ear_canal", "ear_lobe"), 0.8),
}
"""Area → region names without their side, and the share of the ball that counts."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A head that training never saw, and the scan that a fit gets of it."""

    truth: Mesh
    """Neutral head, head frame, mm: skin with mouth socket, and eyeballs."""
    visible: BoolArray
    """(F,) bool: faces that a scanner can see."""
    keypoints_mm: FloatArray
    """(39, 3)."""
    nose_tip_mm: FloatArray
    """(3,)."""
    scan: Scan
    head_to_scan: FloatArray
    """(4, 4)."""


def held_out(ict: IctModel, index: int, masks: FloatArray, visible: BoolArray) -> HeldOut:
    """Held-out identity `index`: composed, neutral, 5 000 points without normals, random pose and unit."""
    offsets = draw_identity(ict, masks, HELD_OUT_SEED + index, ComposeConfig(composed_fraction=1.0))
    truth = Mesh(ict.mean + offsets, np.concatenate([ict.skin_faces, ict.eye_faces]))
    rng = np.random.default_rng([0xE7A1, index])
    points, _ = sample_points(truth, POINTS, rng, visible=visible)
    matrix, moved = random_turn(points, rng)
    shift = keypoint_weights((ict.mean + ict.canonical_offset).astype(np.float64))
    keypoints = CENTERS_MM + np.einsum("rv,vc->rc", shift, offsets)
    tip = int(np.argmax(ict.mean[:, 2]))
    return HeldOut(truth, visible, keypoints, truth.vertices[tip], Scan(f"heldout_{index:03d}", moved), matrix)


def random_turn(points: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """A random rotation, shift and unit: (4, 4) matrix and the moved points (N, 3)."""
    unit = UNIT_MM[str(rng.choice(list(UNIT_MM)))]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=int(rng.integers(1 << 31))).as_matrix() / unit
    matrix[:3, 3] = rng.normal(0.0, 300.0, 3) / unit
    return matrix, points @ matrix[:3, :3].T + matrix[:3, 3]


def head_solid(ict: IctModel) -> tuple[FloatArray, BoolArray]:
    """The masks of `compose`, and which faces of the mean head a scanner can see; both the same for every head."""
    faces = np.concatenate([ict.skin_faces, ict.eye_faces])
    return group_masks(ict.mean), visible_faces(Mesh(ict.mean, faces))


def _near(points: FloatArray, centers: FloatArray, radius: FloatArray) -> BoolArray:
    near: BoolArray = (np.linalg.norm(points[:, None] - centers, axis=2) < radius).any(axis=1)
    return near


def score(result: FitResult, case: HeldOut, seed: int = 0) -> dict[str, float]:
    """Figures of one fit against the truth: face, head and the fine areas; and the error of the pose."""
    to_truth = np.linalg.inv(case.head_to_scan) @ np.linalg.inv(result.scan_to_head)
    fitted = Mesh(result.mesh.vertices @ to_truth[:3, :3].T + to_truth[:3, 3], result.mesh.faces)
    seen = visible_faces(fitted)
    tip = case.nose_tip_mm
    tests: dict[str, Callable[[FloatArray], BoolArray] | None] = {
        "head": None,
        "face": lambda p: np.linalg.norm(p - tip, axis=1) < FACE_RADIUS_MM,
    }
    for area, (stems, share) in _AREAS.items():
        rows = [r.index for r in REGIONS if r.name.removeprefix("left_").removeprefix("right_") in stems]
        centers, radius = case.keypoints_mm[rows], share * RADII_MM[rows]
        tests[area] = partial(_near, centers=centers, radius=radius)
    figures: dict[str, float] = {}
    for area, test in tests.items():
        found: SurfaceMetrics = surface_metrics(
            fitted, case.truth, seed=seed, predicted_mask=seen, truth_mask=case.visible, region=test
        )
        figures |= {f"{area}_{name}": value for name, value in asdict(found).items()}
    angle = np.degrees(Rotation.from_matrix(to_truth[:3, :3]).magnitude())
    figures["pose_error_deg"] = float(angle)
    figures["pose_error_mm"] = float(np.linalg.norm(to_truth[:3, 3]))
    return figures


def heldout_suite(
    model: Model, ict: IctModel, heads: int, config: FitConfig, progress: Callable[[str], None], processes: int = 2
) -> list[dict[str, Any]]:
    """Fits of held-out heads, scored against the truth; one row, and each head's own figures under `cases`."""
    masks, visible = head_solid(ict)
    pose_template(model)  # made once, before the workers are forked
    work = partial(_heldout_case, model, ict, masks, visible, config)
    cases: list[dict[str, Any]] = []
    for case in in_processes(work, heads, processes):
        cases.append(case)
        progress(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in case.items() if k in _SHOWN}))
    done = [case for case in cases if "refused" not in case]
    if not done:
        raise InputError("every held-out fit was refused; the model cannot be evaluated")
    keys = [key for key in done[0] if key.endswith(("_mm", "_consistency", "_1mm", "_5mm", "_deg", "seconds"))]
    row: dict[str, Any] = {
        "suite": "heldout",
        "model": model.name,
        "code_size": int(model.net.config.identity_size),
        "detail": config.detail,
        "heads": heads,
        "scored": len(done),
        "pose_failures": sum(1 for case in cases if case.get("pose_failed", True)),
    }
    row |= {key: float(np.mean([case[key] for case in done])) for key in keys}
    row["face_chamfer_p90_mm"] = float(np.percentile([case["face_chamfer_mm"] for case in done], 90))
    return [row | {"cases": cases}]


_SHOWN = ("name", "refused", "pose_failed", "face_chamfer_mm", "head_chamfer_mm", "pose_error_deg", "seconds")


def _heldout_case(
    model: Model, ict: IctModel, masks: FloatArray, visible: BoolArray, config: FitConfig, index: int
) -> dict[str, Any]:
    case = held_out(ict, index, masks, visible)
    try:
        result = fit_scan(case.scan, model, config)
    except InputError as error:
        return {"name": case.scan.name, "refused": str(error)}
    figures = score(result, case)
    failed = figures["pose_error_deg"] > _POSE_FAILURE_DEG or figures["pose_error_mm"] > _POSE_FAILURE_MM
    return {"name": case.scan.name, "pose_failed": failed, **figures, "seconds": result.seconds}


_forked: Callable[[int], dict[str, Any]] | None = None


def _call_forked(index: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    assert _forked is not None
    return _forked(index)


def in_processes(work: Callable[[int], dict[str, Any]], count: int, processes: int) -> Iterator[dict[str, Any]]:
    """`work(0) … work(count - 1)` in order; forked, so that the model and the source are shared, not sent."""
    global _forked
    if processes <= 1:
        yield from map(work, range(count))
        return
    _forked = work
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from pool.imap(_call_forked, range(count))
    _forked = None


def real_suite(
    model: Model, folder: Path, turns: int, config: FitConfig, progress: Callable[[str], None], processes: int = 2
) -> list[dict[str, Any]]:
    """Fits of every scan in a folder, as it is and in random turns and units; one row for each scan."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SCAN_EXTENSIONS)
    if not paths:
        raise InputError(f"{folder}: holds no scans; give a folder of {', '.join(SCAN_EXTENSIONS)} files")
    scans = [read_scan(path) for path in paths]
    pose_template(model)
    work = partial(_real_case, model, scans, turns, config)
    rows: list[dict[str, Any]] = []
    cases: list[dict[str, Any]] = []
    for case in in_processes(work, len(scans) * (turns + 1), processes):
        progress(json.dumps({k: v for k, v in case.items() if k != "scan_to_upright"}))
        cases.append(case)
        if len(cases) == turns + 1:
            rows.append(_real_row(model, cases))
            cases = []
    return rows


def _real_case(model: Model, scans: list[Scan], turns: int, config: FitConfig, index: int) -> dict[str, Any]:
    scan, turn = scans[index // (turns + 1)], index % (turns + 1)
    rng = np.random.default_rng([0x5CA2, index])
    matrix, points = (np.eye(4), scan.points) if turn == 0 else random_turn(scan.points, rng)
    normals = scan.normals
    if normals is not None and turn:
        rotated = normals @ matrix[:3, :3].T
        normals = rotated / np.linalg.norm(rotated, axis=1, keepdims=True)
    try:
        result = fit_scan(replace(scan, points=points, normals=normals), model, config)
    except InputError as error:
        return {"scan": scan.name, "turn": turn, "refused": str(error)}
    report = result.report()
    names = ("scan_to_head_face_mm", "explained_fraction", "identity_sigma", "units", "warnings", "seconds")
    upright = (result.scan_to_head @ matrix).tolist()
    return {"scan": scan.name, "turn": turn, **{name: report[name] for name in names}, "scan_to_upright": upright}


def _real_row(model: Model, cases: list[dict[str, Any]]) -> dict[str, Any]:
    first, found = cases[0], [case for case in cases if "refused" not in case]
    row: dict[str, Any] = {
        "suite": "real",
        "model": model.name,
        "scan": first["scan"],
        "turns": len(cases) - 1,
        "found": len(found),
        "refused": [case["refused"] for case in cases if "refused" in case],
    }
    if "refused" not in first:
        row |= {key: first[key] for key in first if key not in ("scan", "turn", "scan_to_upright")}
        poses = [np.array(case["scan_to_upright"]) @ np.linalg.inv(first["scan_to_upright"]) for case in found]
        turned = [pose[:3, :3] / np.cbrt(np.linalg.det(pose[:3, :3])) for pose in poses]
        row["largest_turn_deg"] = float(max(np.degrees(Rotation.from_matrix(t).magnitude()) for t in turned))
    medians = [case["scan_to_head_face_mm"]["median"] for case in found]
    row["face_median_worst_mm"] = max((m for m in medians if m is not None), default=None)
    return row


def locality_suite(model: Model, seed: int = 0, strength: float = 2.0) -> list[dict[str, Any]]:
    """How local an edit is, one row for each region of the mean head.

    Each region is drawn anew at `strength`. `changed_outside` counts, among 100 000 points outside its old and new
    ball, the distances that are not the same bit for bit. `radius_95_mm` is the distance from the keypoint within which
    95 % of the surface's movement stays.
    """
    head = model.neutral()
    field = HeadField(model, head)
    mesh = extract_mesh(field.sdf, 160)
    area = vertex_areas(mesh)
    canonical = field.canonical(mesh.vertices)
    surface = field.sdf(mesh.vertices)
    rng = np.random.default_rng(seed)
    near = mesh.vertices[rng.integers(len(mesh.vertices), size=130_000)] + rng.normal(0.0, 6.0, (130_000, 3))
    points = np.concatenate([near, rng.uniform(BOUNDS_MIN_MM, BOUNDS_MAX_MM, (130_000, 3))])
    places, before = field.canonical(points), field.sdf(points)
    rows: list[dict[str, Any]] = []
    for region in REGIONS:
        edited = HeadField(model, sample(model, head, (region,), seed, strength, False))
        after = edited.sdf(points)
        balls = (field.ball(region.index), edited.ball(region.index))
        outside = np.ones(len(points), dtype=bool)
        for ball in balls:
            # a hair wider than the ball, since the places themselves are rounded to single precision
            outside &= np.linalg.norm(places - ball.center_mm, axis=1) > ball.radius_mm * (1.0 + 1e-5)
        checked = np.flatnonzero(outside)[:: max(1, int(outside.sum()) // 100_000)][:100_000]
        moved = np.abs(edited.sdf(mesh.vertices) - surface) * area
        distance = np.linalg.norm(canonical - balls[0].center_mm, axis=1)
        order = np.argsort(distance)
        share = np.cumsum(moved[order]) / moved.sum()
        rows.append(
            {
                "suite": "locality",
                "model": model.name,
                "region": region.name,
                "radius_95_mm": float(distance[order][np.searchsorted(share, 0.95)]),
                "ball_radius_mm": balls[0].radius_mm,
                "largest_movement_mm": float(np.abs(edited.sdf(mesh.vertices) - surface).max()),
                "points_outside": len(checked),
                "changed_outside": int((after[checked] != before[checked]).sum()),
            }
        )
    return rows
