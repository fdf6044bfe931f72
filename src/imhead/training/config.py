"""Settings of a training run, and the presets that name them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from imhead.encoding.config import EncoderConfig
from imhead.errors import InputError, check_numbers
from imhead.model.config import ModelConfig


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term of the training loss; distances enter in model units."""

    distance: float = 1.0
    """Absolute error of the signed distance, surface and off-surface."""
    normal: float = 0.05
    """One minus the cosine between the field's gradient and the surface normal."""
    eikonal: float = 0.02
    """Squared deviation of the gradient's length from one."""
    warp: float = 1.0
    """Distance of warped points from their registered correspondences."""
    seal: float = 0.03
    """Absolute seal of the expression warp."""
    keypoint: float = 1.0
    """Squared error of the 39 keypoints."""
    symmetry: float = 1e-5
    """Squared difference of mirrored region codes."""
    code: float = 1e-6
    """Squared length of the codes."""

    def __post_init__(self) -> None:
        check_numbers(self, low=0.0, high=1e6)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    loss: LossWeights = field(default_factory=LossWeights)
    """The loss."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The encoder, trained after the model."""
    identities: int = 4000
    """Largest number of identities to train on; each is also used mirrored."""
    canonical_points: int = 3000
    """Samples of each identity in the canonical pose."""
    expressions: int = 3
    """Expressions of each identity that are sampled; the first is neutral."""
    expression_points: int = 1500
    """Samples of each of them."""
    neutral_fraction: float = 0.35
    """Fraction of a batch's posed heads that are neutral."""
    steps: int = 12000
    """Optimiser steps."""
    warp_steps: int = 3000
    """Further steps in which only the expression warp learns, half of the points where lips and lids meet."""
    warp_learning_rate: float = 1.5e-3
    """Peak learning rate of Adam in warp steps; cosine decay to 1 % of it."""
    batch_heads: int = 16
    """Heads of each step."""
    batch_points: int = 900
    """Canonical points of each head in a step; half of the heads add as many posed points."""
    gradient_fraction: float = 0.5
    """Fraction of the points whose field gradient enters the loss; canonical points on the surface come first."""
    learning_rate: float = 2e-3
    """Peak learning rate of Adam for the networks; cosine decay to 1 % of it."""
    code_learning_rate: float = 2e-4
    """Peak learning rate for z_id, DecNet and keypoints, which start from a PCA."""
    code_start: float = 0.3
    """Fraction of the common steps after which z_id, DecNet and keypoints learn; until then they keep their start."""
    warmup_steps: int = 200
    """Steps of linear warm-up of the learning rate."""
    seed: int = 0
    """Seed of data, initialisation and sampling."""
    progress_steps: int = 100
    """Steps between progress messages."""
    checkpoint_steps: int = 500
    """Steps between checkpoints."""
    picture_steps: int = 2000
    """Steps between pictures of three heads."""

    def __post_init__(self) -> None:
        check_numbers(self, low=0.0, high=1e9)
        if self.warmup_steps < 1 or min(self.progress_steps, self.checkpoint_steps, self.picture_steps) < 1:
            raise InputError("TrainConfig: warm-up, progress, checkpoint and picture steps are at least 1")
        if self.identities < 4 or self.steps < 1 or self.batch_heads < 2 or self.batch_points < 8:
            raise InputError("TrainConfig: identities >= 4, steps >= 1, batch_heads >= 2, batch_points >= 8 are needed")
        if not 0.0 < self.gradient_fraction <= 1.0 or not 0.0 <= self.code_start <= 1.0:
            raise InputError("TrainConfig: gradient_fraction lies in (0, 1] and code_start in [0, 1]")


PRESETS: dict[str, TrainConfig] = {
    "default": TrainConfig(),
    "paper": TrainConfig(model=ModelConfig(blend="paper")),
    "tiny": TrainConfig(
        model=ModelConfig(local_width=16, local_hidden=2, fusion_width=16, warp_width=24, feature_size=8),
        encoder=EncoderConfig(face_places=60, other_places=20, width=16, depth=1, scans=64, epochs=1, batch=32),
        identities=8, canonical_points=600, expression_points=300, steps=30, warp_steps=10,
        batch_heads=4, batch_points=64,
        warmup_steps=5, progress_steps=5, checkpoint_steps=10, picture_steps=1000,
    ),
}  # fmt: skip


def train_config_from_dict(values: dict[str, Any]) -> TrainConfig:
    """A TrainConfig from JSON values; keys that are left out keep their defaults.

    Raises:
        InputError: an unknown key, a section that is no object, or a value out of range.
    """
    sections: dict[str, Any] = {}
    for kind, name in ((TrainConfig, ""), (ModelConfig, "model"), (LossWeights, "loss"), (EncoderConfig, "encoder")):
        part = values.get(name, {}) if name and isinstance(values, dict) else values
        if not isinstance(part, dict):
            raise InputError(f"{kind.__name__} settings are {type(part).__name__}; expected a JSON object")
        unknown = sorted(set(part) - {spec.name for spec in dataclasses.fields(kind)})
        if unknown:
            raise InputError(f"unknown setting in {kind.__name__}: {', '.join(unknown)}")
        sections[name] = part
    rest = {key: value for key, value in values.items() if key not in ("model", "loss", "encoder")}
    return TrainConfig(
        model=ModelConfig(**sections["model"]),
        loss=LossWeights(**sections["loss"]),
        encoder=EncoderConfig(**sections["encoder"]),
        **rest,
    )
