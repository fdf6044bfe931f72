"""Each scan alone: cleaned, its head found and found again from other poses, and a first fit.

Shape legend: S samples of a scan, K points of the mean face.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model
from imhead.conventions import UNIT_MM
from imhead.curation.cleaning import cleaned
from imhead.curation.config import CurationConfig
from imhead.curation.duplicates import shape_print
from imhead.curation.inputs import RawScan
from imhead.curation.keeping import hair_arrays, opened_hair, opened_pose, pose_arrays, pose_figures
from imhead.curation.pictures import scan_picture
from imhead.curation.problems import Problem
from imhead.curation.store import Record
from imhead.errors import InputError
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import head_of
from imhead.fitting.mirror import mirror_signs, reflected
from imhead.fitting.objective import Codes
from imhead.fitting.person_scans import OwnFit, own_fit, samples_on_head
from imhead.fitting.points import scan_samples
from imhead.fitting.pose import PoseResult, find_pose
from imhead.fitting.pose.finder import TWO_HEADS
from imhead.fitting.pose_file import nose_tip_mm
from imhead.fitting.pose_scan import scan_of_person
from imhead.fitting.result import unit_length_mm
from imhead.fitting.stages import with_hair
from imhead.fitting.start import pose_template, state_at
from imhead.io.limited import read_scan_limited
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import extract_mesh
from imhead.surfaces.transforms import matrix_of, transform_directions, transform_points
from imhead.types import FloatArray, Scan

_COARSE = 64  # cells of the mesh on which the nose tip is found
_SIGNS = 4000  # samples that are asked whether the scan is mirrored
_TURN_UNITS = ("mm", "cm", "m")


def open_scan(raw: RawScan, config: CurationConfig) -> tuple[Scan, dict[str, int]]:
    """A raw scan as it is fitted: cleaned, and put right if it is known to be mirrored; and what was masked.

    Raises:
        InputError: it cannot be read, or nothing is left of it.
    """
    return _as_fitted(read_scan_limited(raw.path), raw, config)


def _as_fitted(given: Scan, raw: RawScan, config: CurationConfig) -> tuple[Scan, dict[str, int]]:
    scan, dirt = cleaned(given, config.cleaning)
    return (reflected(scan) if raw.mirrored else scan), dirt.report()


@dataclass(frozen=True, eq=False)
class FoundScan:
    """A scan's own fit."""

    record: Record
    """With a `problem` among its figures where there is none."""
    picture: Image.Image | None
    """Of the scan, in its pose where that was found."""


def found_alone(raw: RawScan, model: Model, config: CurationConfig) -> FoundScan:
    """A scan's own fit, with the print of its shape.

    Raises:
        InputError: the file cannot be read, or nothing is left of it.
    """
    given = read_scan_limited(raw.path)
    printed = {"print": shape_print(given.points)}
    scan, dirt = _as_fitted(given, raw, config)
    record = _own_record(scan, dirt, raw, model, config)
    picture = scan_picture(scan, record.arrays.get("scan_to_head"))
    return FoundScan(Record(record.arrays | printed, record.figures), picture)


def _own_record(scan: Scan, dirt: dict[str, int], raw: RawScan, model: Model, config: CurationConfig) -> Record:
    torch.manual_seed(config.fit.seed)
    try:
        fit = own_fit(scan, 0, model, config.fit, raw.units, raw.scale)
    except InputError as error:
        problem = _no_head(scan, raw, model, config.fit, str(error))
        return Record({}, {"cleaning": dirt, "problem": asdict(problem)})
    figures = {"cleaning": dirt, "problem": None, **_figures(scan, fit, model, config)}
    return Record(_arrays(fit), figures | {"fit": _fit_figures(fit)})


def _no_head(scan: Scan, raw: RawScan, model: Model, config: FitConfig, reason: str) -> Problem:
    if reason.startswith(TWO_HEADS):
        return Problem("two_heads", reason)
    reason = reason.partition(";")[0]  # its advice is for another command
    if raw.named is not None:
        try:
            pose = find_pose(*scan_samples(scan, config), pose_template(model), seed=config.seed)
        except InputError:
            return Problem("no_head", reason)
        other = "of no common unit" if pose.scale_assumed else f"in {pose.units}"
        return Problem("unit", f"no head was found in {raw.named}, as the table says, but one {other}")
    return Problem("no_head", reason)


