"""From a scan to a head: pose, first guess of the codes by the encoder, then damped Gauss-Newton on signed distances.

Shape legend: N scan points.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, ASSUMED_SCALE, BOUNDS_MAX_MM, BOUNDS_MIN_MM, FACE_RADIUS_MM, UNIT_MM
from imhead.encoding.encoder import encoder_of, estimate
from imhead.errors import InputError
from imhead.fitting.certainty import (
    Evidence,
    SurfaceCertainty,
    calibration_for,
    certainty_at,
    certainty_of,
    certainty_summary,
    evidence_of,
)
from imhead.fitting.config import FitConfig
from imhead.fitting.eyes import settled_eyes
from imhead.fitting.figures import ScanFigures, explained_points, scan_figures, seen_from_outside
from imhead.fitting.gauss_newton import FitState, HeadPlaces, apply_motion, gauss_newton_step
from imhead.fitting.hair import Hair, SeenRows, find_hair
from imhead.fitting.mirror import REFLECTION, MirrorSigns, mirror_signs, reflected, reflected_landmarks
from imhead.fitting.objective import Codes, pair_jacobian
from imhead.fitting.points import (
    independent_noise_mm,
    nearest_neighbours,
    offset_priors,
    samples_near_head,
    scan_samples,
    within_bounds,
)
from imhead.fitting.pose import PoseResult, PoseTemplate, Units, find_pose
from imhead.fitting.unseen import carried_into_unseen
from imhead.fitting.walls import ThinPlaces, thin_places
from imhead.io.mesh_file import unit_name
from imhead.isosurface.creases import head_mesh
from imhead.isosurface.field import HeadField
from imhead.isosurface.handles import handles_by_region
from imhead.isosurface.meshing import extract_mesh
from imhead.regions import REGIONS
from imhead.surfaces.transforms import transform_directions, transform_points
from imhead.template.surface import has_template
from imhead.types import BoolArray, Certainty, FloatArray, Head, Mesh, Scan

InitialGuess = Literal["encoder", "mean head", "joint fit"]
_MAX_REPEATS = 2  # of the offsets, with pierced walls held
_NOSE_TIP = next(r.index for r in REGIONS if r.name == "nose_tip")


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted head and how well it explains the scan."""

    head: Head
    """Its codes."""
    mesh: Mesh
    """The head's surface, head frame, mm."""
    pose: PoseResult
    """What the pose search, or the landmarks, gave."""
    scan_to_head: FloatArray
    """(4, 4) scan frame and units → head frame in mm, refined by the fit."""
    points_mm: FloatArray
    """(N, 3) scan points in the head frame."""
    distance_mm: FloatArray
    """(N,) unsigned distance of each scan point to the fitted surface."""
    explained: BoolArray
    """(N,) bool: scan points within 3 mm of the surface, on its side; the rest is hair, clothes, stand or noise."""
    face: BoolArray
    """(N,) bool: scan points on the face."""
    figures: ScanFigures
    """The same by area, without what no scanner sees from outside and without the eyes: the report's figures."""
    expression: dict[str, float]
    """ARKit weights, the non-zero ones."""
    start: InitialGuess
    """What the Gauss-Newton steps started from."""
    start_distance_mm: float | None
    """Median |signed distance|, mm, of the points on the face to the head that the steps started from; None without
    such points. The field's gradient is a little less than 1, and so is this than the true distance."""
    handles: int | None
    """Handles of the mesh: holes through thin walls, such as from a lip into the mouth; a head has none.
    None where they cannot be counted."""
    iterations: int
    """Gauss-Newton steps taken."""
    seconds: float
    """Wall time of the fit."""
    warnings: tuple[str, ...]
    """Of the reader, of the pose search, and of the fit, in sentences."""
    hair: Hair = field(default_factory=Hair.none)
    """Where the scan shows hair, which was left out."""
    mirror: MirrorSigns = field(default_factory=MirrorSigns)
    """Whether the scan is mirrored, and how sure that is."""
    evidence: Evidence | None = None
    """What the head's certainty was computed from; None for a model without a template."""
    mesh_certainty: SurfaceCertainty | None = None
    """How sure the mesh is at its vertices."""

    @property
    def certainty(self) -> Certainty | None:
        """How sure the head's surface is; None for a model without a template."""
        return self.head.certainty

    @property
    def scan_unit(self) -> str | float:
        """The scan's unit: a key of `UNIT_MM`, or the millimetres of one without a name."""
        return self.pose.units if self.pose.units in UNIT_MM else unit_length_mm(self.scan_to_head)

    def report(self) -> dict[str, Any]:
        """The fit's figures, as written to report.json."""
        z = np.asarray(self.head.z_id)
        return {
            **self.figures.summary(),
            "face_points": int((self.explained & self.face).sum()),
            "units": self.pose.units,
            "unit_source": self.pose.unit_source,
            "overlay_unit": unit_name(self.scan_unit),
            "pose_probability": round(self.pose.probability, 4),
            "pose": self.scan_to_head.tolist(),
            "scale_assumed": self.pose.scale_assumed,
            **self.mirror.report(),
            "identity_sigma": float(np.linalg.norm(z) / np.sqrt(len(z))),
            "detail_offset": float(np.abs(self.head.offsets).mean()),
            "expression": self.expression,
            "sigma_mm": certainty_summary(self.certainty, self.evidence),
            "handles": self.handles,
            "hair": self.hair.report(),
            "start": self.start,
            "start_to_head_face_mm": self.start_distance_mm,
            "iterations": self.iterations,
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, eq=False)
class PlacedScan:
    """A scan with its place and expression on a fitted head."""

    scan: Scan
    """In its own frame and unit."""
    samples: FloatArray
    """(S, 3) points of it, from `scan_samples`."""
    normals: FloatArray | None
    """(S, 3) of them."""
    pose: PoseResult
    """What the search found."""
    scan_to_head: FloatArray
    """(4, 4) the refined pose."""
    weights: FloatArray
    """(52,) ARKit weights."""
    hair: Hair
    """Where it shows hair, in the frame of `pose`."""


