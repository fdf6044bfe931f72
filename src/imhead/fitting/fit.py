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
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from torch import Tensor

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, BOUNDS_MAX_MM, BOUNDS_MIN_MM, FACE_RADIUS_MM
from imhead.encoding.encoder import encoder_of, estimate
from imhead.fitting.objective import Codes, geman_mcclure, normal_equations, sensitivity
from imhead.fitting.pose import PoseResult, Units, find_pose
from imhead.fitting.pose_template import PoseTemplate
from imhead.geometry.field import HeadField
from imhead.geometry.meshing import extract_mesh
from imhead.model.fusion import wendland
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS
from imhead.types import BoolArray, FloatArray, Head, IntArray, Mesh, Scan

Start = Literal["encoder", "mean head"]
_FIXED = 1e8  # precision of an unknown that a step leaves where it is
_SHOWN_MM = 15.0  # a place of the mean head with a point nearer than this is shown: heads differ by about as much
_LEAST_SHOWN = 0.1
_NOSE_TIP = next(r.index for r in REGIONS if r.name == "nose_tip")


@dataclass(frozen=True)
class FitConfig:
    """Settings of a fit. The defaults were chosen on held-out heads and five real scans."""

    points: int = 7000
    """Scan points that enter an iteration."""
    face_share: float = 0.6
    """Part of them drawn from the face, where the scan has that many."""
    early_points: int = 2000
    """How many of them enter while the robust loss is wider than at the end: a coarse goal needs no more."""
    sigma_mm: float = 0.25
    """Least spread of an inlier's residual: model error. A noisier scan, and early iterations, are trusted less."""
    effective_points: float = 1000.0
    """Independent measurements that the points count as; neighbours repeat each other's errors."""
    elsewhere_weight: float = 0.06
    """Weight of a point off the face, where hair and clothes are, against one on it, while z_id is sought."""
    robust_mm: tuple[float, ...] = (12.0, 9.0, 7.0, 5.0, 4.0, 3.0, 2.5, 2.0, 2.0, 1.5, 1.5, 1.5)
    """Scale of the robust loss in each iteration of pose and codes."""
    detail_robust_mm: tuple[float, ...] = (1.5, 1.5, 1.5, 1.5)
    """The same for the iterations in which region offsets are sought and z_id is held."""
    early_prior: float = 0.3
    """Weight of the squared distance of z_id to where the fit started, while the robust loss is wider than at the end:
    until hair and clothes are told from the head, the first guess is trusted more than the points."""
    identity_prior: float = 0.05
    """Weight of |z_id|² after that, at first and at least."""
    identity_limit: float = 1.2
    """Length of z_id, in standard deviations, over which that weight grows from iteration to iteration: a scan that
    the model cannot explain is not to be explained by an implausible head."""
    expression_sigma: float = 0.08
    """Prior spread of an ARKit weight. Gaze is not fitted: a scan hardly shows it."""
    offset_prior: float = 0.2
    """Weight of the L1 norm of the region offsets, for a region that the scan shows whole; it is divided by the squared
    share that the scan shows, since what is not seen would follow what is."""
    settled: float = 2.0
    """A step that promises to lower the negative log posterior by less than this is the last of its stage (a wide
    robust loss, the narrowest, then the offsets): what four unknowns gain by chance."""
    normal_gate: float = 0.2
    """Least cosine between a point's normal and the surface's for the point to count."""
    detail: bool = True
    """Whether region offsets are fitted at all."""
    encoder: bool = True
    """Whether the model's encoder makes the first guess, where it has one; else the fit starts from the mean head."""
    resolution: int = 256
    """Cells of the mesh along the longest side of the bounds."""
    seed: int = 0
    """Seed of the draw of points and of the search for the pose."""


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
    """Median unsigned distance of the face's points to the head that the fit started from; None without such points."""
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
            points = _moved(state.points, state.motion).double().cpu().numpy()
            shown = torch.from_numpy(shown_share(pose_template(model), points)).to(state.points)
            state = replace(state, shown=shown)
        for scale in scales:
            state = _iterate(model, state, scale, with_offsets, config)
            done += 1
            progress("detail" if with_offsets else "codes", 0.2 + 0.6 * done / planned)
            if state.promised < config.settled:
                break
    scan_to_head = state.motion @ pose.scan_to_head
    progress("mesh", 0.8)
    return _finish(scan, model, pose, scan_to_head, state, start, before, done, began, config)


