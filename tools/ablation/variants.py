"""The variants of the ablation, each a network made of parts of the model.

x (B, N, 3) canonical points, code (B, K) → signed distance (B, N), model units
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imhead.model.config import Blend, ModelConfig
from imhead.model.fusion import FusionNet
from imhead.model.head import HeadModel
from imhead.model.local_nets import CODE_LAYERS, encode
from imhead.regions import NET_COUNT, REGION_COUNT
from imhead.training.codes import CodeStart, apply_start

CODE_SIZE = 32
"""Size of a region's code, half of the shipped model's."""
_GLOBAL_PART = 64
_DEEPSDF_WIDTH = 320
_DEEPSDF_HIDDEN = 6
_DEEPSDF_OCTAVES = 5


@dataclass(frozen=True)
class Variant:
    """The settings of a variant."""

    name: str
    """Its name in the table."""
    codes: Literal["compact", "local", "local_and_global", "global"] = "compact"
    """`compact`: an identity code that DecNet maps to region codes; `local`: independent region codes;
    `local_and_global`: those and a global code; `global`: one code and one network."""
    region_code_size: int = CODE_SIZE
    """Size of a region's code."""
    fusion: bool = True
    """Blended features go through FusionNet; if false, the blended value is the distance."""
    frames: bool = True
    """A region's network has coordinates relative to its keypoint; if false, to the origin of the head."""
    blend: Blend = "local"
    """`local` or `paper`."""


VARIANTS: tuple[Variant, ...] = (
    Variant("full"),
    Variant("full, paper blend", blend="paper"),
    Variant("one network, one code", codes="global"),
    Variant("local and global codes", codes="local_and_global"),
    Variant("local codes, 1248", codes="local"),
    Variant("local codes, 312", codes="local", region_code_size=8),
    Variant("no FusionNet", fusion=False),
    Variant("no local frames", frames=False),
)


class VariantNet(nn.Module):
    """The network of a variant; an identity has a code of `code_size` numbers."""

    def __init__(self, variant: Variant, config: ModelConfig) -> None:
        super().__init__()
        self.variant = variant
        size = variant.region_code_size
        self.base = HeadModel(_config(variant, config))
        del self.base.warp  # canonical pose only
        if variant.codes in ("local", "local_and_global"):
            del self.base.decnet
        self.code_size = {
            "compact": config.identity_size,
            "global": config.identity_size,
            "local": REGION_COUNT * size,
            "local_and_global": _GLOBAL_PART + REGION_COUNT * size,
        }[variant.codes]
        if variant.codes == "local_and_global":
            width = config.local_width
            self.shared = nn.Parameter(0.05 * torch.randn(CODE_LAYERS, _GLOBAL_PART, NET_COUNT, width))
        if not variant.fusion:
            self.coarse = FusionNet(self.base.config)

    def start(self, start: CodeStart) -> Tensor:
        """Write the PCA start into the network; returns the first code of each training head (M, code_size)."""
        size = self.variant.region_code_size
        if self.variant.codes == "compact":
            apply_start(self.base, start)
            return start.z_id.clone()
        regional = torch.einsum("mi,irc->mrc", start.z_id, start.decnet)[:, :, :size]
        with torch.no_grad():
            self.base.keypoint_net.weight.copy_(start.keypoints[:, :size])
            scale = start.code_scale[:, :size]
            scale = scale / scale.norm(dim=1, keepdim=True).clamp(min=1e-6)
            for weight in self.base.local_nets.code_weights:
                weight.copy_(torch.randn_like(weight) * scale[:, :, None])
        if self.variant.codes == "local":
            return regional.flatten(1)
        return torch.cat([start.z_id[:, :_GLOBAL_PART], regional.flatten(1)], dim=1)

    def regions(self, code: Tensor) -> Tensor:
        """Codes (B, K) → region codes (B, 39, size)."""
        if self.variant.codes == "compact":
            unfolded: Tensor = self.base.decnet(code)
            return unfolded
        size = self.variant.region_code_size
        return code[:, self.code_size - REGION_COUNT * size :].reshape(-1, REGION_COUNT, size)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        base, (batch, count, _) = self.base, x.shape
        z = self.regions(code)
        keypoints = base.keypoint_net(z) if self.variant.frames else base.keypoint_net.mean.expand(batch, -1, -1)
        layers = base.local_nets.fold(z)
        if self.variant.codes == "local_and_global":
            shared = torch.einsum("bg,lgnw->lbnw", code[:, :_GLOBAL_PART], self.shared)
            layers = [layer + extra[:, base.net] for layer, extra in zip(layers, shared)]
        pairs = base.find_pairs(x.detach(), keypoints.detach())
        flat = x.reshape(-1, 3)
        place = flat.index_select(0, pairs.point)
        offset = place - keypoints.reshape(-1, 3).index_select(0, pairs.row)
        side = base.side[pairs.region]
        local = offset * side / base.radius[pairs.region, None] if self.variant.frames else 0.5 * place * side
        folded = [layer.flatten(0, 1).index_select(0, pairs.row) for layer in layers]
        feature = base.local_nets(local, folded, pairs.counts)
        total = batch * count
        weighted = feature * base.pair_weights(offset, pairs, total)[:, None]
        blended = weighted.new_zeros(total, weighted.shape[1]).index_add(0, pairs.point, weighted)
        if self.variant.fusion:
            sdf = base.fusion_net(flat, blended)
        else:  # far from every ball, as in the full model, a coarse field that depends on no code
            sdf = self.coarse(flat, torch.zeros_like(blended)) + blended[:, 0]
        return sdf.view(batch, count)


class DeepSdf(nn.Module):
    """One network for the whole head; the code enters the first layer and once more halfway."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.code_size = config.identity_size
        sizes = [3 + 6 * _DEEPSDF_OCTAVES] + [_DEEPSDF_WIDTH] * _DEEPSDF_HIDDEN + [1]
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(sizes)])
        self.codes = nn.ModuleList([nn.Linear(self.code_size, _DEEPSDF_WIDTH, bias=False) for _ in range(2)])

    def start(self, start: CodeStart) -> Tensor:
        """The first code of each training head (M, code_size)."""
        return start.z_id.clone()

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        h = encode(0.5 * x, _DEEPSDF_OCTAVES)
        for k, layer in enumerate(self.layers[:-1]):
            h = layer(h)
            if k in (0, _DEEPSDF_HIDDEN // 2):
                h = h + self.codes[min(k, 1)](code)[:, None]
            h = F.silu(h)
        distance: Tensor = self.layers[-1](h).squeeze(-1)
        return distance


def build(variant: Variant, config: ModelConfig) -> VariantNet | DeepSdf:
    """The network of a variant; `config` has the sizes that it shares with the full model."""
    return DeepSdf(config) if variant.codes == "global" else VariantNet(variant, config)


def _config(variant: Variant, config: ModelConfig) -> ModelConfig:
    values = dict(vars(config)) | {"blend": variant.blend, "region_code_size": variant.region_code_size}
    if not variant.fusion:
        values["feature_size"] = 1
    return ModelConfig(**values)
