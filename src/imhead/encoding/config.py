"""Settings of the encoder and of its training."""

from __future__ import annotations

from dataclasses import dataclass

from imhead.errors import InputError, check_numbers


@dataclass(frozen=True)
class EncoderConfig:
    """The encoder, its training scans and its schedule."""

    face_places: int = 1100
    """Basis points on the face."""
    other_places: int = 436
    """Basis points off the face."""
    width: int = 512
    """Hidden width."""
    depth: int = 3
    """Residual layers."""
    scans: int = 40_000
    """Scans drawn; each is also used mirrored."""
    epochs: int = 12
    """Passes over the scans."""
    batch: int = 128
    """Scans in a step."""
    learning_rate: float = 1e-3
    """Peak of the one-cycle schedule of Adam."""
    weight_decay: float = 1e-4
    """Decoupled decay of the weights."""
    neutral_share: float = 0.5
    """Share of the scans without an expression."""
    seed: int = 0
    """Seed of basis points, scans and weights."""

    def __post_init__(self) -> None:
        check_numbers(self, low=0.0, high=1e9)
        if min(self.face_places, self.other_places) < 2 or min(self.width, self.epochs, self.batch) < 1:
            raise InputError("EncoderConfig: two places of each kind, width, epochs and batch of at least 1 are needed")
        if self.scans < 2:
            raise InputError("EncoderConfig.scans is below 2; one scan at least is kept apart")
