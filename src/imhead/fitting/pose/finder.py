"""Find the head in a scan: any rotation, any place; mm, cm, m or an unknown scale; whole or partial.

`find_pose` returns the pose that the scan supports best, or refuses in one line.

Shape legend: N scan points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from imhead.errors import InputError
from imhead.fitting.pose.cloud import CleanScan, Draw, clean_scan, exact_nearest
from imhead.fitting.pose.evidence import PoseEvidence, evidence_of, probability_of
from imhead.fitting.pose.icp import refine_poses
from imhead.fitting.pose.landmark_pose import pose_of_landmarks
from imhead.fitting.pose.multistart import SURE_SCORE
from imhead.fitting.pose.poses import Poses
from imhead.fitting.pose.template import PoseTemplate, face_and_head_points
from imhead.fitting.pose.units import ACCEPT_SCORE, USUAL_SIZE, FoundScale, Units, UnitSource, search_scale
from imhead.surfaces.transforms import matrix_of
from imhead.types import FloatArray

__all__ = ["PoseResult", "find_pose"]

TWO_HEADS = "two heads were found in the scan"
"""Begins the refusal of a scan that shows more than one."""
REFUSED_BELOW = 0.40
"""A pose less probable than this is refused; profiles and half faces lie a little above."""
SURE_ABOVE = 0.98
"""A pose less probable than this carries a warning."""


@dataclass(frozen=True, eq=False)
class PoseResult:
    """Where the head is, and how sure that is."""

    scan_to_head: FloatArray
    """(4, 4) float64 similarity: scan coordinates → head frame, mm. Its scale is the unit's where the unit is named."""
    units: str
    """'mm', 'cm', 'm', 'in', or 'unknown'."""
    unit_source: UnitSource
    """Whether the unit was named, is the likeliest, or a scale was assumed."""
    scale_assumed: bool
    """True where no named unit gave a head, so that the scale was fitted to the mean head."""
    score: float
    """0..1, agreement of the mean head's face with the scan; about 0.7 for a clean scan."""
    runner_up: float
    """Score of the best clearly different pose; near `score` means ambiguous."""
    face_coverage: float
    """0..1, part of the mean face that has a scan point near with an agreeing normal."""
    head_scale: float
    """Size of this head over the mean head's, as the search found it; 1 where the scale was assumed."""
    warnings: tuple[str, ...]
    """Doubts, in sentences."""
    probability: float
    """0..1, that this is the pose of a head; landmarks that were given make it 1."""
    evidence: PoseEvidence
    """What the probability rests on."""


def find_pose(
    points: NDArray[np.floating],
    normals: NDArray[np.floating] | None,
    template: PoseTemplate,
    *,
    units: Units = "auto",
    mm_per_unit: float | None = None,
    seed: int = 0,
    face_landmarks: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    redraw: Draw | None = None,
    accept_all: bool = False,
) -> PoseResult:
    """The similarity that carries a scan into the head frame.

    Args:
        points: (N, 3), the scan's own frame and units. Sample a mesh of few large triangles first.
        normals: (N, 3) or None; signs do not matter.
        template: of the mean head.
        units: unit of the scan, if known.
        mm_per_unit: scale of the scan, if known; goes before `units`.
        seed: of the draw of template points; the same seed gives the same pose to the last bit.
        face_landmarks: name → (scan xyz, head-frame xyz in mm), at least three; they replace the global search.
        redraw: draws more points of the same scan, for one much larger than a head.
        accept_all: give the best pose, however improbable, even beside another head.

    Raises:
        InputError: no face, two heads, too few points, or a scale that no head has.
    """
    scan = clean_scan(points, normals, redraw)
    rng = np.random.default_rng(seed)
    if face_landmarks is not None:
        found = pose_of_landmarks(scan, template, units, mm_per_unit, face_landmarks, rng)
        return _result(scan, template, _refined(scan, template, found, rng), by_landmarks=True)
    refined = _refined(scan, template, search_scale(scan, template, units, mm_per_unit, rng), rng)
    if not accept_all:
        _check_is_one_face(refined, units, mm_per_unit)
    return _result(scan, template, refined)


@dataclass(frozen=True, eq=False)
class _Refined:
    """A pose after the last refinement, against every scan point near it."""

    found: FoundScale
    """What the search gave."""
    pose: Poses
    """One pose, template → scan mm about the scan's centre."""
    evidence: PoseEvidence
    """What speaks for it."""


