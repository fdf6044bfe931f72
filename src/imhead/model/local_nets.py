"""The local networks: 23 small MLPs, one for each mirrored pair and each midline region.

f_j = g_j(γ((x − k_j) / ρ_j), z_j) is a feature, not a distance. z_j enters the first two layers additively, so that for
one head it is a bias vector per region and layer, computed once and not per point.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imhead.model.config import ModelConfig
from imhead.regions import NET_COUNT, NET_OF_REGION

CODE_LAYERS = 2
"""Number of layers that the region code enters."""
_LANES = 32  # elements per block of torch's kernel, at most: two of the widest vector registers
_LEAST_ROWS = 32  # for fewer rows BLAS takes another path, which rounds differently


def silu(x: Tensor) -> Tensor:
    """x · sigmoid(x); without gradients, each value is rounded independently of its position in the tensor.

    torch's kernel computes the end of a block separately if the block's size is no multiple of 32. The results differ
    by one unit in the last place, so an edit would change values elsewhere. In training that does not matter.
    """
    whole = x.shape[-1] % _LANES == 0 and (x.device.type != "cpu" or torch.get_num_threads() == 1)
    if whole or torch.is_grad_enabled():
        return F.silu(x)
    below = torch.neg(x).exp_().add_(1.0)
    return torch.div(x, below, out=below)


def encode(x: Tensor, frequencies: int) -> Tensor:
    """Positional encoding γ, (…, 3) → (…, 3 + 6·frequencies): x, then sin and cos of 2^k π x.

    Only the first octave calls sin and cos; the others use the double-angle formulas.
    """
    sin, cos = torch.sin(torch.pi * x), torch.cos(torch.pi * x)
    parts = [x, sin, cos]
    for _ in range(frequencies - 1):
        sin, cos = 2.0 * sin * cos, 1.0 - 2.0 * sin * sin
        parts += [sin, cos]
    return torch.cat(parts, dim=-1)


def _padded(rows: Tensor) -> Tensor:
    # pad copies even if it adds nothing
    return rows if len(rows) >= _LEAST_ROWS else F.pad(rows, (0, 0, 0, _LEAST_ROWS - len(rows)))


class LocalNets(nn.Module):
    """Weights of the 23 networks, stacked: (23, in, out) per layer."""

    net: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.frequencies = config.local_frequencies
        width = config.local_width
        sizes = [3 + 6 * config.local_frequencies] + [width] * config.local_hidden + [config.feature_size]
        self.weights = nn.ParameterList(
            [nn.Parameter(torch.randn(NET_COUNT, a, b) * (1.6 / a) ** 0.5) for a, b in itertools.pairwise(sizes)]
        )
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(NET_COUNT, b)) for b in sizes[1:]])
        self.code_weights = nn.ParameterList(
            [
                nn.Parameter(torch.randn(NET_COUNT, config.region_code_size, width) / config.region_code_size**0.5)
                for _ in range(CODE_LAYERS)
            ]
        )
        self.register_buffer("net", torch.from_numpy(NET_OF_REGION), persistent=False)

    def fold(self, z: Tensor) -> list[Tensor]:
        """Region codes (B, 39, 64) → biases that they add to the first layers: CODE_LAYERS × (B, 39, width)."""
        return [
            torch.einsum("brc,rcw->brw", z, code[self.net]) + bias[self.net]
            for code, bias in zip(self.code_weights, self.biases)
        ]

    def forward(self, local: Tensor, folded: list[Tensor], counts: list[int]) -> Tensor:
        """Features (P, feature) of point-region pairs that are sorted by network.

        Args:
            local: (P, 3) positions in the region's frame, in ball radii, mirrored in x for right regions.
            folded: CODE_LAYERS × (P, width), each pair's row of `fold`.
            counts: pairs of each of the 23 networks.
        """
        # split and unbind, not slices: the backward pass of a slice fills a whole tensor with zeros, 23 times per layer
        encoded = encode(local, self.frequencies).split(counts)
        codes = [layer.split(counts) for layer in folded]
        weights = [layer.unbind() for layer in self.weights]
        biases = [layer.unbind() for layer in self.biases]
        last = len(weights) - 1
        parts: list[Tensor] = []
        for k in (k for k, count in enumerate(counts) if count):
            h = _padded(encoded[k])
            for layer, weight in enumerate(weights):
                added = _padded(codes[layer][k]) if layer < CODE_LAYERS else biases[layer][k]
                h = torch.addmm(added, h, weight[k])
                if layer < last:
                    h = silu(h)
            parts.append(h if len(h) == counts[k] else h[: counts[k]])
        return torch.cat(parts) if parts else local.new_zeros(0, self.biases[-1].shape[1])
