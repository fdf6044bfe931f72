"""The scans of a person before they are joined: each fitted alone, or found again by the person's own head.

Shape legend: S samples of a scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import UNIT_MM
from imhead.errors import InputError
from imhead.fitting.config import FitConfig
from imhead.fitting.gauss_newton import FitState
from imhead.fitting.hair import Hair, find_hair
from imhead.fitting.objective import Codes
from imhead.fitting.points import samples_near_head, scan_samples
from imhead.fitting.pose import PoseResult, Units, find_pose
from imhead.fitting.pose_scan import posed
from imhead.fitting.same_person import EXCESS_MM, face_distance_mm, within
from imhead.fitting.stages import optimized, seen_rows
from imhead.fitting.start import initial_state, pose_template, state_at
from imhead.surfaces.transforms import transform_directions, transform_points
from imhead.types import FloatArray, Scan

_AGAIN_ROBUST_MM = (12.0, 9.0, 7.0, 5.0, 4.0, 3.0, 2.5, 2.0, 2.0)
_WITHIN_MM = 3.0
_LEAST_WITHIN = 0.7  # of the share of their points that the person's other scans have within 3 mm


@dataclass(frozen=True, eq=False)
class OwnFit:
    """The fit of one scan alone, from which the joint fit starts."""

    row: int
    """Place of the scan among those given."""
    pose: PoseResult
    """What the search found."""
    state: FitState
    """After the steps on z_id."""
    hair: Hair
    """Left out."""
    distance_mm: float
    """`face_distance_mm` of it."""
    iterations: int
    """Steps taken."""


def own_fit(scan: Scan, row: int, model: Model, config: FitConfig, units: Units, mm_per_unit: float | None) -> OwnFit:
    """The fit of one scan alone, up to the offsets.

    Raises:
        InputError: no face was found, or two heads.
    """
    samples, normals = scan_samples(scan, config)
    pose = find_pose(
        samples, normals, pose_template(model), units=units, mm_per_unit=mm_per_unit, seed=config.seed,
        redraw=partial(scan_samples, scan, config),
    )  # fmt: skip
    samples, normals = samples_near_head(scan, samples, normals, pose.scan_to_head, config)
    state, _ = initial_state(model, samples, normals, pose, config)
    placed = transform_points(pose.scan_to_head, samples)
    directions = None if normals is None else transform_directions(pose.scan_to_head, normals)
    hair_with = partial(find_hair, model, placed, directions, seen_rows(scan, samples))
    state, hair, steps = optimized(model, state, hair_with, replace(config, detail=False), lambda stage, part: None)
    return OwnFit(row, pose, state, hair, face_distance_mm(model, state), steps)


def samples_on_head(scan: Scan, pose: PoseResult, config: FitConfig) -> tuple[FloatArray, FloatArray | None]:
    """Samples (S, 3) of a scan and their normals, as its fit drew them: they are drawn again rather than kept."""
    return samples_near_head(scan, *scan_samples(scan, config), pose.scan_to_head, config)


def regained(
    scan: Scan,
    row: int,
    model: Model,
    person: Codes,
    others: Sequence[OwnFit],
    config: FitConfig,
    units: Units,
    mm_per_unit: float | None,
) -> OwnFit | None:
    """A scan in which no face was found, such as a profile, in a pose in which the person's own head explains it.

    The best pose of the mean head, however improbable, is only a start: the head of the other scans fits far more
    closely than any face would by chance.

    Args:
        scan: as given.
        row: its place among those given.
        model: of the head.
        person: the person's codes.
        others: fits of the person's other scans, at least one.
        config: settings.
        units: unit of all scans, if known.
        mm_per_unit: scale of all scans, if known.

    Returns:
        None where the person's head explains it in no such pose.
    """
    shared = {fit.pose.units for fit in others}
    if units == "auto" and mm_per_unit is None and len(shared) == 1:
        mm_per_unit = UNIT_MM.get(next(iter(shared)))
    samples, normals = scan_samples(scan, config)
    try:
        pose = find_pose(
            samples, normals, pose_template(model), units=units, mm_per_unit=mm_per_unit, seed=config.seed,
            redraw=partial(scan_samples, scan, config), accept_all=True,
        )  # fmt: skip
    except InputError:
        return None
    samples, normals = samples_near_head(scan, samples, normals, pose.scan_to_head, config)
    codes = replace(person, weights=others[0].state.codes.weights * 0.0)
    state = state_at(model, samples, normals, pose.scan_to_head, pose.scale_assumed, codes, np.eye(4), config)
    if not len(state.points):
        return None
    state = posed(model, state, _AGAIN_ROBUST_MM, config)
    distance = face_distance_mm(model, state)
    near = within(model, state, _WITHIN_MM)
    usual = float(np.median([fit.distance_mm for fit in others]))
    shown = float(np.median([within(model, fit.state, _WITHIN_MM) for fit in others]))
    if distance > np.hypot(usual, EXCESS_MM) or near < _LEAST_WITHIN * shown:
        return None
    return OwnFit(row, pose, state, Hair.none(), distance, len(_AGAIN_ROBUST_MM))
