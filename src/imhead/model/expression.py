"""The expression: a backward warp from the observed head to its canonical pose, lips apart, and a seal of the lips."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imhead.conventions import ARKIT_NAMES
from imhead.model.config import ModelConfig
from imhead.model.local_nets import encode, silu


class ExpressionWarp(nn.Module):
    """x_can = x_obs + E(x_obs, z_id, z_exp). z_exp = 0 is the neutral face, lips shut, which is not the canonical pose.

    A continuous warp cannot tear: a film between shut lips always maps into the open mouth. So the network has a fourth
    output, the seal, which is subtracted from the distance (a hyper-coordinate in the sense of HyperNeRF).

    The codes scale and shift the hidden layers, so that for one head they fold into constants.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.frequencies = config.warp_frequencies
        width = config.warp_width
        sizes = [3 + 6 * config.warp_frequencies] + [width] * config.warp_hidden
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(sizes)])
        self.out = nn.Linear(width, 4)
        nn.init.normal_(self.out.weight, std=1e-3)
        nn.init.zeros_(self.out.bias)
        codes = config.expression_size + config.warp_identity_size
        self.identity = nn.Linear(config.identity_size, config.warp_identity_size, bias=False)
        self.shift = nn.ModuleList([nn.Linear(codes, width, bias=False) for _ in range(config.warp_hidden)])
        self.scale = nn.ModuleList([nn.Linear(codes, width, bias=False) for _ in range(config.warp_hidden)])
        for weight in self.scale.parameters():
            nn.init.normal_(weight, std=0.05)
        self.arkit = nn.Parameter(torch.empty(len(ARKIT_NAMES), config.expression_size))
        nn.init.orthogonal_(self.arkit)
        with torch.no_grad():  # no training source has a tongue: the name is accepted and moves nothing
            self.arkit[ARKIT_NAMES.index("tongueOut")] = 0.0

    def code(self, weights: Tensor) -> Tensor:
        """ARKit weights (B, 52) → z_exp (B, 64), by a learned linear map."""
        return weights @ self.arkit

    def fold(self, z_id: Tensor, z_exp: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Codes (B, 256), (B, 64) → per layer (scale, shift), each (B, width)."""
        code = torch.cat([z_exp, self.identity(z_id)], dim=-1)
        return [(1.0 + scale(code), shift(code)) for scale, shift in zip(self.scale, self.shift)]

    def fuse(self, z_id: Tensor, z_exp: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Codes (1, 256), (1, 64) of one head → weights (out, in) and biases (out,) of its hidden layers."""
        fused: list[tuple[Tensor, Tensor]] = []
        for layer, (scale, shift) in zip(self.layers, self.fold(z_id, z_exp)):
            weight, bias = layer.parameters()
            fused.append((weight * scale[0, :, None], bias * scale[0] + shift[0]))
        return fused

    def forward(self, x: Tensor, folded: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Canonical points (B, N, 3) and seal (B, N) of observed points x (B, N, 3), model units.

        Scales and shifts in `folded` are (B, 1, width), or (B, N, width) if each point has codes of its own.
        """
        h = encode(0.5 * x, self.frequencies)
        for layer, (scale, shift) in zip(self.layers, folded):
            h = silu(layer(h) * scale + shift)
        return self._moved(x, h)

    def of_one_head(self, x: Tensor, fused: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """`forward` at points x (…, 3) of one head, from its `fuse`d layers: (…, 3) and (…,)."""
        h = encode(0.5 * x, self.frequencies)
        for weight, bias in fused:
            h = silu(F.linear(h, weight, bias))
        return self._moved(x, h)

    def _moved(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        out = self.out(h)
        return x + out[..., :3], out[..., 3]
