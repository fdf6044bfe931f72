"""Validated configurations and the presets that name them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from imhead.errors import InputError

Blend = Literal["local", "paper"]


def _check_numbers(config: Any, low: float, high: float) -> None:
    """Every number field holds a finite number of its own kind within [low, high]."""
    for spec in dataclasses.fields(config):
        value = getattr(config, spec.name)
        if spec.type not in ("int", "float"):
            continue
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (whole or (spec.type == "float" and isinstance(value, float))) or not low <= value <= high:
            raise InputError(
                f"{type(config).__name__}.{spec.name} is {value!r}; expected {spec.type} from {low:g} to {high:g}"
            )


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the network. Everything a checkpoint needs to be rebuilt."""

    identity_size: int = 256
    """Numbers in z_id."""
    region_code_size: int = 64
    """Numbers in each of the 39 region codes."""
    expression_size: int = 64
    """Numbers in z_exp."""
    blend: Blend = "local"
    """`local`: compact weights, exactly zero outside a region's ball. `paper`: softmax over all 39 regions."""
    softmax_sigma_mm: float = 12.0
    """Length scale of the `paper` blend."""
    local_width: int = 64
    """Hidden width of each local network."""
    local_hidden: int = 3
    """Hidden layers of each local network."""
    local_frequencies: int = 4
    """Octaves of positional encoding in the local frame; the first has a wavelength of the ball's diameter."""
    feature_size: int = 32
    """Numbers that a local network hands to FusionNet."""
    fusion_width: int = 64
    """Hidden width of FusionNet."""
    fusion_hidden: int = 2
    """Hidden layers of FusionNet."""
    warp_width: int = 128
    """Hidden width of the expression warp."""
    warp_hidden: int = 3
    """Hidden layers of the expression warp."""
    warp_frequencies: int = 6
    """Octaves of positional encoding in the warp; the first has a wavelength of four model units."""
    warp_identity_size: int = 32
    """Numbers that z_id is projected to before the warp."""

    def __post_init__(self) -> None:
        if self.blend not in ("local", "paper"):
            raise InputError(f"ModelConfig.blend is {self.blend!r}; expected 'local' or 'paper'")
        _check_numbers(self, low=1e-9, high=4096.0)
        if self.local_hidden < 2:
            raise InputError("ModelConfig.local_hidden is 1; the region code enters two hidden layers")


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
    """Absolute error of the expression warp against the registered correspondence."""
    seal: float = 0.03
    """Absolute seal of the expression warp."""
    keypoint: float = 1.0
    """Squared error of the 39 keypoints."""
    symmetry: float = 1e-5
    """Squared difference of mirrored region codes."""
    code: float = 1e-6
    """Squared length of the codes."""

    def __post_init__(self) -> None:
        _check_numbers(self, low=0.0, high=1e6)


@dataclass(frozen=True)
class EncoderConfig:
    """The encoder, its training scans and its schedule."""

    face_places: int = 1100
    """Basis points on the face."""
    other_places: int = 436
    """Basis points on the rest of the head."""
    width: int = 512
    """Hidden width."""
    depth: int = 3
    """Residual layers."""
    scans: int = 40_000
    """Scans drawn; each is also seen mirrored."""
    epochs: int = 12
    """Times that each is seen."""
    batch: int = 128
    """Scans in a step."""
    learning_rate: float = 1e-3
    """Peak rate of Adam; one cycle."""
    weight_decay: float = 1e-4
    """Decoupled decay of the weights."""
    neutral_share: float = 0.5
    """Part of the scans without an expression."""
    seed: int = 0
    """Seed of places, scans and weights."""

    def __post_init__(self) -> None:
        _check_numbers(self, low=0.0, high=1e9)
        if min(self.face_places, self.other_places) < 2 or min(self.width, self.epochs, self.batch) < 1:
            raise InputError("EncoderConfig: two places of each kind, width, epochs and batch of at least 1 are needed")
        if self.scans < 2:
            raise InputError("EncoderConfig.scans is below 2; one scan at least is kept apart")


@dataclass(frozen=True)
class TrainConfig:
    """One training run, from data to schedule."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    loss: LossWeights = field(default_factory=LossWeights)
    """The loss."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The encoder, trained when the model is."""
    identities: int = 4000
    """Most identities of the data set that are learned from; each is also seen mirrored."""
    canonical_points: int = 3000
    """Stored samples of each identity in the canonical pose."""
    expressions: int = 3
    """Expressions of each identity that are sampled; the first is neutral."""
    expression_points: int = 1500
    """Stored samples of each of them."""
    neutral_fraction: float = 0.35
    """Part of a batch's posed heads that are neutral."""
    steps: int = 12000
    """Optimiser steps."""
    warp_steps: int = 3000
    """Steps after those in which only the expression warp learns, half of its points where lips and lids meet."""
    warp_learning_rate: float = 1.5e-3
    """Peak rate of Adam in those steps; cosine to 1 % of it."""
    batch_heads: int = 16
    """Heads in a step."""
    batch_points: int = 900
    """Canonical points of each head in a step; half of the heads add as many posed points."""
    gradient_fraction: float = 0.5
    """Part of the points whose gradient is known to the loss; of canonical ones, first those on the surface."""
    learning_rate: float = 2e-3
    """Peak rate of Adam for the networks; cosine to 1 % of it."""
    code_learning_rate: float = 2e-4
    """Peak rate for z_id, DecNet and keypoints, which start from a PCA and are refined."""
    code_start: float = 0.3
    """Part of the run after which z_id, DecNet and keypoints are refined; until then they keep their start."""
    warmup_steps: int = 200
    """Steps of linear warm-up."""
    seed: int = 0
    """Seed of data, initialisation and sampling."""
    progress_steps: int = 100
    """Steps between two lines of progress."""
    checkpoint_steps: int = 500
    """Steps between two checkpoints."""
    picture_steps: int = 2000
    """Steps between two pictures of three heads."""

    def __post_init__(self) -> None:
        _check_numbers(self, low=0.0, high=1e9)
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


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain JSON values."""
    return dataclasses.asdict(config)


def model_config_from_dict(values: dict[str, Any]) -> ModelConfig:
    """A ModelConfig from JSON values.

    Raises:
        InputError: an unknown or missing key, or a value out of range.
    """
    known = {spec.name for spec in dataclasses.fields(ModelConfig)}
    if not isinstance(values, dict) or set(values) != known:
        wrong = sorted(known.symmetric_difference(values)) if isinstance(values, dict) else "not an object"
        raise InputError(f"the model's config does not match this version of imhead: {wrong}")
    return ModelConfig(**values)


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
