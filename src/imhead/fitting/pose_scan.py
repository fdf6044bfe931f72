"""One scan of a person who is known: its pose and its expression, with the identity held.

Shape legend: K samples of a scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from imhead.checkpoint import Model
from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM, FACE_RADIUS_MM
from imhead.fitting.config import FitConfig
from imhead.fitting.figures import EXPLAINED_MM, ScanFigures, on_eyes
from imhead.fitting.gauss_newton import FitState, apply_motion
from imhead.fitting.hair import Hair
from imhead.fitting.objective import Codes, distances_mm
from imhead.fitting.person_step import pose_step
from imhead.fitting.points import independent_noise_mm, scan_samples
from imhead.fitting.pose import PoseResult
from imhead.fitting.start import pose_template, state_at
from imhead.isosurface.field import HeadField, eyes_of
from imhead.surfaces.transforms import transform_directions, transform_points
from imhead.types import FloatArray, Head, Scan

POSE_ROBUST_MM = (4.0, 3.0, 2.5, 2.0, 2.0, 1.5, 1.5, 1.5, 1.5)
"""Scale of the robust loss in each step on pose and weights."""
_SAMPLES = 4000
_FAR_MM = 1e3  # stands for the distance of a sample outside the model's bounds
_LEAST_SLOPE = 0.5


@dataclass(frozen=True)
class LeaveOneOut:
    """Whether a scan shows the person whom the others show: its distances to heads, on the face."""

    own_mm: float
    """Median distance to the head that was fitted to this scan alone."""
    others_mm: float
    """Median distance to the head of the other scans, in this scan's own pose and expression."""
    excess_mm: float
    """What the others' head adds to it, as squares add: its own difference, without the noise of the scan."""
    likelihood_ratio: float = 0.0
    """Twice the logarithm of how much likelier two persons are than one, by the quadratic models of the fit."""


@dataclass(frozen=True, eq=False)
class ScanOfPerson:
    """One scan on the head of its person."""

    name: str
    """Of the scan."""
    scan_to_head: FloatArray
    """(4, 4) scan frame and unit → head frame, mm."""
    weights: FloatArray
    """(52,) ARKit weights of its expression."""
    figures: ScanFigures
    """Distances of its samples to the head in that expression, by the field: |distance| over the field's slope."""
    noise_mm: float
    """Standard deviation of its noise that is independent between neighbours."""
    same_person: bool = True
    """Whether it shows the person."""
    evidence: LeaveOneOut | None = None
    """What that rests on; None of a single scan."""
    pose: PoseResult | None = None
    """What the search for the pose found; None where the pose was known."""
    hair: Hair = field(default_factory=Hair.none)
    """Where it shows hair, in the frame of `pose`."""
    steps: int = 0
    """Gauss-Newton steps of its own fit."""


def pose_scan(
    scan: Scan,
    model: Model,
    head: Head,
    start: FloatArray,
    weights: FloatArray,
    config: FitConfig = FitConfig(),
    *,
    scales: Sequence[float] = POSE_ROBUST_MM,
    stay: float = 0.0,
    scale_free: bool = False,
) -> ScanOfPerson:
    """Pose and expression of a scan of a known person, from a start nearby.

    Args:
        scan: in its own frame and unit.
        model: of the head.
        head: the person; its expression is left out.
        start: (4, 4) scan frame and unit → head frame, mm, to start from.
        weights: (52,) ARKit weights to start from.
        config: settings; with fewer `points` it is faster.
        scales: of the robust loss, mm, a step each; it ends early once a step promises little.
        stay: precision of a prior that keeps the weights near those of the start, as a sequence of frames has it.
        scale_free: whether the unit of the scan is unknown.
    """
    samples, normals = scan_samples(scan, config)
    codes = person_codes(model, head, weights)
    state = state_at(model, samples, normals, start, scale_free, codes, np.eye(4), config)
    state = posed(model, state, scales, config, (codes.weights, stay) if stay > 0.0 else None)
    return scan_of_person(model, head, scan.name, samples, normals, state, start)


def posed(
    model: Model,
    state: FitState,
    scales: Sequence[float],
    config: FitConfig,
    stay: tuple[Tensor, float] | None = None,
) -> FitState:
    """The state after steps on pose and weights, one for each scale, fewer once one promises little."""
    for scale in scales:
        state = pose_step(model.net, state, scale, config, stay)
        if scale == scales[-1] and state.predicted_decrease < config.settled:
            break
    return state


def person_codes(model: Model, head: Head, weights: FloatArray) -> Codes:
    """A head's identity, offsets and residual with ARKit weights (52,)."""
    z_id, weight, offsets = (
        torch.from_numpy(np.array(part)).float().to(model.device) for part in (head.z_id, weights, head.offsets)
    )
    return Codes(z_id, weight, offsets, head.residual)


def scan_of_person(
    model: Model,
    head: Head,
    name: str,
    samples: FloatArray,
    normals: FloatArray | None,
    state: FitState,
    found: FloatArray,
) -> ScanOfPerson:
    """A scan on a head, from the last state of its fit.

    Args:
        model: of the head.
        head: the person.
        name: of the scan.
        samples: (S, 3) points of it in random order.
        normals: (S, 3) of them, or None.
        state: with the person's codes and the scan's weights.
        found: (4, 4) the pose to which the state's motion was added.
    """
    scan_to_head = state.motion @ found
    return ScanOfPerson(
        name,
        scan_to_head,
        state.codes.weights.double().cpu().numpy(),
        _field_figures(model, head, state, samples, normals, scan_to_head),
        state_noise_mm(model, state),
    )


def state_noise_mm(model: Model, state: FitState) -> float:
    """Standard deviation, mm, of a scan's noise that is independent between neighbours on the face."""
    face = apply_motion(state.points[: len(state.neighbour)], state.motion)
    return independent_noise_mm(distances_mm(model.net, state.codes, face), state.neighbour)


def _field_figures(
    model: Model,
    head: Head,
    state: FitState,
    samples: FloatArray,
    normals: FloatArray | None,
    scan_to_head: FloatArray,
) -> ScanFigures:
    points = transform_points(scan_to_head, samples[:_SAMPLES])
    inside = ((points > BOUNDS_MIN_MM) & (points < BOUNDS_MAX_MM)).all(axis=1)
    distance = np.full(len(points), _FAR_MM)
    explained = np.zeros(len(points), dtype=bool)
    if inside.any():
        with torch.no_grad():
            z_exp = model.net.warp.code(state.codes.weights[None])[0].cpu().numpy()
        found = HeadField(model, head, z_exp).linearized(points[inside])
        slope = found.by_point
        distance[inside] = np.abs(found.distance) / np.maximum(np.linalg.norm(slope, axis=1), _LEAST_SLOPE)
        near = distance[inside] < EXPLAINED_MM
        if normals is not None:
            cosine = (transform_directions(scan_to_head, normals[:_SAMPLES][inside]) * slope).sum(axis=1)
            # the normals of an inside-out scan all point inwards; the majority decides on the sign
            near &= (cosine if np.median(cosine) >= 0 else -cosine) > 0.0
        explained[inside] = near
    kept = ~on_eyes(points, eyes_of(model, head, head.z_exp))
    face = np.linalg.norm(points - pose_template(model).nose_tip_mm, axis=1) < FACE_RADIUS_MM
    return ScanFigures(distance[kept], explained[kept], face[kept])
