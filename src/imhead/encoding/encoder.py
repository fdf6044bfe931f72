"""The encoder: scan points near the head frame, whole or partial → identity, expression and a correction of the pose.

Every fit starts from its estimate and refines all three.

Shape legend: B scans, M basis points.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from imhead.checkpoint import Model, check_tensors, read_companion
from imhead.conventions import ARKIT_NAMES
from imhead.encoding.features import basis_features
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.io.tensor_file import with_metadata
from imhead.model.local_nets import silu
from imhead.surfaces.transforms import matrix_of, transform_points
from imhead.types import FloatArray

ENCODER_FORMAT = "imhead-encoder-1"
TWIST_SCALE = (0.05, 4.0)
"""Radians and mm of one unit of the network's pose output."""
PIVOT_MM = (0.0, 0.0, 60.0)
"""Centre of the pose correction's rotation, head frame."""
_PASSES = 2  # the second starts from the pose that the first one corrected
_MAX_POINTS = 6000


@dataclass(frozen=True, eq=False)
class Estimate:
    """The encoder's estimate of one scan."""

    z_id: FloatArray
    """(256,)."""
    weights: FloatArray
    """(52,) ARKit weights, 0 to 1."""
    motion: FloatArray
    """(4, 4) rigid correction of the pose, mm: moves the given points into the head frame."""


class ScanEncoder(nn.Module):
    """Features of a scan (B, M, 4) → z_id (B, 256), ARKit weights (B, 52), twist (B, 6)."""

    basis: Tensor

    def __init__(self, basis_mm: Tensor, identity_size: int, width: int, depth: int) -> None:
        """
        Args:
            basis_mm: (M, 3) basis points on the mean head, head frame.
            width: hidden width.
            depth: residual layers.
        """
        super().__init__()
        self.register_buffer("basis", basis_mm.float())
        self.sizes = (identity_size, len(ARKIT_NAMES), 6)
        self.enter = nn.Linear(4 * len(basis_mm), width)
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.out = nn.Linear(width, sum(self.sizes))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`basis_features` (B, M, 4) → z_id (B, 256), ARKit weights (B, 52), twist (B, 6) in `TWIST_SCALE`."""
        h = self.enter(features.flatten(1))
        for layer in self.layers:
            h = h + layer(silu(h))
        z_id, weights, twist = self.out(silu(h)).split(self.sizes, dim=1)
        return z_id, weights, twist


def motion_of(twist: FloatArray) -> FloatArray:
    """The rigid motion (4, 4), mm, of a twist (6,) in units of `TWIST_SCALE`: a rotation about `PIVOT_MM`, a shift."""
    pivot = np.array(PIVOT_MM)
    rotation = Rotation.from_rotvec(twist[:3] * TWIST_SCALE[0]).as_matrix()
    return matrix_of(rotation, pivot - rotation @ pivot + twist[3:] * TWIST_SCALE[1])


@torch.no_grad()
def estimate(encoder: ScanEncoder, points_mm: FloatArray) -> Estimate:
    """Codes and pose correction of scan points (N, 3), mm, that a pose search brought near the head frame."""
    picked = points_mm
    if len(points_mm) > _MAX_POINTS:
        picked = points_mm[np.random.default_rng(0).permutation(len(points_mm))[:_MAX_POINTS]]
    basis = encoder.basis.cpu().numpy().astype(np.float64)
    motion = np.eye(4)
    z_id = weights = torch.zeros(0)
    for _ in range(_PASSES):
        placed = transform_points(motion, picked)
        features = torch.from_numpy(basis_features(placed, basis)).to(encoder.basis.device)
        z_id, weights, twist = (part[0] for part in encoder(features[None]))
        motion = motion_of(twist.cpu().numpy().astype(np.float64)) @ motion
    return Estimate(z_id.cpu().numpy(), weights.clamp(0.0, 1.0).cpu().numpy(), motion)


def encoder_path(model_path: Path) -> Path:
    """Path of a model's encoder: `default.safetensors` → `default.encoder.safetensors`."""
    return model_path.with_suffix(".encoder.safetensors")


def save_encoder(encoder: ScanEncoder, model_hash: str, path: Path) -> None:
    """Write an encoder: weights in half precision, basis points in single."""
    tensors = {
        name: (value if name == "basis" else value.half()).detach().cpu().contiguous()
        for name, value in encoder.state_dict().items()
    }
    sizes = {"M": len(encoder.basis), "width": encoder.out.in_features, "depth": len(encoder.layers)}
    metadata = {"format": ENCODER_FORMAT, "model_hash": model_hash, "sizes": json.dumps(sizes)}
    write_atomically(path, with_metadata(save(tensors), metadata))


def load_encoder(path: Path, model: Model) -> ScanEncoder:
    """Open the encoder of `model`.

    Raises:
        InputError: no such file, not an encoder, damaged, or the encoder of another model.
    """
    tensors, metadata = read_companion(path, "encoder", ENCODER_FORMAT, model)
    try:
        sizes = json.loads(metadata["sizes"])
        places, width, depth = (int(sizes[key]) for key in ("M", "width", "depth"))
        if not (0 < places <= 1 << 16 and 0 < width <= 1 << 13 and 0 <= depth <= 64):
            raise ValueError(f"M={places}, width={width}, depth={depth}")
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: its sizes cannot be read ({error}); get the file again") from error
    encoder = ScanEncoder(torch.zeros(places, 3), model.net.config.identity_size, width, depth)
    check_tensors(path, tensors, {name: tuple(value.shape) for name, value in encoder.state_dict().items()})
    encoder.load_state_dict({name: value.float() for name, value in tensors.items()})
    encoder.eval().requires_grad_(False)
    return encoder.to(model.device)


@lru_cache(maxsize=4)
def encoder_of(model: Model) -> ScanEncoder | None:
    """The encoder beside a model's file; None if there is none.

    Raises:
        InputError: it is damaged, or of another model.
    """
    if model.path is None or not encoder_path(model.path).is_file():
        return None
    return load_encoder(encoder_path(model.path), model)
