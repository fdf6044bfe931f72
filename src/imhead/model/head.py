"""The whole forward pass.

    z_id (B, 256) ──DecNet──► z_j (B, 39, 64) + δ_j ──KeypointNet──► k_j (B, 39, 3)
    x_obs (B, N, 3) ──ExpressionWarp(z_id, z_exp)──► x_can, seal
    every pair (point, region) with ‖x_can − k_j‖ < ρ_j ──local net of j──► f_j
    Σ_j w_j f_j ──FusionNet(x_can, ·)──► canonical distance (B, N); less the seal, the signed distance
    z_id ──EyeNet──► two eyeballs (B, 2, 5), analytic solids in mm (surfaces/eyeballs.py)

All but the last line is the skin alone; `isosurface.field.HeadField.sdf` unites it with the eyeballs, and with
the septum between the nostrils (`model/septum.py`). There x_can of a fitted head is first displaced by what its codes
leave over of the scan (`isosurface/residual.py`).
Lengths are model units (conventions.MODEL_UNIT_MM). B heads, N points, R = 39 regions, P point-region pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imhead.conventions import MODEL_UNIT_MM
from imhead.model.config import ModelConfig
from imhead.model.decnet import DecNet
from imhead.model.expression import ExpressionWarp
from imhead.model.eyes import EyeNet
from imhead.model.fusion import COVERAGE_FLOOR, FusionNet, wendland
from imhead.model.keypoints import KeypointNet
from imhead.model.local_nets import LocalNets, encode
from imhead.regions import MIRROR, NET_COUNT, NET_OF_REGION, RADII_MM, REGION_COUNT, SIDE


@dataclass(frozen=True, eq=False)
class Regional:
    """Quantities that are constant per head, computed from z_id and the region offsets."""

    z: Tensor
    """(B, 39, 64) region codes, offsets included."""
    keypoints: Tensor
    """(B, 39, 3) centres of the balls, model units."""
    folded: list[Tensor]
    """Per code layer of the local networks, what the codes add to it: (B, 39, width) each."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Point-region pairs with a non-zero weight, sorted by region and hence by network."""

    point: Tensor
    """(P,) row in the flattened (B·N) points."""
    row: Tensor
    """(P,) row in the flattened (B·39) regions."""
    region: Tensor
    """(P,) region."""
    counts: list[int]
    """Pairs of each of the 23 networks; sums to P."""


