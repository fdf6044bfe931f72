"""What a run writes: pictures of three heads on the way, and the model file with its card at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from imhead.checkpoint import Model, load_model, save_model
from imhead.datasets.manifest import Manifest
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import extract_mesh
from imhead.model.config import to_dict
from imhead.rendering.figures import contact_sheet
from imhead.rendering.shading import camera, shade
from imhead.training.config import TrainConfig
from imhead.training.learner import Learner
from imhead.types import Head

_WINDOWS = (
    ("front", (0.0, -10.0, 0.0), 150.0),
    ("three_quarter", (0.0, -10.0, 0.0), 150.0),
    ("front", (31.0, 28.0, 85.0), 24.0),
    ("profile", (84.0, 4.0, -6.0), 42.0),
)
"""View, centre and half side in mm: the head twice, an eye, an ear."""


def save_heads_picture(learner: Learner, path: Path) -> None:
    """Draw the mean head and two training heads: front, three-quarter, close-ups of an eye and an ear."""
    model = Model("training", "", learner.model, {})
    pictures, labels = [], []
    for row in (None, 0, 1):
        neutral = model.neutral()
        head = neutral if row is None else _with_identity(neutral, learner.z_id[row])
        mesh = extract_mesh(HeadField(model, head).sdf, 192)
        name = "mean" if row is None else f"identity {row}"
        for view, center, half in _WINDOWS:
            pictures.append(shade(mesh, camera(view, center_mm=center, half_mm=half), 320))
            labels.append(f"{name}, {view}")
    contact_sheet(pictures, labels, columns=4).save(path)


def _with_identity(head: Head, z_id: torch.Tensor) -> Head:
    return Head(head.model_id, head.model_hash, z_id.detach().cpu().numpy(), head.z_exp, head.offsets)


def save_run_model(learner: Learner, config: TrainConfig, run: Path, data: Manifest, card: dict[str, Any]) -> Path:
    """Write `model.safetensors` into the folder of the run, with its data and settings; the file is opened as a check.

    Args:
        card: further entries of the model's card.
    """
    path = run / "model.safetensors"
    about = {
        **data.card,
        "settings": to_dict(config),
        "limits": "bald heads; no hair, teeth, tongue or texture; not a medical device",
        **card,
    }
    save_model(learner.model, path, run.name, about)
    load_model(path)
    return path
