"""Residuals of a fit and their derivatives: signed distances at scan points, and how each unknown moves them.

A point's distance depends only on its own pairs, so one backward pass through per-pair copies of the folded codes gives
every point's own derivative. The chain to z_id, the offsets and the expression is linear from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imhead.conventions import MODEL_UNIT_MM
from imhead.model.head import HeadModel
from imhead.regions import REGION_COUNT


@dataclass(frozen=True, eq=False)
class Codes:
    """The unknowns of a head, one of each."""

    z_id: Tensor
    """(256,)."""
    weights: Tensor
    """(52,) ARKit weights."""
    offsets: Tensor
    """(39, 32)."""


@dataclass(frozen=True, eq=False)
class Linearization:
    """Signed distances at N points and their derivatives, in mm per unit of each unknown."""

    sdf_mm: Tensor
    """(N,)."""
    point: Tensor
    """(N, 3) derivative by the point: mm per mm."""
    z_id: Tensor
    """(N, 256)."""
    weights: Tensor
    """(N, 52)."""
    offsets: Tensor | None
    """(N, 39·32), or None where it was not asked for."""


def linearize(net: HeadModel, codes: Codes, points_mm: Tensor, with_offsets: bool = False) -> Linearization:
    """Distances and derivatives at head-frame points (N, 3) in mm, for the `local` and the `paper` blend alike."""
    count = len(points_mm)
    with torch.no_grad():
        z_exp = net.warp.code(codes.weights[None])
        warp = net.warp.fold(codes.z_id[None], z_exp)
        regional = net.regional(codes.z_id[None], codes.offsets[None])
    x = (points_mm / MODEL_UNIT_MM).requires_grad_(True)
    scales = [s.expand(count, -1).clone().requires_grad_(True) for s, _ in warp]
    shifts = [t.expand(count, -1).clone().requires_grad_(True) for _, t in warp]
    with torch.enable_grad():
        canonical, seal = net.warp(x, list(zip(scales, shifts)))
        pairs = net.find_pairs(canonical.detach()[None], regional.keypoints)
        centers = regional.keypoints[0].index_select(0, pairs.region).requires_grad_(True)
        folded = [layer[0].index_select(0, pairs.region).requires_grad_(True) for layer in regional.folded]
        offset = canonical.index_select(0, pairs.point) - centers
        sdf = net.fusion_net(canonical, net.features(offset, folded, pairs, count)) - seal
        gradients = torch.autograd.grad(sdf.sum(), [x, *scales, *shifts, centers, *folded], materialize_grads=True)
    layers = len(scales)
    d_x, d_scale, d_shift = gradients[0], gradients[1 : 1 + layers], gradients[1 + layers : 1 + 2 * layers]
    d_center, d_folded = gradients[1 + 2 * layers], gradients[2 + 2 * layers :]
    with torch.no_grad():
        by_code = sum(
            (
                ds @ scale + dt @ shift
                for ds, dt, scale, shift in zip(
                    d_scale, d_shift, net.warp.scale.parameters(), net.warp.shift.parameters()
                )
            ),
            torch.zeros((), device=x.device),
        )
        expression = net.config.expression_size
        by_weights = by_code[:, :expression] @ net.warp.arkit.T
        by_identity = by_code[:, expression:] @ net.warp.identity.weight
        size = net.config.region_code_size
        by_offsets = x.new_zeros(count, REGION_COUNT * size) if with_offsets else None
        start = 0
        for region, amount in enumerate(torch.bincount(pairs.region, minlength=REGION_COUNT).tolist()):
            rows = slice(start, start + amount)
            start += amount
            k = net.net[region]
            by_region = d_center[rows] @ (net.keypoint_net.weight[k] * net.keypoint_net.flip[region]).T
            for gradient, code in zip(d_folded, net.local_nets.code_weights):
                by_region = by_region + gradient[rows] @ code[k].T
            by_identity.index_add_(0, pairs.point[rows], by_region @ net.decnet.weight[:, region].T)
            if by_offsets is not None:
                by_offsets[pairs.point[rows], region * size : (region + 1) * size] = by_region
    mm = MODEL_UNIT_MM
    return Linearization(
        sdf.detach() * mm, d_x, by_identity * mm, by_weights * mm, None if by_offsets is None else by_offsets * mm
    )


def geman_mcclure(residual: Tensor, scale: float) -> Tensor:
    """IRLS weights (N,) in (0, 1] of residuals under the Geman-McClure loss: 1 at zero, falling as residual⁻⁴."""
    return (scale**2 / (scale**2 + residual.square())).square()
