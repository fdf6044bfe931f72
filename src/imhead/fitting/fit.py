"""From a scan to a head: pose, a first guess of the codes by the encoder, then codes and region offsets by damped
Gauss-Newton on signed distances."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import igl
import numpy as np
import torch
from torch import Tensor

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, BOUNDS_MAX_MM, BOUNDS_MIN_MM, FACE_RADIUS_MM
from imhead.encoding.encoder import encoder_of, estimate
from imhead.fitting.config import FitConfig
from imhead.fitting.gauss_newton import State, moved, step
from imhead.fitting.objective import Codes, sensitivity
from imhead.fitting.points import independent_noise_mm, nearest_neighbours, offset_priors, scan_samples, within_bounds
from imhead.fitting.pose.finder import PoseResult, Units, find_pose
from imhead.fitting.pose.template import PoseTemplate
from imhead.isosurface.creases import detailed_mesh
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import extract_mesh
from imhead.regions import REGIONS
from imhead.surfaces.properties import face_cross
from imhead.surfaces.transforms import transform_directions, transform_points
from imhead.types import BoolArray, FloatArray, Head, Mesh, Scan

Start = Literal["encoder", "mean head"]
_NOSE_TIP = next(r.index for r in REGIONS if r.name == "nose_tip")


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted head and how well it explains the scan."""

    head: Head
    mesh: Mesh
    """The head's surface, head frame, mm."""
    pose: PoseResult
    scan_to_head: FloatArray
    """(4, 4) scan frame and units → head frame in mm, refined by the fit."""
    points_mm: FloatArray
    """(N, 3) scan points in the head frame."""
    distance_mm: FloatArray
    """(N,) unsigned distance of each scan point to the fitted surface."""
    explained: BoolArray
    """(N,) bool: scan points that the head accounts for; the rest is hair, clothes, stand or noise."""
    face: BoolArray
    """(N,) bool: scan points on the face."""
    expression: dict[str, float]
    """ARKit weights, the non-zero ones."""
    start: Start
    start_distance_mm: float | None
    """Median size of the field's values, mm, at the face's points, of the head that the fit started from; None without
    such points. A little less than the distance: a field rises slower than 1."""
    iterations: int
    seconds: float
    warnings: tuple[str, ...]

    def report(self) -> dict[str, object]:
        """The fit's figures, as written to report.json."""
        z = np.asarray(self.head.z_id)
        return {
            "scan_to_head_mm": _spread(self.distance_mm[self.explained]),
            "scan_to_head_face_mm": _spread(self.distance_mm[self.explained & self.face]),
            "explained_fraction": float(self.explained.mean()),
            "face_points": int((self.explained & self.face).sum()),
            "units": self.pose.units,
            "pose": self.scan_to_head.tolist(),
            "scale_assumed": self.pose.scale_assumed,
            "identity_sigma": float(np.linalg.norm(z) / np.sqrt(len(z))),
            "detail_offset": float(np.abs(self.head.offsets).mean()),
            "expression": self.expression,
            "start": self.start,
            "start_to_head_face_mm": self.start_distance_mm,
            "iterations": self.iterations,
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
        }


def _spread(distance: FloatArray) -> dict[str, float | None]:
    if not len(distance):
        return {"median": None, "mean": None, "p90": None}
    return {
        "median": float(np.median(distance)),
        "mean": float(distance.mean()),
        "p90": float(np.percentile(distance, 90)),
    }


def nose_tip_mm(mesh: Mesh, field: HeadField) -> FloatArray:
    """The most forward vertex (3,) in the ball of the nose tip."""
    ball = field.ball(_NOSE_TIP)
    near = mesh.vertices[np.linalg.norm(mesh.vertices - ball.center_mm, axis=1) < ball.radius_mm]
    tip: FloatArray = near[near[:, 2].argmax()] if len(near) else ball.center_mm
    return tip


_templates: dict[str, PoseTemplate] = {}


def pose_template(model: Model) -> PoseTemplate:
    """The mean head as the pose search sees it; made once for each model."""
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
    landmarks: dict[str, tuple[FloatArray, FloatArray]] | None = None,
    progress: Callable[[str, float], None] = lambda stage, part: None,
) -> FitResult:
    """Find the head in a scan: any rigid pose, any unit, mesh or points, whole or partial.

    Args:
        landmarks: name → (scan xyz, head-frame xyz in mm), at least three: replaces the search for the pose.
        progress: told the stage and the part done, 0 to 1.

    Raises:
        InputError: no face was found, or it cannot be one head; the message says which and what to do.
    """
    began = time.perf_counter()
    torch.manual_seed(config.seed)
    progress("pose", 0.0)
    source, source_normals = scan_samples(scan, config)
    pose = find_pose(
        source, source_normals, pose_template(model), units=units, seed=config.seed, face_landmarks=landmarks
    )
    progress("codes", 0.2)
    state, start = _start(model, source, source_normals, pose, config)
    before = _face_distance(model, state)
    stages = _stages(config)
    planned, done = sum(len(scales) for scales, _ in stages), 0
    for scales, with_offsets in stages:
        if with_offsets:
            state = replace(state, offset_prior=_offset_prior(model, state, config))
        for scale in scales:
            state = step(model.net, state, scale, with_offsets, config)
            done += 1
            progress("detail" if with_offsets else "codes", 0.2 + 0.6 * done / planned)
            if scale == scales[-1] and state.promised < config.settled:
                break
    scan_to_head = state.motion @ pose.scan_to_head
    progress("mesh", 0.8)
    return _finish(scan, model, pose, scan_to_head, state, start, before, done, began, config)


