"""KeypointNet (paper: LandmarkNet): 39 keypoints, each from its own region code only, so that edits stay local."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imhead.conventions import MODEL_UNIT_MM
from imhead.regions import CENTERS_MM, NET_COUNT, NET_OF_REGION, SIDE


class KeypointNet(nn.Module):
    """k_j = mean_j + h_j(z_j), with h_j linear; the two regions of a pair share it, mirrored in x."""

    mean: Tensor
    flip: Tensor
    net: Tensor

    def __init__(self, region_code_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(NET_COUNT, region_code_size, 3))
        flip = torch.ones(len(SIDE), 3)
        flip[torch.from_numpy(SIDE < 0), 0] = -1.0
        self.register_buffer("mean", torch.from_numpy(CENTERS_MM / MODEL_UNIT_MM).float())
        self.register_buffer("flip", flip)
        self.register_buffer("net", torch.from_numpy(NET_OF_REGION), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """Region codes (B, 39, 64) → keypoints (B, 39, 3), model units."""
        return self.mean + torch.einsum("brc,rcd->brd", z, self.weight[self.net]) * self.flip
