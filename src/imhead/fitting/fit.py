"""From a scan to a head: pose, first guess of the codes by the encoder, then damped Gauss-Newton on signed distances.

Shape legend: N scan points.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from imhead.checkpoint import Model
from imhead.fitting.certainty import calibration_for, certainty_at, certainty_of, evidence_of
from imhead.fitting.config import FitConfig
from imhead.fitting.eyes import settled_eyes
from imhead.fitting.gauss_newton import FitState, apply_motion
from imhead.fitting.hair import find_hair
from imhead.fitting.mirror import REFLECTION, reflected, reflected_landmarks
from imhead.fitting.objective import Codes, distances_mm
from imhead.fitting.points import samples_near_head, scan_samples
from imhead.fitting.pose import Units, find_pose
from imhead.fitting.residual import residual_of
from imhead.fitting.result import FitResult, PlacedScan, fit_result
from imhead.fitting.scan_points import shown_points
from imhead.fitting.stages import optimized, seen_rows
from imhead.fitting.start import initial_state, pose_template
from imhead.surfaces.transforms import transform_directions, transform_points
from imhead.types import FloatArray, Head, Scan


def fit_scan(
    scan: Scan,
    model: Model,
    config: FitConfig = FitConfig(),
    *,
    units: Units = "auto",
    mm_per_unit: float | None = None,
    landmarks: dict[str, tuple[FloatArray, FloatArray]] | None = None,
    mirrored: bool = False,
    progress: Callable[[str, float], None] = lambda stage, part: None,
) -> FitResult:
    """Fit a head to a scan: any rigid pose, any unit, mesh or points, whole or partial.

    Args:
        scan: in its own frame and unit.
        model: to fit.
        config: settings.
        units: unit of the scan, if known.
        mm_per_unit: scale of the scan, if known; goes before `units`.
        landmarks: name → (scan xyz, head-frame xyz in mm), at least three: replaces the search for the pose.
        mirrored: the scan is left-handed: the head is fitted to its mirror image. `scan_to_head` still maps the scan as
            it is, so its determinant is negative.
        progress: is called with the stage and the part done, 0 to 1.

    Raises:
        InputError: no face was found, or two heads; the message says what to do.
    """
    if mirrored:
        pairs = None if landmarks is None else reflected_landmarks(landmarks)
        image = fit_scan(
            reflected(scan), model, config, units=units, mm_per_unit=mm_per_unit, landmarks=pairs, progress=progress
        )
        return _of_mirrored_scan(image)
    began = time.perf_counter()
    torch.manual_seed(config.seed)
    progress("pose", 0.0)
    samples, normals = scan_samples(scan, config)
    pose = find_pose(
        samples, normals, pose_template(model), units=units, mm_per_unit=mm_per_unit, seed=config.seed,
        face_landmarks=landmarks, redraw=partial(scan_samples, scan, config),
    )  # fmt: skip
    samples, normals = samples_near_head(scan, samples, normals, pose.scan_to_head, config)
    progress("codes", 0.2)
    state, start = initial_state(model, samples, normals, pose, config)
    start_distance = _face_distance_mm(model, state)
    placed = transform_points(pose.scan_to_head, samples)
    directions = None if normals is None else transform_directions(pose.scan_to_head, normals)
    hair_with = partial(find_hair, model, placed, directions, seen_rows(scan, samples))
    state, hair, iterations = optimized(model, state, hair_with, config, progress)
    progress("mesh", 0.8)
    head = head_of(model, state.codes, scan.name)
    scan_to_head = state.motion @ pose.scan_to_head
    eyes = settled_eyes(model, head, transform_points(scan_to_head, scan.points))
    head = replace(head, eyes=eyes, scale_assumed=pose.scale_assumed)
    if config.detail and config.residual:
        shown = shown_points(scan, samples, normals, hair.covers(placed), scan_to_head)
        head = replace(head, residual=residual_of(model, [(head, shown)] if shown else []))
    evidence = evidence_of(model, state, transform_points(scan_to_head, samples[~hair.covers(placed)]), config)
    if evidence is not None:
        head = replace(head, certainty=certainty_of(evidence, calibration_for(model)))
    weights = state.codes.weights.cpu().numpy()
    placed_scan = PlacedScan(scan, samples, normals, pose, scan_to_head, weights, hair)
    result = fit_result(model, placed_scan, head, config, start, start_distance, iterations, began)
    if head.certainty is None:
        return result
    at_mesh = certainty_at(head.certainty, model, head, result.mesh.vertices, weights)
    return replace(result, evidence=evidence, mesh_certainty=at_mesh, seconds=time.perf_counter() - began)


def _of_mirrored_scan(image: FitResult) -> FitResult:
    """The fit of a scan, from that of its mirror image."""
    pose = replace(image.pose, scan_to_head=image.pose.scan_to_head @ REFLECTION)
    warnings = tuple(warning for warning in image.warnings if warning not in image.mirror.warnings())
    return replace(
        image, pose=pose, scan_to_head=image.scan_to_head @ REFLECTION, mirror=replace(image.mirror, put_right=True),
        warnings=warnings,
    )  # fmt: skip


def _face_distance_mm(model: Model, state: FitState) -> float | None:
    face = apply_motion(state.points[state.face], state.motion)
    if not len(face):
        return None
    return float(distances_mm(model.net, state.codes, face).abs().median())


def head_of(model: Model, codes: Codes, scan_name: str) -> Head:
    with torch.no_grad():
        z_exp = model.net.warp.code(codes.weights[None])[0].cpu().numpy()
    z_id, offsets = codes.z_id.cpu().numpy(), codes.offsets.cpu().numpy()
    return Head(model.name, model.hash, z_id, z_exp, offsets, (f"fitted to {scan_name}",))