class HeadModel(nn.Module):
    """An implicit head: codes and points in, signed distance out."""

    radius: Tensor
    net: Tensor
    side: Tensor
    mirror: Tensor
    identity_parity: Tensor
    region_parity: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.decnet = DecNet(config.identity_size, config.region_code_size)
        self.keypoint_net = KeypointNet(config.region_code_size)
        self.local_nets = LocalNets(config)
        self.fusion_net = FusionNet(config)
        self.warp = ExpressionWarp(config)
        self.eye_net = EyeNet(config)
        side = torch.ones(REGION_COUNT, 3)
        side[torch.from_numpy(SIDE < 0), 0] = -1.0
        self.register_buffer("radius", torch.from_numpy(RADII_MM / MODEL_UNIT_MM).float())
        self.register_buffer("side", side, persistent=False)
        self.register_buffer("net", torch.from_numpy(NET_OF_REGION), persistent=False)
        self.register_buffer("mirror", torch.from_numpy(MIRROR), persistent=False)
        # ±1 per code dimension: signs of the codes under mirroring (pairs also swap)
        self.register_buffer("identity_parity", torch.ones(config.identity_size))
        self.register_buffer("region_parity", torch.ones(REGION_COUNT, config.region_code_size))

    def regional(self, z_id: Tensor, offsets: Tensor | None = None) -> Regional:
        """Decode z_id (B, 256), with region offsets δ (B, 39, 64) if given."""
        z = self.decnet(z_id)
        if offsets is not None:
            z = z + offsets
        return Regional(z, self.keypoint_net(z), self.local_nets.fold(z))

    def canonical(self, x: Tensor, z_id: Tensor, z_exp: Tensor) -> tuple[Tensor, Tensor]:
        """Observed points (B, N, 3) → canonical points (B, N, 3) and seal (B, N), for codes (B, 256) and (B, 64)."""
        folded = [(scale[:, None], shift[:, None]) for scale, shift in self.warp.fold(z_id, z_exp)]
        places: tuple[Tensor, Tensor] = self.warp(x, folded)
        return places

    def in_balls(self, x: Tensor, keypoints: Tensor, radius: Tensor) -> Tensor:
        """(B, R, N) True where balls (B, R, 3) of radius (R,) hold canonical points (B, N, 3) (`paper`: everywhere)."""
        if self.config.blend == "local":
            return torch.cdist(keypoints, x, compute_mode="donot_use_mm_for_euclid_dist") < radius[:, None]
        return torch.ones(*keypoints.shape[:2], x.shape[1], dtype=torch.bool, device=x.device)

    def find_pairs(self, x: Tensor, keypoints: Tensor) -> Pairs:
        """The pairs of canonical points (B, N, 3) with regions whose ball holds them (`paper`: all pairs)."""
        count = x.shape[1]
        region, head, point = self.in_balls(x, keypoints, self.radius).transpose(0, 1).nonzero(as_tuple=True)
        counts = torch.bincount(self.net[region], minlength=NET_COUNT).tolist()
        return Pairs(head * count + point, head * REGION_COUNT + region, region, counts)

    def pair_weights(self, offset: Tensor, pairs: Pairs, total: int) -> Tensor:
        """Normalised blend weights (P,) from x − k_j (P, 3), for `total` points."""
        distance = torch.linalg.vector_norm(offset, dim=-1)
        if self.config.blend == "local":
            weight = wendland(distance / self.radius[pairs.region])
            floor = COVERAGE_FLOOR
        else:
            # each point's largest exponent is subtracted, the usual stable softmax
            logit = -distance * (MODEL_UNIT_MM / self.config.softmax_sigma_mm)
            top = torch.full((total,), -torch.inf, dtype=logit.dtype, device=logit.device)
            top = top.scatter_reduce(0, pairs.point, logit.detach(), "amax")
            weight = torch.exp(logit - top[pairs.point])
            floor = 0.0
        summed = torch.zeros(total, dtype=weight.dtype, device=weight.device).index_add(0, pairs.point, weight)
        return weight / (summed + floor).index_select(0, pairs.point)

    def features(self, offset: Tensor, folded: list[Tensor], pairs: Pairs, total: int) -> Tensor:
        """Σ_j w_j f_j (total, feature) from x − k_j (P, 3) and each pair's folded codes (P, width)."""
        return self.blend(self.pair_features(offset, folded, pairs), offset, pairs, total)

    def pair_features(self, offset: Tensor, folded: list[Tensor], pairs: Pairs) -> Tensor:
        """f_j (P, feature) from x − k_j (P, 3) and each pair's folded codes (P, width)."""
        local = offset * self.side[pairs.region] / self.radius[pairs.region, None]
        return self.local_nets(local, folded, pairs.counts)

    def blend(self, feature: Tensor, offset: Tensor, pairs: Pairs, total: int) -> Tensor:
        """Σ_j w_j f_j (total, feature) from f_j (P, feature) and x − k_j (P, 3), summed in the order of the pairs."""
        weighted = feature * self.pair_weights(offset, pairs, total)[:, None]
        summed = torch.zeros(total, weighted.shape[1], dtype=weighted.dtype, device=weighted.device)
        return summed.index_add(0, pairs.point, weighted)

    def canonical_sdf(self, x: Tensor, regional: Regional) -> Tensor:
        """Signed distance (B, N) at canonical points (B, N, 3), evaluating only regions whose ball holds a point."""
        batch, count, _ = x.shape
        flat = x.reshape(-1, 3)
        pairs = self.find_pairs(x.detach(), regional.keypoints.detach())
        # index_select, not x[rows]: its backward is several times faster on a CPU
        offset = flat.index_select(0, pairs.point) - regional.keypoints.reshape(-1, 3).index_select(0, pairs.row)
        folded = [layer.flatten(0, 1).index_select(0, pairs.row) for layer in regional.folded]
        blended = self.features(offset, folded, pairs, batch * count)
        return self.fusion_net(flat, blended).view(batch, count)

    def forward(self, x: Tensor, z_id: Tensor, z_exp: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Signed distance (B, N) at observed points x (B, N, 3)."""
        canonical, seal = self.canonical(x, z_id, z_exp)
        return self.canonical_sdf(canonical, self.regional(z_id, offsets)) - seal

    def canonical_sdf_reference(self, x: Tensor, regional: Regional) -> Tensor:
        """`canonical_sdf`, slow and obvious: every region at every point, one after the other."""
        nets = self.local_nets
        weights: list[Tensor] = []
        features: list[Tensor] = []
        for j in range(REGION_COUNT):
            k = int(self.net[j])
            offset = x - regional.keypoints[:, None, j]
            distance = torch.linalg.vector_norm(offset, dim=-1)
            if self.config.blend == "local":
                weights.append(wendland(distance / self.radius[j]))
            else:
                weights.append(torch.exp(-distance * MODEL_UNIT_MM / self.config.softmax_sigma_mm))
            h = encode(offset * self.side[j] / self.radius[j], nets.frequencies)
            for layer, (weight, bias) in enumerate(zip(nets.weights, nets.biases)):
                h = h @ weight[k] + bias[k]
                if layer < len(nets.code_weights):
                    h = h + (regional.z[:, j] @ nets.code_weights[layer][k])[:, None]
                if layer < len(nets.weights) - 1:
                    h = h * torch.sigmoid(h)
            features.append(h)
        weight = torch.stack(weights, dim=-1)  # (B, N, 39)
        floor = COVERAGE_FLOOR if self.config.blend == "local" else 0.0
        weight = weight / (weight.sum(dim=-1, keepdim=True) + floor)
        blended = torch.einsum("bnr,bnrf->bnf", weight, torch.stack(features, dim=-2))
        return self.fusion_net(x, blended)

    def mirror_codes(self, z_id: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of the mirrored head: pairs swap, antisymmetric dimensions change sign. Its own inverse."""
        return z_id * self.identity_parity, offsets[..., self.mirror, :] * self.region_parity