def _stages(config: FitConfig) -> list[tuple[tuple[float, ...], bool]]:
    """Scales of the robust loss, and whether the region offsets are free: wide, narrowest, with offsets."""
    wide = tuple(scale for scale in config.robust_mm if scale > config.robust_mm[-1])
    stages = [(wide, False), (config.robust_mm[len(wide) :], False)]
    return [*stages, (config.detail_robust_mm, True)] if config.detail else stages


@dataclass(frozen=True, eq=False)
class _State:
    points: Tensor
    """(N, 3) sampled points in the head frame, before `motion`."""
    normals: Tensor | None
    face: Tensor
    """(N,) bool: points on the face."""
    motion: FloatArray
    """(4, 4) refinement of the pose, applied after the search's."""
    scale_free: bool
    codes: Codes
    first_z_id: Tensor
    """(256,) where z_id started."""
    identity_prior: float
    """Weight of |z_id|² in this iteration."""
    damping: float
    promised: float
    """What the last step promised to lower the negative log posterior by."""
    shown: Tensor
    """(39,) share of each region that the scan shows."""


def scan_samples(scan: Scan, config: FitConfig) -> tuple[FloatArray, FloatArray | None]:
    """Points spread evenly over the surface: area-weighted on a mesh, as they are in a cloud; at most 60 000."""
    rng = np.random.default_rng([config.seed, 1])
    limit = 60_000
    if scan.faces is None:
        keep = rng.permutation(len(scan.points))[:limit]
        return scan.points[keep], None if scan.normals is None else scan.normals[keep]
    corner = scan.points[scan.faces]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    area = np.linalg.norm(cross, axis=1)
    face = rng.choice(len(area), size=limit, p=area / area.sum())
    s, t = rng.random((2, limit))
    s, t = np.where(s + t > 1, 1 - s, s), np.where(s + t > 1, 1 - t, t)
    c = corner[face]
    points = c[:, 0] + s[:, None] * (c[:, 1] - c[:, 0]) + t[:, None] * (c[:, 2] - c[:, 0])
    return points, cross[face] / np.maximum(area[face], 1e-30)[:, None]


def within_bounds(
    source: FloatArray, scan_to_head: FloatArray, nose_tip_mm: FloatArray, config: FitConfig
) -> tuple[IntArray, BoolArray]:
    """Rows (N,) of the samples that enter a fit, and which of them (N,) lie on the face; those come first."""
    rng = np.random.default_rng([config.seed, 2])
    points = source @ scan_to_head[:3, :3].T + scan_to_head[:3, 3]
    inside = np.flatnonzero(((points > BOUNDS_MIN_MM) & (points < BOUNDS_MAX_MM)).all(axis=1))
    face = np.linalg.norm(points[inside] - nose_tip_mm, axis=1) < FACE_RADIUS_MM
    wanted = int(config.points * config.face_share)
    on_face = rng.permutation(inside[face])[:wanted]
    elsewhere = rng.permutation(inside[~face])[: config.points - len(on_face)]
    rows = np.concatenate([on_face, elsewhere])
    return rows, np.arange(len(rows)) < len(on_face)


def point_weights(
    residual_mm: Tensor, face: Tensor, robust_mm: float, config: FitConfig, with_offsets: bool = False
) -> Tensor:
    """Weight (N,) of each point in a step whose robust loss has scale `robust_mm`.

    The noisier the points on the `face` (N,) bool are that it trusts, the less all of them count against the prior.
    Region offsets hear the others too, by the noise of their own: much hair there, and they count little.
    """
    size = residual_mm.abs()
    near = size < 4.0 * robust_mm
    weight = geman_mcclure(residual_mm, robust_mm) * near * (config.effective_points / len(residual_mm))

    def precision(group: Tensor) -> float:
        # the median of a normal distribution's size is 0.67 of its deviation
        noise = float(size[near & group].nanmedian()) / 0.67
        return max(config.sigma_mm, robust_mm / 4.0, 0.0 if math.isnan(noise) else noise) ** -2.0

    on_face = precision(face)
    elsewhere = precision(~face) if with_offsets else config.elsewhere_weight * on_face
    return weight * (elsewhere + (on_face - elsewhere) * face)


