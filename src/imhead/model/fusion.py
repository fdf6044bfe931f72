"""Blend weights and FusionNet: from local features to one signed distance."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from imhead.model.config import ModelConfig
from imhead.model.local_nets import silu

COVERAGE_FLOOR = 1e-5
"""Added to the sum of compact weights, so that features fade to zero at the rim of the outermost ball."""


def wendland(r: Tensor) -> Tensor:
    """Wendland's C2 function: 1 at r = 0, and exactly 0 from r = 1 on."""
    s = (1.0 - r).clamp(min=0.0)
    square = s * s  # s**4 rounds differently in different lanes of a vector unit
    return square * square * (4.0 * r + 1.0)


def coverage(x: Tensor, keypoints: Tensor, radius: Tensor) -> Tensor:
    """Sum (…, N) of the compact weights of balls (…, K, 3) of radius (K,) at points (…, N, 3); 0 outside all balls."""
    return wendland(torch.cdist(x, keypoints) / radius).sum(dim=-1)


class FusionNet(nn.Module):
    """sdf = FusionNet(x, Σ_j w_j f_j). Outside all balls, FusionNet(x, 0) is a coarse field without codes."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        sizes = [3 + config.feature_size] + [config.fusion_width] * config.fusion_hidden + [1]
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(sizes)])

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        """x (N, 3) in model units, feature (N, feature) → signed distance (N,), model units."""
        h = torch.cat([x, feature], dim=-1)
        for layer in self.layers[:-1]:
            h = silu(layer(h))
        return self.layers[-1](h).squeeze(-1)