def unit_length_mm(scan_to_head: FloatArray) -> float:
    """Millimetres of one unit of a scan, from its pose (4, 4)."""
    return float(np.cbrt(abs(np.linalg.det(scan_to_head[:3, :3]))))


def nose_tip_mm(mesh: Mesh, field: HeadField) -> FloatArray:
    """The most forward vertex (3,) in the ball of the region `nose_tip`."""
    ball = field.ball(_NOSE_TIP)
    near = mesh.vertices[np.linalg.norm(mesh.vertices - ball.center_mm, axis=1) < ball.radius_mm]
    tip: FloatArray = near[near[:, 2].argmax()] if len(near) else ball.center_mm
    return tip


_templates: dict[str, PoseTemplate] = {}


def pose_template(model: Model) -> PoseTemplate:
    """The mean head as the pose search sees it; computed once for each model."""
    if model.hash not in _templates:
        field = HeadField(model, model.neutral())
        mesh = extract_mesh(field.sdf, 160)
        _templates[model.hash] = PoseTemplate.from_mesh(mesh, nose_tip_mm(mesh, field))
    return _templates[model.hash]


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


def fit_result(
    model: Model,
    placed: PlacedScan,
    head: Head,
    config: FitConfig,
    start: InitialGuess,
    start_distance_mm: float | None,
    iterations: int,
    began: float,
) -> FitResult:
    """The mesh of a fitted head, and how well it explains a scan.

    Args:
        model: of the head.
        placed: the scan.
        head: in the scan's expression.
        config: settings.
        start: what the steps started from.
        start_distance_mm: as in the result.
        iterations: steps taken.
        began: `time.perf_counter` at the start of the fit.
    """
    scan, pose, hair, scan_to_head = placed.scan, placed.pose, placed.hair, placed.scan_to_head
    points = transform_points(scan_to_head, scan.points)
    field = HeadField(model, head)
    mesh = head_mesh(field, config.resolution)
    own_normals = None if scan.normals is None else transform_directions(scan_to_head, scan.normals)
    distance, explained = explained_points(points, own_normals, mesh)
    explained &= ~hair.covers(transform_points(pose.scan_to_head, scan.points))
    tip = nose_tip_mm(mesh, field)
    face = np.linalg.norm(points - tip, axis=1) < FACE_RADIUS_MM
    figures = scan_figures(scan, placed.samples, placed.normals, scan_to_head, mesh, field.eyes, tip, FACE_RADIUS_MM)
    handles, handle_warnings = _handles(mesh)
    mirror = mirror_signs(scan, scan_to_head, distance, field, mesh, tip)
    assumed = (f"one unit was taken as {unit_length_mm(scan_to_head):.4g} mm; {ASSUMED_SCALE}",)
    doubts = (*pose.warnings, *(assumed if pose.scale_assumed else ()), *mirror.warnings())
    warnings = (*handle_warnings, *scan.warnings, *doubts, *hair.warnings(), *_fit_warnings(figures))
    expression = {n: round(float(w), 4) for n, w in zip(ARKIT_NAMES, placed.weights.tolist()) if w > 0.005}
    return FitResult(
        head, mesh, pose, scan_to_head, points, distance, explained, face, figures, expression, start,
        start_distance_mm, handles, iterations, time.perf_counter() - began, warnings, hair, mirror,
    )  # fmt: skip


