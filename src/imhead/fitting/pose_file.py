"""The pose template of a model on disk, beside its file: meshing the mean head for it takes seconds.

Shape legend: M samples of the mean head.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save

from imhead.checkpoint import Model, check_tensors, load_model, read_companion
from imhead.errors import InputError
from imhead.fitting.pose import PoseTemplate
from imhead.io.atomic import write_atomically
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import extract_mesh
from imhead.regions import REGIONS
from imhead.types import FloatArray, Mesh

POSE_FORMAT = "imhead-pose-1"
_CELLS = 160
_MOST_SAMPLES = 1 << 16
_NOSE_TIP = next(r.index for r in REGIONS if r.name == "nose_tip")


def nose_tip_mm(mesh: Mesh, field: HeadField) -> FloatArray:
    """The most forward vertex (3,) in the ball of the region `nose_tip`."""
    ball = field.ball(_NOSE_TIP)
    near = mesh.vertices[np.linalg.norm(mesh.vertices - ball.center_mm, axis=1) < ball.radius_mm]
    tip: FloatArray = near[near[:, 2].argmax()] if len(near) else ball.center_mm
    return tip


def pose_path(model_path: Path) -> Path:
    """Path of a model's pose template: `default.safetensors` → `default.pose.safetensors`."""
    return model_path.with_suffix(".pose.safetensors")


def made_pose_template(model: Model) -> PoseTemplate:
    """The pose template of a model, from its mean head."""
    field = HeadField(model, model.neutral())
    mesh = extract_mesh(field.sdf, _CELLS)
    return PoseTemplate.from_mesh(mesh, nose_tip_mm(mesh, field))


def write_pose_template(model_path: Path) -> Path:
    """Make the pose template of a model file and write it beside the file; its path."""
    model, path = load_model(model_path), pose_path(model_path)
    made = made_pose_template(model)
    tensors = {
        "points": made.points, "normals": made.normals, "smooth_normals": made.smooth_normals,
        "nose_tip": made.nose_tip_mm,
    }  # fmt: skip
    metadata = {"format": POSE_FORMAT, "model_hash": model.hash}
    arrays = {name: np.ascontiguousarray(value, dtype=np.float64) for name, value in tensors.items()}
    write_atomically(path, save(arrays, metadata))
    return path


def read_pose_template(path: Path, model: Model) -> PoseTemplate:
    """Open the pose template of `model`.

    Raises:
        InputError: no such file, not a pose template, damaged, or that of another model.
    """
    tensors, _ = read_companion(path, "pose template", POSE_FORMAT, model)
    count = len(tensors["points"]) if "points" in tensors and tensors["points"].dim() else 0
    if not 0 < count <= _MOST_SAMPLES:
        raise InputError(f"{path}: holds {count} samples, expected 1 to {_MOST_SAMPLES}; get the file again")
    shapes = {"points": (count, 3), "normals": (count, 3), "smooth_normals": (count, 3), "nose_tip": (3,)}
    check_tensors(path, tensors, shapes, (torch.float64,))
    points, normals, smooth, tip = (tensors[name].numpy() for name in shapes)
    return PoseTemplate.of_samples(points, normals, smooth, tip)
