"""Residuals of a fit and their derivatives: signed distances at scan points, and how each unknown moves them.

A point's distance depends only on its own pairs, so one backward pass through per-pair copies of the folded codes gives
every point's own derivative. The chain to z_id, the offsets and the expression is linear from there, so a step needs
no more than the derivatives by the region codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from imhead.conventions import MODEL_UNIT_MM
from imhead.model.head import HeadModel
from imhead.parallel import chunks, side_by_side
from imhead.regions import REGION_COUNT

_LEAST = 500  # points that are worth a thread: each goes forth and back through the networks


@dataclass(frozen=True, eq=False)
class Codes:
    """The unknowns of a head, one of each."""

    z_id: Tensor
    """(256,)."""
    weights: Tensor
    """(52,) ARKit weights."""
    offsets: Tensor
    """(39, 64)."""


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
    """(N, 39·64), or None where it was not asked for."""


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """The same derivatives by what the codes unfold into: a point hears only the regions whose ball holds it."""

    sdf_mm: Tensor
    """(N,)."""
    point: Tensor
    """(N, 3) derivative by the point: mm per mm."""
    weights: Tensor
    """(N, 52)."""
    warp_identity: Tensor
    """(N, 32): by what the warp sees of z_id."""
    region: Tensor
    """(P, 64): by the code of a pair's region. Pairs are sorted by region."""
    pair_point: Tensor
    """(P,) the point of each pair."""
    counts: list[int]
    """Pairs of each of the 39 regions; sums to P."""


def sensitivity(net: HeadModel, codes: Codes, points_mm: Tensor) -> Sensitivity:
    """Distances and derivatives at head-frame points (N, 3) in mm, for the `local` and the `paper` blend alike."""
    parts = chunks(points_mm, _LEAST)
    found = list(side_by_side(lambda part: _of_chunk(net, codes, part), parts, points_mm.device))
    return found[0] if len(found) == 1 else _joined(found)


def _joined(parts: list[Sensitivity]) -> Sensitivity:
    """The points one after the other, their pairs sorted by region again."""
    before = np.cumsum([0, *(len(part.sdf_mm) for part in parts)]).tolist()
    regions = zip(*(part.region.split(part.counts) for part in parts))
    points = zip(*((part.pair_point + first).split(part.counts) for part, first in zip(parts, before)))
    return Sensitivity(
        torch.cat([part.sdf_mm for part in parts]),
        torch.cat([part.point for part in parts]),
        torch.cat([part.weights for part in parts]),
        torch.cat([part.warp_identity for part in parts]),
        torch.cat([rows for region in regions for rows in region]),
        torch.cat([rows for region in points for rows in region]),
        [sum(counts) for counts in zip(*(part.counts for part in parts))],
    )


def _of_chunk(net: HeadModel, codes: Codes, points_mm: Tensor) -> Sensitivity:
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
    counts = torch.bincount(pairs.region, minlength=REGION_COUNT).tolist()
    with torch.no_grad():
        by_code = x.new_zeros(())
        for ds, dt, scale, shift in zip(d_scale, d_shift, net.warp.scale.parameters(), net.warp.shift.parameters()):
            by_code = by_code + ds @ scale + dt @ shift
        expression = net.config.expression_size
        by_weights = by_code[:, :expression] @ net.warp.arkit.T
        by_region: list[Tensor] = []
        for region, (center, *code_gradients) in enumerate(
            zip(d_center.split(counts), *(gradient.split(counts) for gradient in d_folded))
        ):
            k = net.net[region]
            part = center @ (net.keypoint_net.weight[k] * net.keypoint_net.flip[region]).T
            for gradient, code in zip(code_gradients, net.local_nets.code_weights):
                part = part + gradient @ code[k].T
            by_region.append(part)
    mm = MODEL_UNIT_MM
    return Sensitivity(
        sdf.detach() * mm, d_x, by_weights * mm, by_code[:, expression:] * mm, torch.cat(by_region) * mm,
        pairs.point, counts,
    )  # fmt: skip