def _of_mirrored_scan(image: FitResult) -> FitResult:
    """The fit of a scan, from that of its mirror image."""
    pose = replace(image.pose, scan_to_head=image.pose.scan_to_head @ REFLECTION)
    warnings = tuple(warning for warning in image.warnings if warning not in image.mirror.warnings())
    return replace(
        image, pose=pose, scan_to_head=image.scan_to_head @ REFLECTION, mirror=replace(image.mirror, put_right=True),
        warnings=warnings,
    )  # fmt: skip


def initial_state(
    model: Model, samples: FloatArray, normals: FloatArray | None, pose: PoseResult, config: FitConfig
) -> tuple[FitState, InitialGuess]:
    """The points that enter the fit, and the codes it starts from: the encoder's, or the mean head's."""
    matrix, device = pose.scan_to_head, model.device
    codes = Codes(
        torch.zeros(model.net.config.identity_size, device=device),
        torch.zeros(len(ARKIT_NAMES), device=device),
        torch.zeros(len(REGIONS), model.net.config.region_code_size, device=device),
    )
    motion: FloatArray = np.eye(4)
    start: InitialGuess = "mean head"
    encoder = encoder_of(model) if config.encoder else None
    if encoder is not None:
        placed = transform_points(matrix, samples)
        inside = ((placed > BOUNDS_MIN_MM) & (placed < BOUNDS_MAX_MM)).all(axis=1)
        guess = estimate(encoder, placed[inside])
        z_id, weights = (torch.from_numpy(code).float().to(device) for code in (guess.z_id, guess.weights))
        codes, motion, start = Codes(z_id, weights, codes.offsets), guess.motion, "encoder"
    return state_at(model, samples, normals, matrix, pose.scale_assumed, codes, motion, config), start


