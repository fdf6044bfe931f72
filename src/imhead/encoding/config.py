"""Sizes of the encoder and its training."""

from __future__ import annotations

from dataclasses import dataclass

from imhead.errors import InputError, check_numbers


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
        check_numbers(self, low=0.0, high=1e9)
        if min(self.face_places, self.other_places) < 2 or min(self.width, self.epochs, self.batch) < 1:
            raise InputError("EncoderConfig: two places of each kind, width, epochs and batch of at least 1 are needed")
        if self.scans < 2:
            raise InputError("EncoderConfig.scans is below 2; one scan at least is kept apart")