def shown_share(template: PoseTemplate, points_mm: FloatArray) -> FloatArray:
    """Share (39,) of each region's surface on the mean head that has one of the points (N, 3) near it."""
    near = cKDTree(points_mm).query(template.points, distance_upper_bound=_SHOWN_MM)[0] < _SHOWN_MM
    reach = np.linalg.norm(template.points - CENTERS_MM[:, None], axis=2) / RADII_MM[:, None]
    weight = wendland(torch.from_numpy(reach)).numpy()
    share: FloatArray = (weight * near).sum(axis=1) / weight.sum(axis=1)
    return share


def _start(
    model: Model, source: FloatArray, normals: FloatArray | None, pose: PoseResult, config: FitConfig
) -> tuple[_State, Start]:
    matrix = pose.scan_to_head
    rows, face = within_bounds(source, matrix, pose_template(model).nose_tip_mm, config)
    points = source[rows] @ matrix[:3, :3].T + matrix[:3, 3]
    turned = None
    if normals is not None:
        rotated = normals[rows] @ matrix[:3, :3].T
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
        every = source @ matrix[:3, :3].T + matrix[:3, 3]
        guess = estimate(encoder, every[((every > BOUNDS_MIN_MM) & (every < BOUNDS_MAX_MM)).all(axis=1)])
        z_id, weights = (torch.from_numpy(part).float().to(device) for part in (guess.z_id, guess.weights))
        codes, motion, start = Codes(z_id, weights, codes.offsets), guess.motion, "encoder"
    return _State(
        picked, turned, torch.from_numpy(face).to(device), motion, pose.scale_assumed, codes, codes.z_id,
        config.identity_prior, 1e-2, math.inf, torch.ones(len(REGIONS), device=device),
    ), start  # fmt: skip


def _face_distance(model: Model, state: _State) -> float | None:
    face = _moved(state.points[state.face], state.motion)
    if not len(face):
        return None
    return float(sensitivity(model.net, state.codes, face).sdf_mm.abs().median())


