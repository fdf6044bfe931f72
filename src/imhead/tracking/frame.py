"""Pose and expression of one frame, with the identity held, from the frame beside it.

Shape legend: N points of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model
from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.errors import InputError
from imhead.fitting.figures import ScanFigures
from imhead.fitting.gauss_newton import FitState, expression_prior, linearized
from imhead.fitting.objective import distances_mm
from imhead.fitting.person_step import pose_step
from imhead.fitting.points import scan_samples
from imhead.fitting.pose import find_pose
from imhead.fitting.pose_scan import person_codes, scan_of_person
from imhead.fitting.start import pose_template, state_at
from imhead.surfaces.transforms import matrix_of, rotation_of, transform_points
from imhead.tracking.config import TrackConfig
from imhead.tracking.store import UNKNOWNS, FrameRecord
from imhead.types import FloatArray, Head, Scan

_TRIED = 800  # points on which starts are compared
_TRIED_MM = 4.0


@dataclass(frozen=True, eq=False)
class Place:
    """Where the head is in a frame, and what its face does."""

    scan_to_head: FloatArray
    """(4, 4) scan frame and unit → head frame, mm."""
    weights: FloatArray
    """(52,) ARKit weights."""


@dataclass(frozen=True, eq=False)
class Person:
    """Who is tracked."""

    model: Model
    """Of the head."""
    head: Head
    """The neutral head."""
    mm_per_unit: float
    """Scale of the scans."""
    usual_mm: float
    """Median distance of the keyframes' points on the face."""


def steady(before: Place, earlier: Place | None) -> list[Place]:
    """Starts for the next frame: where the head was, and where it goes on as it moved.

    Args:
        before: the last frame.
        earlier: the one before it, if it is known.
    """
    if earlier is None:
        return [before]
    change = before.scan_to_head @ np.linalg.inv(earlier.scan_to_head)
    return [before, replace(before, scan_to_head=_rigid(change @ before.scan_to_head, before.scan_to_head))]


def _rigid(matrix: FloatArray, like: FloatArray) -> FloatArray:
    """The nearest similarity to a matrix (4, 4), with the scale of another one."""
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    return matrix_of(np.cbrt(np.linalg.det(like[:3, :3])) * (u @ vt), matrix[:3, 3])


def track_frame(
    scan: Scan, person: Person, starts: Sequence[Place], near: Place | None, wide: bool, config: TrackConfig
) -> FrameRecord:
    """The record of a frame.

    Args:
        scan: the frame.
        person: who is in it.
        starts: at least one, the best of which is taken.
        near: a frame beside it, near whose expression it stays; None for none.
        wide: begin with a wide robust loss: the starts may be far off.
        config: settings.
    """
    settings = replace(config.fit, points=config.points, face_share=config.face_share)
    samples, normals = scan_samples(scan, settings)
    start = min(starts, key=lambda place: _misfit(samples, person, place))
    codes = person_codes(person.model, person.head, start.weights)
    state = state_at(person.model, samples, normals, start.scan_to_head, False, codes, np.eye(4), settings)
    if len(state.neighbour) < config.least_face_points:
        return lost_record(start, "few points lie on the face")
    stay = None
    if near is not None:
        stay = torch.from_numpy(near.weights).to(codes.weights), config.stay
    scales = config.lost_robust_mm if wide else config.robust_mm
    for scale in scales:
        state = pose_step(person.model.net, state, scale, settings, stay)
        if scale == scales[-1] and state.predicted_decrease < settings.settled:
            break
    found = scan_of_person(person.model, person.head, scan.name, samples, normals, state, start.scan_to_head)
    figures = frame_figures(found.figures)
    reason = _doubt(found.figures, person, config)
    if reason is not None:
        return replace(lost_record(start, reason), figures=figures)
    hessian, gradient = _information(person, state, config)
    return FrameRecord(None, found.scan_to_head, found.weights, hessian, gradient, figures)


