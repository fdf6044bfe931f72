"""The peer: a decoder with the published sizes of NPHM's, to compare costs. Its weights are random.

x (B, N, 3), code (B, 64 + 40·32) ──40 networks in their own frames──► 40 distances ──Gaussian blend over all──► (B, N)

Each network is a DeepSDF: half way, its input is concatenated again, and the layer before is narrower by as much.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imhead.conventions import MODEL_UNIT_MM
from imhead.regions import CENTERS_MM

_BACKGROUND = 0.45  # distance in the peer's unit at which the network without an anchor counts


@dataclass(frozen=True)
class PeerConfig:
    """The published sizes of NPHM's decoder."""

    global_code: int = 64
    """Size of the code that all networks share."""
    local_code: int = 32
    """Size of the code of each network."""
    nets: int = 40
    """Number of networks: one for each of 39 anchors, and one for the rest."""
    mirrored_pairs: int = 16
    """Pairs of networks that share their weights."""
    hidden: int = 4
    """Hidden layers of each network."""
    width: int = 200
    """Width of the hidden layers."""
    softplus_beta: float = 100.0
    """Sharpness of the activation."""
    blend_sigma: float = 0.1
    """Standard deviation of the Gaussian blend weights, in the peer's own unit."""

    @property
    def code_size(self) -> int:
        """Size of an identity code."""
        return self.global_code + self.nets * self.local_code

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Input and output size of each layer of a network."""
        given = 3 + self.global_code + self.local_code
        sizes = [given, *[self.width] * self.hidden, 1]
        pairs = list(itertools.pairwise(sizes))
        before = self.hidden // 2 - 1
        pairs[before] = (pairs[before][0], self.width - given)
        return pairs

    @property
    def flop_per_point(self) -> int:
        """Operations of the matrix products at one point; a multiplication and an addition are two."""
        return self.nets * sum(2 * a * b for a, b in self.layers)


class PeerDecoder(nn.Module):
    """Points and codes in, one distance out; every network at every point."""

    anchors: Tensor
    side: Tensor

    def __init__(self, seed: int, nets_at_once: int = 1, points_at_once: int = 2048) -> None:
        """Draw random weights.

        Args:
            seed: seed of the weights.
            nets_at_once: networks in one product.
            points_at_once: points of each head in one product. A CPU is a quarter slower if they exceed its cache; a
                GPU is fastest with all networks and points at once.
        """
        super().__init__()
        self.config = config = PeerConfig()
        self.nets_at_once, self.points_at_once = nets_at_once, points_at_once
        drawn = torch.Generator().manual_seed(seed)
        own = config.nets - config.mirrored_pairs
        self.weights = nn.ParameterList(
            [nn.Parameter(torch.randn(own, a, b, generator=drawn) / a**0.5) for a, b in config.layers]
        )
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(own, 1, b)) for _, b in config.layers])
        anchors, side = torch.zeros(config.nets, 3), torch.ones(config.nets, 3)
        # the cost does not depend on the place of an anchor; the last network has none
        anchors[:-1] = torch.from_numpy(CENTERS_MM[: config.nets - 1] / MODEL_UNIT_MM)
        side[1 : 2 * config.mirrored_pairs : 2, 0] = -1.0
        self.register_buffer("anchors", anchors)
        self.register_buffer("side", side)
        pairs = config.mirrored_pairs
        self.rows = [k // 2 if k < 2 * pairs else k - pairs for k in range(config.nets)]

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Distances (B, N) at x (B, N, 3) for codes (B, 1344)."""
        return torch.cat([self._block(part, code) for part in x.split(self.points_at_once, dim=1)], dim=1)

    def _block(self, x: Tensor, code: Tensor) -> Tensor:
        config = self.config
        batch, count, _ = x.shape
        shared, own = code[:, : config.global_code], code[:, config.global_code :].unflatten(1, (config.nets, -1))
        parts = []
        # unbind, since the backward pass of an indexed row fills a tensor of full size with zeros
        layers = [(weight.unbind(), bias.unbind()) for weight, bias in zip(self.weights, self.biases)]
        for first in range(0, config.nets, self.nets_at_once):
            nets = slice(first, first + self.nets_at_once)
            rows = self.rows[nets]
            place = (x - self.anchors[nets, None, None]) * self.side[nets, None, None]
            codes = torch.cat([shared.expand(len(rows), -1, -1), own[:, nets].transpose(0, 1)], dim=2)
            given = torch.cat([place, codes[:, :, None].expand(-1, -1, count, -1)], dim=3)
            chosen = [tuple(torch.stack([part[r] for r in rows]) for part in layer) for layer in layers]
            parts.append(self._networks(chosen, given.flatten(1, 2)))
        distances = torch.cat(parts).view(config.nets, batch, count).permute(1, 2, 0)
        square = (x[:, :, None] - self.anchors[:-1]).square().sum(dim=3)
        # the last network has the same distance everywhere
        square = torch.cat([square, square.new_full((batch, count, 1), _BACKGROUND**2)], dim=2)
        weight = torch.exp(-square / config.blend_sigma**2)
        weight = weight / (weight.sum(dim=2, keepdim=True) + 1e-6)
        return (weight * distances).sum(dim=2)

    def _networks(self, layers: list[tuple[Tensor, ...]], given: Tensor) -> Tensor:
        # layers of K networks, given (K, B·N, 99) → (K, B·N)
        config = self.config
        h = given
        for layer, (weight, bias) in enumerate(layers):
            if layer == config.hidden // 2:
                h = torch.cat([h, given], dim=2) / 2.0**0.5
            h = torch.baddbmm(bias, h, weight)
            if layer < config.hidden:
                h = F.softplus(h, config.softplus_beta)
        return h.squeeze(2)


def peer_decoder(seed: int, device: torch.device) -> PeerDecoder:
    """The peer with the fastest settings for a device."""
    at_once = (1, 2048) if device.type == "cpu" else (PeerConfig().nets, 100_000)
    return PeerDecoder(seed, *at_once).to(device)


def peer_batch(count: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """A random batch for the peer: points (1, N, 3) and a code (1, 1344). Its cost does not depend on their values."""
    drawn = torch.Generator().manual_seed(seed)
    x = torch.rand(1, count, 3, generator=drawn) * 2.0 - 1.0
    return x.to(device), torch.randn(1, PeerConfig().code_size, generator=drawn).to(device)