def _figures(scan: Scan, fit: OwnFit, model: Model, config: CurationConfig) -> dict[str, Any]:
    """What the audit asks of a scan alone."""
    head = head_of(model, fit.state.codes, scan.name)
    samples, normals = samples_on_head(scan, fit.pose, config.fit)
    placed = scan_of_person(model, head, scan.name, samples, normals, fit.state, fit.pose.scan_to_head)
    field = HeadField(model, head)
    coarse = extract_mesh(field.sdf, _COARSE)
    rows = slice(0, _SIGNS)
    # samples of a mesh stand for it: the signs ask for no face
    empty = None if scan.faces is None else np.zeros((0, 3), dtype=np.int64)
    light = Scan(scan.name, samples[rows], None if normals is None else _unit(normals[rows]), empty)
    distance = np.abs(field.sdf(transform_points(placed.scan_to_head, light.points)))
    signs = mirror_signs(light, placed.scan_to_head, distance, field, coarse, nose_tip_mm(coarse, field))
    figures = placed.figures
    face = figures.explained[figures.face]
    z_id = fit.state.codes.z_id.double()
    return {
        "units": fit.pose.units,
        "unit_source": fit.pose.unit_source,
        "scale_assumed": fit.pose.scale_assumed,
        "head_scale": round(fit.pose.head_scale, 4),
        "pose_probability": round(fit.pose.probability, 4),
        "agreement_mm": agreement_mm(scan, fit.pose, model, config),
        "face_mm": round(fit.distance_mm, 4),
        "face_unexplained": round(1.0 - float(face.mean()), 4) if len(face) else 1.0,
        "code_sigma": round(float(z_id.square().mean().sqrt()), 4),
        "noise_mm": round(placed.noise_mm, 4),
        "inside_out": signs.inside_out,
        "normals_crossed": signs.crossed,
        "sides_differ_mm": signs.sides_differ_mm,
    }


def agreement_mm(scan: Scan, pose: PoseResult, model: Model, config: CurationConfig) -> list[float | None]:
    """How far the face lies from its place when it is searched for again, each time from a random pose, unit and start.

    Args:
        pose: what the first search found.

    Returns:
        Root mean square over points of the mean face, mm, of each search; None where it found no face.
    """
    template = pose_template(model)
    face = template.points[template.face]
    samples, normals = scan_samples(scan, config.fit)
    in_scan = transform_points(np.linalg.inv(pose.scan_to_head), face)
    found: list[float | None] = []
    for turn in range(config.turns):
        rng = np.random.default_rng([0xA97EE, turn])
        moved, unit = _random_move(pose, rng)
        turned = None if normals is None else transform_directions(moved, normals)
        try:
            again = find_pose(
                transform_points(moved, samples), turned, template, seed=config.fit.seed + 1 + turn,
                mm_per_unit=unit if pose.unit_source == "named" else None,
            )  # fmt: skip
        except InputError:
            found.append(None)
            continue
        away = transform_points(again.scan_to_head @ moved, in_scan) - face
        found.append(round(float(np.sqrt(np.square(away).sum(axis=1).mean())), 3))
    return found


def _random_move(pose: PoseResult, rng: np.random.Generator) -> tuple[FloatArray, float]:
    """A random similarity (4, 4) of the scan's frame, and the millimetres of its new unit."""
    own = UNIT_MM.get(pose.units, unit_length_mm(pose.scan_to_head))
    unit = UNIT_MM[str(rng.choice(_TURN_UNITS))] if pose.units in UNIT_MM else own
    rotation = Rotation.random(random_state=int(rng.integers(1 << 31))).as_matrix()
    return matrix_of(rotation * own / unit, rng.normal(0.0, 300.0, 3) / unit), unit


def _unit(directions: FloatArray) -> FloatArray:
    unit: FloatArray = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-30)
    return unit


def _arrays(fit: OwnFit) -> dict[str, np.ndarray]:
    codes = fit.state.codes
    return {
        "z_id": codes.z_id.cpu().numpy(),
        "weights": codes.weights.cpu().numpy(),
        "motion": np.asarray(fit.state.motion, dtype=np.float64),
        **pose_arrays(fit.pose),
        **hair_arrays(fit.hair),
    }


def _fit_figures(fit: OwnFit) -> dict[str, Any]:
    """What the arrays leave out, exactly, so that the fit can be opened again."""
    return {"pose": pose_figures(fit.pose), "distance_mm": fit.distance_mm, "iterations": fit.iterations}


def reopened(record: Record, scan: Scan, row: int, model: Model, config: FitConfig) -> OwnFit:
    """The fit of a record, for its scan as `open_scan` gives it."""
    arrays, kept = record.arrays, record.figures["fit"]
    pose, hair = opened_pose(arrays, kept["pose"]), opened_hair(arrays)
    samples, normals = samples_on_head(scan, pose, config)
    z_id, weights = (torch.from_numpy(arrays[name]).float().to(model.device) for name in ("z_id", "weights"))
    offsets = torch.zeros(len(model.net.radius), model.net.config.region_code_size, device=model.device)
    codes = Codes(z_id, weights, offsets)
    state = state_at(
        model, samples, normals, pose.scan_to_head, pose.scale_assumed, codes, arrays["motion"], config
    )  # fmt: skip
    return OwnFit(row, pose, with_hair(state, hair), hair, kept["distance_mm"], kept["iterations"])