def _iterate(model: Model, state: _State, robust_mm: float, with_offsets: bool, config: FitConfig) -> _State:
    """One damped Gauss-Newton step on pose, expression, z_id and, if asked, the region offsets."""
    early = robust_mm > config.robust_mm[-1]
    # both the points on the face and the others come in random order, so a stride is a fair share
    rows = slice(None, None, max(1, len(state.points) // config.early_points) if early else 1)
    points = _moved(state.points[rows], state.motion)
    line = sensitivity(model.net, state.codes, points)
    trusted = point_weights(line.sdf_mm, state.face[rows], robust_mm, config, with_offsets)
    if state.normals is not None:
        normals = state.normals[rows] @ torch.from_numpy(_rotation(state.motion)).to(state.normals).T
        cosine = torch.nn.functional.cosine_similarity(line.point, normals, dim=1)
        # an inverted scan has every normal turned; the sign of the majority decides
        if cosine.sum() < 0:
            cosine = -cosine
        trusted = trusted * (cosine > config.normal_gate)
    twist = torch.cat([torch.linalg.cross(points, line.point), line.point], dim=1)
    if state.scale_free:
        twist = torch.cat([twist, (points * line.point).sum(dim=1, keepdim=True)], dim=1)
    prior, value = _prior(state, early, with_offsets, twist.shape[1], config)
    hessian, gradient = normal_equations(model.net, line, twist, trusted, with_offsets)
    gradient += prior * value
    hessian.diagonal().add_(prior + state.damping * hessian.diagonal())
    step = -torch.cholesky_solve(gradient[:, None], torch.linalg.cholesky(hessian))[:, 0].float()
    state = replace(_advance(state, step, twist.shape[1]), promised=-0.5 * float(gradient @ step.double()))
    if early or with_offsets:
        return state
    length = float(state.codes.z_id.square().mean().sqrt()) / config.identity_limit
    weight = max(config.identity_prior, state.identity_prior * min(max(length, 0.7), 1.6) ** 2)
    return replace(state, identity_prior=weight)


def _prior(state: _State, early: bool, with_offsets: bool, pose_size: int, config: FitConfig) -> tuple[Tensor, Tensor]:
    """Diagonal of the prior's Hessian and the value that each unknown departs from zero by."""
    codes = state.codes
    new = codes.z_id.new_full
    parts = [new((pose_size,), 1e-6), codes.weights.new_tensor(_expression_precision(config))]
    values = [new((pose_size,), 0.0), codes.weights]
    if pose_size == 7:
        parts[0][6] = 0.05**-2.0
    if with_offsets:
        held = torch.zeros_like(codes.z_id)
        parts.append(held + _FIXED)
        values.append(held)
        # L1 by reweighting: the quadratic that touches |δ| where it stands
        of_region = config.offset_prior / state.shown.clamp(min=_LEAST_SHOWN).square()
        parts.append((of_region[:, None] / (codes.offsets.abs() + 0.1)).flatten())
        values.append(codes.offsets.flatten())
    else:
        parts.append(new((len(codes.z_id),), config.early_prior if early else state.identity_prior))
        values.append(codes.z_id - state.first_z_id if early else codes.z_id)
    return torch.cat(parts).double(), torch.cat(values).double()


def _expression_precision(config: FitConfig) -> list[float]:
    return [_FIXED if name.startswith("eyeLook") else config.expression_sigma**-2.0 for name in ARKIT_NAMES]


def _advance(state: _State, step: Tensor, pose_size: int) -> _State:
    twist, rest = step[:pose_size].double().cpu().numpy(), step[pose_size:]
    angle = np.linalg.norm(twist[:3])
    limit = min(1.0, np.radians(8.0) / max(angle, 1e-12), 15.0 / max(float(np.linalg.norm(twist[3:6])), 1e-12))
    motion = np.eye(4)
    motion[:3, :3] = _rodrigues(limit * twist[:3]) * (np.exp(limit * twist[6]) if pose_size == 7 else 1.0)
    motion[:3, 3] = limit * twist[3:6]
    codes = state.codes
    expressions, identity = len(codes.weights), len(codes.z_id)
    offsets = codes.offsets
    if len(rest) > expressions + identity:
        offsets = offsets + rest[expressions + identity :].view_as(offsets).clamp(-2.0, 2.0)
    moved = Codes(
        codes.z_id + rest[expressions : expressions + identity].clamp(-1.5, 1.5),
        (codes.weights + rest[:expressions]).clamp(0.0, 1.0),
        offsets,
    )
    return replace(state, motion=motion @ state.motion, codes=moved)


def _rodrigues(rotation: FloatArray) -> FloatArray:
    matrix: FloatArray = Rotation.from_rotvec(rotation).as_matrix()
    return matrix


def _rotation(motion: FloatArray) -> FloatArray:
    return motion[:3, :3] / np.cbrt(np.linalg.det(motion[:3, :3]))


def _moved(points: Tensor, motion: FloatArray) -> Tensor:
    matrix = torch.from_numpy(motion).to(points)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _finish(
    scan: Scan,
    model: Model,
    pose: PoseResult,
    scan_to_head: FloatArray,
    state: _State,
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
    mesh = extract_mesh(field.sdf, config.resolution)
    points = scan.points @ scan_to_head[:3, :3].T + scan_to_head[:3, 3]
    squared, nearest, _ = igl.point_mesh_squared_distance(points, mesh.vertices, mesh.faces)
    distance = np.sqrt(np.maximum(squared, 0.0))
    explained = distance < 3.0
    if scan.normals is not None:
        corner = mesh.vertices[mesh.faces[nearest]]
        surface = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        agree = np.einsum("nc,nc->n", surface, scan.normals @ scan_to_head[:3, :3].T)
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
        doubts.append(f"the identity lies {sigma:.1f} standard deviations out; check the unit of the scan")
    if face.sum() < 100:
        doubts.append("fewer than 100 scan points lie on the face; the fit rests on little")
    elif explained[face].mean() < 0.6:
        part = 100 * explained[face].mean()
        doubts.append(f"only {part:.0f} % of the points on the face are explained; look at overlay.ply before use")
    elif np.median(distance[face & explained]) > 1.0:
        doubts.append("the face fits worse than 1 mm; look at overlay.ply before use")
    return doubts