def state_at(
    model: Model,
    samples: FloatArray,
    normals: FloatArray | None,
    scan_to_head: FloatArray,
    scale_free: bool,
    codes: Codes,
    motion: FloatArray,
    config: FitConfig,
) -> FitState:
    """A fit of a scan before its first step, with the points that enter it.

    Args:
        model: to fit.
        samples: (S, 3) points of the scan, from `scan_samples`.
        normals: (S, 3) of them, or None.
        scan_to_head: (4, 4) pose that a search found.
        scale_free: whether the size is fitted too.
        codes: to start from.
        motion: (4, 4) after `scan_to_head`.
        config: settings.
    """
    rows, face = within_bounds(samples, scan_to_head, pose_template(model).nose_tip_mm, config)
    points = transform_points(scan_to_head, samples[rows])
    device = model.device
    unit_normals = None
    if normals is not None:
        rotated = transform_directions(scan_to_head, normals[rows])
        rotated = rotated / np.linalg.norm(rotated, axis=1, keepdims=True).clip(1e-30)
        unit_normals = torch.from_numpy(rotated).float().to(device)
    return FitState(
        points=torch.from_numpy(points).float().to(device),
        normals=unit_normals,
        face=torch.from_numpy(face).to(device),
        neighbour=torch.from_numpy(nearest_neighbours(points[face])).to(device),
        motion=motion,
        scale_free=scale_free,
        codes=codes,
        initial_z_id=codes.z_id,
        offset_prior=torch.ones(len(REGIONS), device=device),
    )


def _stages(config: FitConfig) -> list[tuple[tuple[float, ...], bool]]:
    """Scales of the robust loss, and whether the region offsets are free: wide, narrowest, with offsets."""
    wide = tuple(scale for scale in config.robust_mm if scale > config.robust_mm[-1])
    stages = [(wide, False), (config.robust_mm[len(wide) :], False)]
    return [*stages, (config.detail_robust_mm, True)] if config.detail else stages


def optimized(
    model: Model,
    state: FitState,
    hair_with: Callable[[Codes, FloatArray], Hair],
    config: FitConfig,
    progress: Callable[[str, float], None],
) -> tuple[FitState, Hair, int]:
    """The state after all stages, the hair that was left out, and the number of steps.

    Args:
        hair_with: the hair of the scan on a head of given codes and motion (4, 4).
    """
    stages = _stages(config)
    planned, done = sum(len(scales) for scales, _ in stages), 0

    def show(with_offsets: bool) -> None:
        nonlocal done
        done += 1
        progress("detail" if with_offsets else "codes", 0.2 + 0.6 * min(1.0, done / planned))

    hair = Hair.none()
    for number, (scales, with_offsets) in enumerate(stages):
        if not with_offsets:
            state = _after_stage(model, state, scales, None, config, lambda: show(False))
            if number == 0:
                hair = hair_with(state.codes, state.motion)
                state = with_hair(state, hair)
                continue
            sure = hair.confirmed(model, state.codes, state.motion)
            if sure is not hair:
                # some of it was rough skin, which now enters
                hair = sure
                state = _after_stage(model, with_hair(state, hair), scales, None, config, lambda: show(False))
            continue
        before = replace(state, offset_prior=_offset_prior(model, state, config))
        thin = thin_places(model, before.codes) if config.wall_weight > 0.0 else ThinPlaces.none()
        state = _after_stage(model, before, scales, thin, config, lambda: show(True))
        for _ in range(_MAX_REPEATS):
            torn = thin.with_torn(model, state.codes)
            if torn is None:
                break
            # some walls are pierced: the offsets are fitted again, and the walls near them are held
            thin = torn
            state = _after_stage(model, before, scales, thin, config, lambda: show(True))
        expected = _expected_unseen(model, state, config)
        if expected is not None:
            state = _after_stage(model, state, scales[-2:], thin, config, lambda: show(True), expected)
    return state, hair, done


def seen_rows(scan: Scan, samples: FloatArray) -> SeenRows | None:
    """Whether samples (S, 3) of a scan are seen from outside; None for a cloud."""
    if scan.faces is None:
        return None
    mesh = Mesh(scan.points, scan.faces)
    return lambda rows: seen_from_outside(mesh, samples[rows])


def with_hair(state: FitState, hair: Hair) -> FitState:
    covered = hair.covers(state.points.double().cpu().numpy())
    return replace(state, hair=torch.from_numpy(covered).to(state.face.device) if covered.any() else None)


