"""EyeNet: from the identity code to two eyeballs, which no region code moves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imhead.model.config import ModelConfig
from imhead.surfaces.eyeballs import EYEBALL_NUMBERS


class EyeNet(nn.Module):
    """A linear map from z_id to the eyeballs (surfaces/eyeballs.py), fitted after the other networks have learned.

    The right eyeball is the left one of the mirrored head.
    """

    weight: Tensor
    mean: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(config.identity_size, EYEBALL_NUMBERS))
        self.register_buffer("mean", torch.tensor([31.1, 30.0, 69.0, 15.4, 2.1]))

    def forward(self, z_id: Tensor, identity_parity: Tensor) -> Tensor:
        """Identity codes (B, 256) and the signs (256,) of the mirrored code → eyeballs (B, 2, 5), mm."""
        both = torch.stack([z_id, z_id * identity_parity], dim=1)
        eyes: Tensor = self.mean + both @ self.weight
        return eyes
