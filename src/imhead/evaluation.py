"""Accuracy in mm, on heads that training never saw and on real scans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model
from imhead.conventions import FACE_RADIUS_MM, UNIT_MM
from imhead.curation.scanfile import read_scan
from imhead.curation.virtual_scan import sample_points, visible_faces
from imhead.errors import InputError
from imhead.fitting.fit import FitConfig, FitResult, fit_scan
from imhead.geometry.metrics import SurfaceMetrics, surface_metrics
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
    model: Model, ict: IctModel, heads: int, config: FitConfig, progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Fits of held-out heads, scored against the truth; one row, and each head's own figures under `cases`."""
    masks, visible = head_solid(ict)
    cases: list[dict[str, Any]] = []
    for index in range(heads):
        case = held_out(ict, index, masks, visible)
        try:
            result = fit_scan(case.scan, model, config)
        except InputError as error:
            cases.append({"name": case.scan.name, "refused": str(error)})
            progress(f"{case.scan.name}: refused: {error}")
            continue
        figures = score(result, case)
        failed = figures["pose_error_deg"] > _POSE_FAILURE_DEG or figures["pose_error_mm"] > _POSE_FAILURE_MM
        cases.append({"name": case.scan.name, "pose_failed": failed, **figures, "seconds": result.seconds})
        progress(
            f"{case.scan.name}: face {figures['face_chamfer_mm']:.3f} mm, head {figures['head_chamfer_mm']:.3f} mm, "
            f"pose {figures['pose_error_deg']:.1f} deg {figures['pose_error_mm']:.1f} mm, {result.seconds:.1f} s"
        )
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


def real_suite(
    model: Model, folder: Path, turns: int, config: FitConfig, progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Fits of every scan in a folder, as it is and in random turns and units; one row for each scan."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".ply", ".obj", ".stl", ".glb", ".off"))
    if not paths:
        raise InputError(f"{folder}: holds no scans; give a folder of .ply, .obj, .stl, .glb or .off files")
    rows: list[dict[str, Any]] = []
    for path in paths:
        scan = read_scan(path)
        rng = np.random.default_rng([0x5CA2, len(rows)])
        row: dict[str, Any] = {"suite": "real", "model": model.name, "scan": scan.name, "turns": turns}
        medians: list[float] = []
        refused: list[str] = []
        upright: FloatArray | None = None
        for turn in range(turns + 1):
            matrix, points = (np.eye(4), scan.points) if turn == 0 else random_turn(scan.points, rng)
            normals = scan.normals
            if normals is not None and turn:
                rotated = normals @ matrix[:3, :3].T
                normals = rotated / np.linalg.norm(rotated, axis=1, keepdims=True)
            try:
                result = fit_scan(replace(scan, points=points, normals=normals), model, config)
            except InputError as error:
                refused.append(str(error))
                progress(f"{scan.name} turn {turn}: refused: {error}")
                continue
            report = result.report()
            face = report["scan_to_head_face_mm"]
            assert isinstance(face, dict)
            if turn == 0:
                row |= {"face_mm": face, "units": report["units"], "warnings": report["warnings"]}
                row["explained_fraction"] = report["explained_fraction"]
                upright = result.scan_to_head
            if upright is not None:
                relative = result.scan_to_head @ matrix @ np.linalg.inv(upright)
                rotation = relative[:3, :3] / np.cbrt(np.linalg.det(relative[:3, :3]))
                angle = float(np.degrees(Rotation.from_matrix(rotation).magnitude()))
                row["largest_turn_deg"] = max(angle, row.get("largest_turn_deg", 0.0))
            if face["median"] is not None:
                medians.append(face["median"])
            progress(f"{scan.name} turn {turn}: face {face}, units {report['units']}, {result.seconds:.1f} s")
        row |= {"found": len(medians), "refused": refused}
        row["face_median_worst_mm"] = max(medians) if medians else None
        rows.append(row)
    return rows
