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
from imhead.fitting.pose.cloud import CleanScan, clean_scan, exact_nearest
from imhead.fitting.pose.icp import refine_poses
from imhead.fitting.pose.landmark_pose import pose_of_landmarks
from imhead.fitting.pose.multistart import SURE_SCORE
from imhead.fitting.pose.poses import Poses
from imhead.fitting.pose.template import PoseTemplate, face_and_head_points
from imhead.fitting.pose.units import USUAL_SIZE, FoundScale, Units, UnitSource, search_scale
from imhead.surfaces.transforms import matrix_of
from imhead.types import FloatArray

__all__ = ["PoseResult", "find_pose"]

_DOUBT_SCORE = 0.45
"""Below this score the result carries a warning."""


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


def find_pose(
    points: NDArray[np.floating],
    normals: NDArray[np.floating] | None,
    template: PoseTemplate,
    *,
    units: Units = "auto",
    mm_per_unit: float | None = None,
    seed: int = 0,
    face_landmarks: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
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

    Raises:
        InputError: no face, two heads, too few points, or a scale that no head has.
    """
    scan = clean_scan(points, normals)
    rng = np.random.default_rng(seed)
    if face_landmarks is not None:
        found = pose_of_landmarks(scan, template, units, mm_per_unit, face_landmarks, rng)
    else:
        found = search_scale(scan, template, units, mm_per_unit, rng)
        _check_is_one_face(found, units)
    return _refined_result(scan, template, found, rng)


def _check_is_one_face(found: FoundScale, units: Units) -> None:
    """
    Raises:
        InputError: the score is too low, or another head stands beside the best.
    """
    best, needed = found.hypothesis, found.needed
    if best.score < needed:
        tried = " in mm, cm, m, in or at a free scale" if found.source != "named" else f" at --units {units}"
        raise InputError(
            f"no face was found in the scan{tried} (best agreement {best.score:.2f}, needed {needed:.2f}); "
            "check the file, crop it to one head, name its units, or give landmarks"
        )
    for other in best.others:
        if other.distance_mm > 100.0 and other.score > max(SURE_SCORE, 0.65 * best.score):
            raise InputError(
                f"two heads were found in the scan, {other.distance_mm:.0f} mm apart; crop the file to one of them"
            )


def _refined_result(scan: CleanScan, template: PoseTemplate, found: FoundScale, rng: np.random.Generator) -> PoseResult:
    """The last refinement, against every scan point, then the exact scale and the warnings."""
    best, unit, mm = found.hypothesis, found.unit, found.hypothesis.mm_per_unit
    nearest = exact_nearest(scan.points * mm, scan.normals)
    pose = refine_poses(nearest, face_and_head_points(template, rng), best.pose, (12.0,) * 12 + (10.0,) * 6)
    head_scale = float(pose.scale[0])
    warnings: list[str] = []
    if found.source == "assumed":
        # the unit takes up the scale: the head then has exactly the mean head's size
        mm = mm / head_scale
        pose = Poses(torch.ones(1), pose.rotation, pose.translation / head_scale)
        head_scale = 1.0
        warnings.append(f"the unit of the scan is unknown; one unit was taken as {mm:.4g} mm, a mean-sized head")
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
    if best.score < _DOUBT_SCORE:
        warnings.append(f"the pose is uncertain: agreement {best.score:.2f}, usual is over 0.5; look at the overlay")
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
    )


def _at_unit_scale(pose: Poses, template: PoseTemplate) -> Poses:
    """The same pose for a head of the mean size; the mean of the face's points stays in its place."""
    middle = torch.from_numpy(template.points[template.face].mean(0).astype(np.float32))
    shift = (pose.scale - 1.0)[:, None] * torch.einsum("bij,j->bi", pose.rotation, middle)
    return Poses(torch.ones_like(pose.scale), pose.rotation, pose.translation + shift)