def linearize(net: HeadModel, codes: Codes, points_mm: Tensor, with_offsets: bool = False) -> Linearization:
    """Every derivative of every point (N, 3) in mm, written out. The slow reference of `normal_equations`."""
    line = sensitivity(net, codes, points_mm)
    size = net.config.region_code_size
    with torch.no_grad():
        by_offsets = line.region.new_zeros(len(points_mm), REGION_COUNT, size)
        for region, (rows, part) in enumerate(zip(line.pair_point.split(line.counts), line.region.split(line.counts))):
            by_offsets[rows, region] = part
        by_identity = line.warp_identity @ net.warp.identity.weight
        by_identity = by_identity + torch.einsum("nrc,irc->ni", by_offsets, net.decnet.weight)
    return Linearization(
        line.sdf_mm, line.point, by_identity, line.weights, by_offsets.flatten(1) if with_offsets else None
    )


def normal_equations(
    net: HeadModel, line: Sensitivity, twist: Tensor, weight: Tensor, with_offsets: bool
) -> tuple[Tensor, Tensor]:
    """JᵀWJ (U, U) and JᵀWr (U,), float64, of the residuals `line.sdf_mm`.

    The unknowns U are the pose's, the 52 weights and z_id or, `with_offsets`, the pose's and the region offsets.

    Args:
        twist: (N, 6 or 7) derivatives by the pose.
        weight: (N,) of each point.
    """
    sought = _of_offsets if with_offsets else partial(_of_identity, net)
    # many small products, which two threads would only hinder
    ((hessian, gradient),) = side_by_side(sought, [(line, twist, weight)], weight.device)
    return hessian.double(), gradient.double()


@torch.no_grad()
def _of_identity(net: HeadModel, part: tuple[Sensitivity, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """JᵀWJ and JᵀWr of points, their twist and their weight, by pose, weights and z_id."""
    line, twist, weight = part
    by_identity = line.warp_identity @ net.warp.identity.weight
    pairs = zip(line.pair_point.split(line.counts), line.region.split(line.counts), net.decnet.weight.unbind(dim=1))
    for points, by_code, unfold in pairs:
        by_identity.index_add_(0, points, by_code @ unfold.T)
    every = torch.cat([twist, line.weights, by_identity], dim=1)
    return every.T @ (every * weight[:, None]), every.T @ (weight * line.sdf_mm)


@torch.no_grad()
def _of_offsets(part: tuple[Sensitivity, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The same by pose and region offsets, J never written out: two regions meet only at the points that both hold."""
    line, twist, weight = part
    first, size = twist.shape[1], line.region.shape[1]
    total = first + REGION_COUNT * size
    hessian, gradient = twist.new_zeros(total, total), twist.new_zeros(total)
    pulled = weight * line.sdf_mm
    hessian[:first, :first] = twist.T @ (twist * weight[:, None])
    gradient[:first] = twist.T @ pulled
    # of each region and point, the row of their pair
    row_of = torch.full((REGION_COUNT, len(twist)), -1, device=twist.device)
    region = torch.repeat_interleave(
        torch.arange(REGION_COUNT, device=twist.device), torch.tensor(line.counts, device=twist.device)
    )
    row_of[region, line.pair_point] = torch.arange(len(region), device=twist.device)
    points, parts = line.pair_point.split(line.counts), line.region.split(line.counts)
    for j in range(REGION_COUNT):
        here = slice(first + j * size, first + (j + 1) * size)
        weighted = parts[j] * weight.index_select(0, points[j])[:, None]
        gradient[here] = parts[j].T @ pulled.index_select(0, points[j])
        hessian[here, :first] = weighted.T @ twist.index_select(0, points[j])
        hessian[:first, here] = hessian[here, :first].T
        rows = row_of[: j + 1].index_select(1, points[j])
        other, place = (rows >= 0).nonzero(as_tuple=True)
        shared = torch.bincount(other, minlength=j + 1).tolist()
        mine = weighted.index_select(0, place).split(shared)
        theirs = line.region.index_select(0, rows[other, place]).split(shared)
        for k in (k for k, amount in enumerate(shared) if amount):
            there = slice(first + k * size, first + (k + 1) * size)
            hessian[here, there] = mine[k].T @ theirs[k]
            hessian[there, here] = hessian[here, there].T
    return hessian, gradient


def geman_mcclure(residual: Tensor, scale: float) -> Tensor:
    """IRLS weights (N,) in (0, 1] of residuals under the Geman-McClure loss: 1 at zero, falling as residual⁻⁴."""
    return (scale**2 / (scale**2 + residual.square())).square()
