"""The pose of a scan from landmarks, in place of the search."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike

from imhead.conventions import UNIT_MM
from imhead.errors import InputError
from imhead.fitting.pose.cloud import CleanScan, grid_nearest
from imhead.fitting.pose.icp import refine_poses
from imhead.fitting.pose.multistart import Hypothesis
from imhead.fitting.pose.poses import Poses
from imhead.fitting.pose.score import score_poses
from imhead.fitting.pose.template import PoseTemplate, face_points
from imhead.fitting.pose.units import ACCEPT_SCORE, UNKNOWN_UNIT, FoundScale, Units, UnitSource
from imhead.surfaces.transforms import aligned

__all__ = ["pose_of_landmarks"]

_MAX_MISS_MM = 25.0


def pose_of_landmarks(
    scan: CleanScan,
    template: PoseTemplate,
    units: Units,
    mm_per_unit: float | None,
    landmarks: Mapping[str, tuple[ArrayLike, ArrayLike]],
    rng: np.random.Generator,
) -> FoundScale:
    """The pose that best aligns landmarks, refined on the surface around them, and its unit.

    Args:
        scan: to place.
        template: of the mean head.
        units: of the scan, if known.
        mm_per_unit: scale of the scan, if known; goes before `units`.
        landmarks: name → (scan xyz, head-frame xyz in mm).
        rng: draws template points.

    Raises:
        InputError: fewer than three landmarks, on one line, of another unit, or one that does not match the others.
    """
    names = list(landmarks)
    if len(names) < 3:
        raise InputError(f"{len(names)} landmarks do not fix a pose; give at least three")
    on_scan = np.array([np.asarray(landmarks[n][0], dtype=np.float64).reshape(3) for n in names]) - scan.center
    on_head = np.array([np.asarray(landmarks[n][1], dtype=np.float64).reshape(3) for n in names])
    if np.linalg.svd(on_head - on_head.mean(0))[1][1] < 5.0 or np.linalg.svd(on_scan - on_scan.mean(0))[1][0] == 0:
        raise InputError("the landmarks lie on one line; add one to the side of it")
    scale, rotation = aligned(on_head, on_scan)
    translation = on_scan.mean(0) - scale * rotation @ on_head.mean(0)
    aligned_mm = 1.0 / scale
    name = _unit_of(aligned_mm, units) if mm_per_unit is None else UNKNOWN_UNIT
    source: UnitSource = "named" if mm_per_unit is not None or units != "auto" else "likely"
    if mm_per_unit is None:
        source = "assumed" if name == UNKNOWN_UNIT else source
        mm_per_unit = aligned_mm if name == UNKNOWN_UNIT else UNIT_MM[name]
    misses = np.linalg.norm(on_scan - (scale * on_head @ rotation.T + translation), axis=1) * aligned_mm
    worst = int(misses.argmax())
    if misses[worst] > _MAX_MISS_MM:
        raise InputError(f"landmark {names[worst]!r} misses its place by {misses[worst]:.0f} mm; check its coordinates")
    pose = Poses(
        torch.tensor([scale * mm_per_unit], dtype=torch.float32),
        torch.from_numpy(rotation[None].astype(np.float32)),
        torch.from_numpy((translation * mm_per_unit)[None].astype(np.float32)),
    )
    cloud = scan.cloud(mm_per_unit)
    face = face_points(template, 4000, rng)
    nearest = grid_nearest(cloud)
    pose = refine_poses(nearest, face, pose, (14.0,) * 8)
    scores = score_poses(nearest, cloud.spacing_mm, face, pose)
    found = Hypothesis(mm_per_unit, pose, float(scores.score[0]), float(scores.coverage[0]), (), cloud.spacing_mm)
    return FoundScale(found, name, source, ACCEPT_SCORE)


def _unit_of(mm_per_unit: float, units: Units) -> str:
    """The unit that `mm_per_unit` is nearest to, or that was given; unknown where none is near.

    Raises:
        InputError: it is far from the unit that was given.
    """
    if units == "auto":
        nearest = min(UNIT_MM, key=lambda name: abs(np.log(UNIT_MM[name] / mm_per_unit)))
        return nearest if abs(np.log(UNIT_MM[nearest] / mm_per_unit)) < np.log(1.3) else UNKNOWN_UNIT
    if abs(np.log(UNIT_MM[units] / mm_per_unit)) > np.log(1.5):
        raise InputError(f"by the landmarks, one unit is {mm_per_unit:.3g} mm, which is not {units}; check --units")
    return units
