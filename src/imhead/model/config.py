"""Sizes of the network, and their JSON form in a checkpoint."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from imhead.errors import InputError, check_numbers

Blend = Literal["local", "paper"]


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the network: all that is needed to rebuild it from a checkpoint."""

    identity_size: int = 256
    """Dimensions of z_id."""
    region_code_size: int = 64
    """Dimensions of each of the 39 region codes."""
    expression_size: int = 64
    """Dimensions of z_exp."""
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
    """Dimensions of the feature that a local network passes to FusionNet."""
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
    """Dimensions to which z_id is projected before the warp."""

    def __post_init__(self) -> None:
        if self.blend not in ("local", "paper"):
            raise InputError(f"ModelConfig.blend is {self.blend!r}; expected 'local' or 'paper'")
        check_numbers(self, low=1e-9, high=4096.0)
        if self.local_hidden < 2:
            raise InputError("ModelConfig.local_hidden is 1; the region code enters two hidden layers")


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
