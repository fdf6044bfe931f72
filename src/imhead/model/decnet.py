"""DecNet (one linear layer, as in the paper): decodes the identity code into 39 region codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imhead.regions import REGION_COUNT


class DecNet(nn.Module):
    """z_id (B, 256) → region codes (B, 39, 64). Linear and without bias, so that zero is the mean head."""

    def __init__(self, identity_size: int, region_code_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(identity_size, REGION_COUNT, region_code_size) / identity_size**0.5)

    def forward(self, z_id: Tensor) -> Tensor:
        return torch.einsum("bi,irc->brc", z_id, self.weight)