def on_skin(state: FitState) -> Tensor:
    """(N,) bool: points that do not lie on hair."""
    return torch.ones_like(state.face) if state.hair is None else ~state.hair


def _expected_unseen(model: Model, state: FitState, config: FitConfig) -> HeadPlaces | None:
    """What the rim of the scan says of the part that it does not show."""
    if config.unseen_share == 0.0 or not has_template(model):
        return None
    points = apply_motion(state.points, state.motion)
    residual = pair_jacobian(model.net, state.codes, points).sdf_mm
    noise = independent_noise_mm(residual[: len(state.neighbour)], state.neighbour)
    skin = on_skin(state)
    placed, found = points[skin].double().cpu().numpy(), residual[skin].double().cpu().numpy()
    return carried_into_unseen(model, state.codes, placed, found, noise, config)


def _after_stage(
    model: Model,
    state: FitState,
    scales: tuple[float, ...],
    thin: ThinPlaces | None,
    config: FitConfig,
    show_step: Callable[[], None],
    expected: HeadPlaces | None = None,
) -> FitState:
    """The state after a stage, on offsets where `thin` is given. It ends early once a step promises little.

    Args:
        expected: places of the surface that the scan does not show.
    """
    for scale in scales:
        held = None if thin is None else thin.to_hold(model, state.codes, config)
        places = HeadPlaces.joined([held, expected])
        state = gauss_newton_step(model.net, state, scale, thin is not None, config, places)
        show_step()
        if scale == scales[-1] and state.predicted_decrease < config.settled:
            break
    return state


def _offset_prior(model: Model, state: FitState, config: FitConfig) -> Tensor:
    """(39,) weights of the offsets' prior, from the state before the offsets are freed."""
    points = apply_motion(state.points, state.motion)
    residual = pair_jacobian(model.net, state.codes, points[: len(state.neighbour)]).sdf_mm
    noise = independent_noise_mm(residual, state.neighbour)
    placed = points[on_skin(state)].double().cpu().numpy()
    return torch.from_numpy(offset_priors(pose_template(model), placed, noise, config)).to(points)


def _face_distance_mm(model: Model, state: FitState) -> float | None:
    face = apply_motion(state.points[state.face], state.motion)
    if not len(face):
        return None
    return float(pair_jacobian(model.net, state.codes, face).sdf_mm.abs().median())


def head_of(model: Model, codes: Codes, scan_name: str) -> Head:
    with torch.no_grad():
        z_exp = model.net.warp.code(codes.weights[None])[0].cpu().numpy()
    z_id, offsets = codes.z_id.cpu().numpy(), codes.offsets.cpu().numpy()
    return Head(model.name, model.hash, z_id, z_exp, offsets, (f"fitted to {scan_name}",))


def _handles(mesh: Mesh) -> tuple[int | None, tuple[str, ...]]:
    """The number of handles of the mesh, and a warning if there are some or they cannot be counted."""
    try:
        count, regions = handles_by_region(mesh)
    except InputError:
        return None, ("holes through thin walls could not be counted: the surface touches itself; look at it",)
    if not count:
        return 0, ()
    holes = "a hole through a thin wall" if count == 1 else f"{count} holes through thin walls"
    return count, (f"the surface has {holes} (near {', '.join(regions)}); look there, or try --no-detail",)


def _fit_warnings(figures: ScanFigures) -> list[str]:
    warnings: list[str] = []
    explained, face, distance = figures.explained, figures.face, figures.distance_mm
    if face.sum() < 100:
        warnings.append("fewer than 100 scan points lie on the face; the fit rests on little")
    elif explained[face].mean() < 0.6:
        part = 100 * explained[face].mean()
        warnings.append(f"only {part:.0f} % of the points on the face are explained; look at overlay.ply before use")
    elif np.median(distance[face & explained]) > 1.0:
        warnings.append("the face fits worse than 1 mm; look at overlay.ply before use")
    return warnings