def _refined(scan: CleanScan, template: PoseTemplate, found: FoundScale, rng: np.random.Generator) -> _Refined:
    best = found.hypothesis
    near = scan if best.window is None else best.window
    nearest = exact_nearest(near.points * best.mm_per_unit, near.normals)
    pose = refine_poses(nearest, face_and_head_points(template, rng), best.pose, (12.0,) * 12 + (10.0,) * 6)
    evidence = evidence_of(
        template, nearest, best.spacing_mm, pose, score=best.score,
        runner_up=best.others[0].score if best.others else 0.0, free=found.needed > ACCEPT_SCORE,
    )  # fmt: skip
    return _Refined(found, pose, evidence)


def _check_is_one_face(refined: _Refined, units: Units, mm_per_unit: float | None) -> None:
    """
    Raises:
        InputError: the pose is hardly right, or another head stands beside it.
    """
    best, probability = refined.found.hypothesis, probability_of(refined.evidence)
    if probability < REFUSED_BELOW:
        # no advice leads back here: landmarks replace the search, and a search in all units names no unit
        given = f" at --scale {mm_per_unit:g}" if mm_per_unit is not None else f" at --units {units}"
        searched, first = (" in mm, cm, m, in or at any scale", "") if units == "auto" and mm_per_unit is None else (
            given, "leave the unit out, "
        )  # fmt: skip
        raise InputError(
            f"no face was found in the scan{searched} (the best place is a face with probability {probability:.2f}); "
            f"{first}crop the file to one head, or give --landmarks"
        )
    for other in best.others:
        if other.distance_mm > 100.0 and other.score > max(SURE_SCORE, 0.65 * best.score):
            raise InputError(f"{TWO_HEADS}, {other.distance_mm:.0f} mm apart; crop the file to one of them")


def _result(scan: CleanScan, template: PoseTemplate, refined: _Refined, by_landmarks: bool = False) -> PoseResult:
    """The exact scale, and the warnings."""
    found, pose, evidence = refined.found, refined.pose, refined.evidence
    best, unit, mm = found.hypothesis, found.unit, found.hypothesis.mm_per_unit
    probability = 1.0 if by_landmarks else probability_of(evidence)
    head_scale = float(pose.scale[0])
    warnings: list[str] = []
    if found.source == "assumed":
        # the unit takes up the scale: the head then has exactly the mean head's size
        mm = mm / head_scale
        pose = Poses(torch.ones(1), pose.rotation, pose.translation / head_scale)
        head_scale = 1.0
        warnings.append("the unit of the scan is unknown: its size is that of a mean head; name --units, or --scale")
    else:
        if found.source == "likely" and not USUAL_SIZE[0] < head_scale < USUAL_SIZE[1]:
            warnings.append(
                f"if its unit is {unit}, this head has {head_scale:.2f} of the mean size, as a small child's; "
                "if it is no child, name the unit with --units, or --scale"
            )
        pose = _at_unit_scale(pose, template)
    u, _, vt = np.linalg.svd(pose.rotation[0].double().numpy())
    rotation = u @ vt
    matrix = matrix_of(mm * rotation.T, -rotation.T @ (pose.translation[0].double().numpy() + mm * scan.center))
    runner_up = best.others[0].score if best.others else 0.0
    if probability < SURE_ABOVE:
        advice = "crop the scan to the head, or give --landmarks"
        if found.source != "named":
            advice = "crop the scan to the head, name its unit with --units, or give --landmarks"
        warnings.append(
            f"the pose is not sure: it is right with probability {probability:.2f}; look at overlay.ply; if the head "
            f"is not there, {advice}"
        )
    if runner_up > 0.88 * best.score:
        warnings.append("another, clearly different pose explains the scan almost as well; look at the overlay")
    if best.coverage < 0.6:
        warnings.append(f"only {100 * best.coverage:.0f} % of the face was seen; the rest of the head is a guess")
    return PoseResult(
        matrix,
        unit,
        found.source,
        found.source == "assumed",
        best.score,
        runner_up,
        best.coverage,
        head_scale,
        tuple(warnings),
        probability,
        evidence,
    )


def _at_unit_scale(pose: Poses, template: PoseTemplate) -> Poses:
    """The same pose for a head of the mean size; the mean of the face's points stays in its place."""
    middle = torch.from_numpy(template.points[template.face].mean(0).astype(np.float32))
    shift = (pose.scale - 1.0)[:, None] * torch.einsum("bij,j->bi", pose.rotation, middle)
    return Poses(torch.ones_like(pose.scale), pose.rotation, pose.translation + shift)