def _stages(config: FitConfig) -> list[tuple[tuple[float, ...], bool]]:
    """Scales of the robust loss, and whether the region offsets are free: wide, narrowest, with offsets."""
    wide = tuple(scale for scale in config.robust_mm if scale > config.robust_mm[-1])
    stages = [(wide, False), (config.robust_mm[len(wide) :], False)]
    return [*stages, (config.detail_robust_mm, True)] if config.detail else stages


def _start(
    model: Model, source: FloatArray, normals: FloatArray | None, pose: PoseResult, config: FitConfig
) -> tuple[State, Start]:
    matrix = pose.scan_to_head
    rows, face = within_bounds(source, matrix, pose_template(model).nose_tip_mm, config)
    points = transform_points(matrix, source[rows])
    turned = None
    if normals is not None:
        rotated = transform_directions(matrix, normals[rows])
        turned = torch.from_numpy(rotated / np.linalg.norm(rotated, axis=1, keepdims=True).clip(1e-30)).float()
    net, device = model.net.config, model.device
    codes = Codes(
        torch.zeros(net.identity_size, device=device),
        torch.zeros(len(ARKIT_NAMES), device=device),
        torch.zeros(len(REGIONS), net.region_code_size, device=device),
    )
    picked = torch.from_numpy(points).float().to(device)
    turned = None if turned is None else turned.to(device)
    motion: FloatArray = np.eye(4)
    start: Start = "mean head"
    encoder = encoder_of(model) if config.encoder else None
    if encoder is not None:
        every = transform_points(matrix, source)
        guess = estimate(encoder, every[((every > BOUNDS_MIN_MM) & (every < BOUNDS_MAX_MM)).all(axis=1)])
        z_id, weights = (torch.from_numpy(part).float().to(device) for part in (guess.z_id, guess.weights))
        codes, motion, start = Codes(z_id, weights, codes.offsets), guess.motion, "encoder"
    return State(
        picked, turned, torch.from_numpy(face).to(device),
        torch.from_numpy(nearest_neighbours(points[face])).to(device), motion, pose.scale_assumed, codes, codes.z_id,
        1e-2, math.inf, torch.ones(len(REGIONS), device=device),
    ), start  # fmt: skip


def _offset_prior(model: Model, state: State, config: FitConfig) -> Tensor:
    points = moved(state.points, state.motion)
    residual = sensitivity(model.net, state.codes, points[: len(state.neighbour)]).sdf_mm
    noise = independent_noise_mm(residual, state.neighbour)
    placed = points.double().cpu().numpy()
    return torch.from_numpy(offset_priors(pose_template(model), placed, noise, config)).to(points)


def _face_distance(model: Model, state: State) -> float | None:
    face = moved(state.points[state.face], state.motion)
    if not len(face):
        return None
    return float(sensitivity(model.net, state.codes, face).sdf_mm.abs().median())


def _finish(
    scan: Scan,
    model: Model,
    pose: PoseResult,
    scan_to_head: FloatArray,
    state: State,
    start: Start,
    before: float | None,
    iterations: int,
    began: float,
    config: FitConfig,
) -> FitResult:
    codes = state.codes
    with torch.no_grad():
        z_exp = model.net.warp.code(codes.weights[None])[0].cpu().numpy()
    z_id, offsets = codes.z_id.cpu().numpy(), codes.offsets.cpu().numpy()
    head = Head(model.name, model.hash, z_id, z_exp, offsets, (f"fitted to {scan.name}",))
    field = HeadField(model, head)
    mesh = detailed_mesh(field.sdf, config.resolution)
    points = transform_points(scan_to_head, scan.points)
    squared, nearest, _ = igl.point_mesh_squared_distance(points, mesh.vertices, mesh.faces)
    distance = np.sqrt(np.maximum(squared, 0.0))
    explained = distance < 3.0
    if scan.normals is not None:
        surface = face_cross(mesh.vertices, mesh.faces[nearest])
        agree = np.einsum("nc,nc->n", surface, transform_directions(scan_to_head, scan.normals))
        agree = agree if np.median(agree) >= 0 else -agree
        explained &= agree > 0.0
    face = np.linalg.norm(points - nose_tip_mm(mesh, field), axis=1) < FACE_RADIUS_MM
    warnings = [*scan.warnings, *pose.warnings, *_doubts(head, explained, face, distance)]
    named = {n: round(float(w), 4) for n, w in zip(ARKIT_NAMES, codes.weights.tolist()) if w > 0.005}
    return FitResult(
        head, mesh, pose, scan_to_head, points, distance, explained, face, named, start, before, iterations,
        time.perf_counter() - began, tuple(warnings),
    )  # fmt: skip


def _doubts(head: Head, explained: BoolArray, face: BoolArray, distance: FloatArray) -> list[str]:
    doubts: list[str] = []
    sigma = float(np.linalg.norm(head.z_id) / np.sqrt(len(head.z_id)))
    if sigma > 1.5:
        doubts.append(f"the identity lies {sigma:.1f} standard deviations out, far from known heads; check the unit")
    if face.sum() < 100:
        doubts.append("fewer than 100 scan points lie on the face; the fit rests on little")
    elif explained[face].mean() < 0.6:
        part = 100 * explained[face].mean()
        doubts.append(f"only {part:.0f} % of the points on the face are explained; look at overlay.ply before use")
    elif np.median(distance[face & explained]) > 1.0:
        doubts.append("the face fits worse than 1 mm; look at overlay.ply before use")
    return doubts
