"""What a fit starts from: the pose template of a model, the points that enter, and the first guess of the codes.

Shape legend: N scan points, S samples of a scan.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.encoding.encoder import encoder_of, estimate
from imhead.fitting.config import FitConfig
from imhead.fitting.gauss_newton import FitState
from imhead.fitting.objective import Codes
from imhead.fitting.points import nearest_neighbours, within_bounds
from imhead.fitting.pose import PoseResult, PoseTemplate
from imhead.fitting.pose_file import made_pose_template, pose_path, read_pose_template
from imhead.regions import REGIONS
from imhead.surfaces.transforms import transform_directions, transform_points
from imhead.types import FloatArray

InitialGuess = Literal["encoder", "mean head", "joint fit"]


_templates: dict[str, PoseTemplate] = {}


def pose_template(model: Model) -> PoseTemplate:
    """The mean head as the pose search sees it: from the file beside the model's, or made once in each process.

    Raises:
        InputError: the file is damaged, or that of another model.
    """
    if model.hash not in _templates:
        path = None if model.path is None else pose_path(model.path)
        known = path is not None and path.is_file()
        _templates[model.hash] = read_pose_template(path, model) if path and known else made_pose_template(model)
    return _templates[model.hash]


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