def search_frame(scan: Scan, person: Person, config: TrackConfig) -> Place | None:
    """The head in a frame by a search for its pose, in a neutral expression; None where there is no face."""
    samples, normals = scan_samples(scan, config.fit)
    try:
        pose = find_pose(
            samples, normals, pose_template(person.model), mm_per_unit=person.mm_per_unit, seed=config.fit.seed
        )
    except InputError:
        return None
    return Place(pose.scan_to_head, np.zeros(UNKNOWNS - 6))


def lost_record(place: Place, reason: str) -> FrameRecord:
    """The record of a frame in which the head was not found, last seen at `place`."""
    return FrameRecord(
        reason, place.scan_to_head, place.weights, np.zeros((UNKNOWNS, UNKNOWNS)), np.zeros(UNKNOWNS), {}
    )


def frame_figures(figures: ScanFigures) -> dict[str, float | int | None]:
    """Figures of a frame, as the report gives them."""
    on_face = figures.face & figures.explained
    distance = figures.distance_mm[on_face]
    return {
        "face_median_mm": round(float(np.median(distance)), 4) if len(distance) else None,
        "face_mean_mm": round(float(distance.mean()), 4) if len(distance) else None,
        "face_explained": round(float(on_face.sum() / max(int(figures.face.sum()), 1)), 4),
        "face_samples": int(figures.face.sum()),
    }


def _doubt(figures: ScanFigures, person: Person, config: TrackConfig) -> str | None:
    """Why the head was not found, if it was not."""
    on_face = figures.face & figures.explained
    samples = int(figures.face.sum())
    if samples < config.least_face_points:
        return "few points lie on the face"
    share = on_face.sum() / samples
    if share < config.least_explained:
        return f"only {100 * share:.0f} % of the points on the face are explained"
    median = float(np.median(figures.distance_mm[on_face]))
    limit = max(config.lost_mm, config.lost_factor * person.usual_mm)
    return f"the face is {median:.1f} mm off" if median > limit else None


def _misfit(samples: FloatArray, person: Person, place: Place) -> float:
    """Mean robust loss, 0 to 1, of a scan's points in the bounds; points outside count as far ones."""
    points = transform_points(place.scan_to_head, samples[:_TRIED])
    inside = ((points > BOUNDS_MIN_MM) & (points < BOUNDS_MAX_MM)).all(axis=1)
    if not inside.any():
        return 1.0
    codes = person_codes(person.model, person.head, place.weights)
    there = torch.from_numpy(points[inside]).float().to(person.model.device)
    squared = distances_mm(person.model.net, codes, there).double().square().cpu().numpy()
    loss = squared / (_TRIED_MM**2 + squared)
    return float((loss.sum() + (~inside).sum()) / len(points))


def _information(person: Person, state: FitState, config: TrackConfig) -> tuple[FloatArray, FloatArray]:
    """Hessian (58, 58) and gradient (58,) of the negative log posterior of the frame alone."""
    pairs, by_pose, weight = linearized(person.model.net, state, config.robust_mm[-1], False, config.fit)
    jacobian = torch.cat([by_pose[:, :6], pairs.weights], dim=1)
    hessian = (jacobian.T @ (jacobian * weight[:, None])).double().cpu().numpy()
    gradient = (jacobian.T @ (weight * pairs.sdf_mm)).double().cpu().numpy()
    curvature, slope = (part.double().cpu().numpy() for part in expression_prior(state.codes.weights, config.fit))
    rows = np.arange(6, UNKNOWNS)
    hessian[rows, rows] += curvature
    gradient[6:] += slope
    return hessian, gradient


def between(first: Place, second: Place, share: float) -> Place:
    """A place on the way from one to another, at a share of it from 0 to 1."""
    here, there = np.linalg.inv(first.scan_to_head), np.linalg.inv(second.scan_to_head)
    turn = Rotation.from_matrix(rotation_of(there) @ rotation_of(here).T).as_rotvec()
    scale = np.cbrt(np.linalg.det(here[:3, :3]))
    linear = scale * (Rotation.from_rotvec(share * turn).as_matrix() @ rotation_of(here))
    head_to_scan = matrix_of(linear, (1.0 - share) * here[:3, 3] + share * there[:3, 3])
    return Place(np.linalg.inv(head_to_scan), (1.0 - share) * first.weights + share * second.weights)
