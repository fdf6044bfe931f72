"""Residuals of a fit and their Jacobian: signed distances at scan points, and their derivatives by each unknown.

A point's distance depends only on its own point-region pairs, so one backward pass through a copy of the folded codes
for each pair gives every point's own derivatives. From the region codes on, the chain rule to z_id, offsets and
expression is linear.

Shape legend: N points, P point-region pairs, U unknowns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from imhead.conventions import MODEL_UNIT_MM
from imhead.isosurface.residual import residual_map
from imhead.model.head import HeadModel
from imhead.parallel import chunks, side_by_side
from imhead.regions import REGION_COUNT
from imhead.types import Residual

_MIN_CHUNK = 500  # points that are worth a thread: each takes a forward and a backward pass


@dataclass(frozen=True, eq=False)
class Codes:
    """The unknowns of one head."""

    z_id: Tensor
    """(256,)."""
    weights: Tensor
    """(52,) ARKit weights."""
    offsets: Tensor
    """(39, 64)."""
    residual: Residual | None = None
    """What codes left over of earlier scans of this person: known, no unknown."""


@dataclass(frozen=True, eq=False)
class DenseJacobian:
    """Signed distances at N points and their derivatives by every unknown, mm per unit."""

    sdf_mm: Tensor
    """(N,)."""
    point: Tensor
    """(N, 3) derivative by the point: mm per mm."""
    z_id: Tensor
    """(N, 256)."""
    weights: Tensor
    """(N, 52)."""
    offsets: Tensor | None
    """(N, 39·64), or None if left out."""


@dataclass(frozen=True, eq=False)
class PairJacobian:
    """Signed distances at N points and their derivatives by the region codes: one row for each region whose ball holds
    the point, since all others are zero."""

    sdf_mm: Tensor
    """(N,)."""
    point: Tensor
    """(N, 3) derivative by the point: mm per mm."""
    weights: Tensor
    """(N, 52)."""
    warp_identity: Tensor
    """(N, 32): by the part of z_id that the expression warp depends on."""
    region: Tensor
    """(P, 64): by the code of the pair's region. Pairs are sorted by region."""
    pair_point: Tensor
    """(P,) row of the point of each pair."""
    counts: list[int]
    """Pairs of each of the 39 regions; sums to P."""


def pair_jacobian(net: HeadModel, codes: Codes, points_mm: Tensor) -> PairJacobian:
    """Distances and derivatives at head-frame points (N, 3) in mm, for the `local` and the `paper` blend alike."""
    parts = chunks(points_mm, _MIN_CHUNK)
    found = list(side_by_side(lambda part: _chunk_jacobian(net, codes, part), parts, points_mm.device))
    return found[0] if len(found) == 1 else _concatenated(found)


def distances_mm(net: HeadModel, codes: Codes, points_mm: Tensor) -> Tensor:
    """(N,) the distances of `pair_jacobian` without derivatives, which take twice as long again."""
    with torch.no_grad():
        warp = net.warp.fuse(codes.z_id[None], net.warp.code(codes.weights[None]))
        regional = net.regional(codes.z_id[None], codes.offsets[None])

    @torch.no_grad()  # threads do not inherit the caller's gradient mode
    def of_part(part: Tensor) -> Tensor:
        """(n,) of the points (n, 3) of a chunk."""
        canonical, seal = net.warp.of_one_head(part / MODEL_UNIT_MM, warp)
        if codes.residual is not None:
            canonical = residual_map(codes.residual, part.device)(canonical)
        distance: Tensor = net.canonical_sdf(canonical[None], regional)[0] - seal
        return distance * MODEL_UNIT_MM

    return torch.cat(list(side_by_side(of_part, chunks(points_mm, _MIN_CHUNK), points_mm.device)))


def _concatenated(parts: list[PairJacobian]) -> PairJacobian:
    """The points of all parts in order, their pairs sorted by region again."""
    first_rows = np.cumsum([0, *(len(part.sdf_mm) for part in parts)]).tolist()
    regions = zip(*(part.region.split(part.counts) for part in parts))
    points = zip(*((part.pair_point + first).split(part.counts) for part, first in zip(parts, first_rows)))
    return PairJacobian(
        torch.cat([part.sdf_mm for part in parts]),
        torch.cat([part.point for part in parts]),
        torch.cat([part.weights for part in parts]),
        torch.cat([part.warp_identity for part in parts]),
        torch.cat([rows for region in regions for rows in region]),
        torch.cat([rows for region in points for rows in region]),
        [sum(counts) for counts in zip(*(part.counts for part in parts))],
    )


def _chunk_jacobian(net: HeadModel, codes: Codes, points_mm: Tensor) -> PairJacobian:
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
        if codes.residual is not None:
            canonical = residual_map(codes.residual, x.device)(canonical)
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
    return PairJacobian(
        sdf.detach() * mm, d_x, by_weights * mm, by_code[:, expression:] * mm, torch.cat(by_region) * mm,
        pairs.point, counts,
    )  # fmt: skip


def dense_jacobian(net: HeadModel, codes: Codes, points_mm: Tensor, with_offsets: bool = False) -> DenseJacobian:
    """The whole Jacobian at points (N, 3) in mm: the slow reference of `normal_equations`."""
    pairs = pair_jacobian(net, codes, points_mm)
    size = net.config.region_code_size
    with torch.no_grad():
        by_offsets = pairs.region.new_zeros(len(points_mm), REGION_COUNT, size)
        by_region = zip(pairs.pair_point.split(pairs.counts), pairs.region.split(pairs.counts))
        for region, (rows, part) in enumerate(by_region):
            by_offsets[rows, region] = part
        by_identity = pairs.warp_identity @ net.warp.identity.weight
        by_identity = by_identity + torch.einsum("nrc,irc->ni", by_offsets, net.decnet.weight)
    return DenseJacobian(
        pairs.sdf_mm, pairs.point, by_identity, pairs.weights, by_offsets.flatten(1) if with_offsets else None
    )


def normal_equations(
    net: HeadModel, jacobian: PairJacobian, by_pose: Tensor, weight: Tensor, with_offsets: bool
) -> tuple[Tensor, Tensor]:
    """JᵀWJ (U, U) and JᵀWr (U,), float64, of the residuals `jacobian.sdf_mm`.

    Args:
        net: the model.
        jacobian: at N points.
        by_pose: (N, 6 or 7) derivatives by the pose.
        weight: (N,) robust weight of each point.
        with_offsets: the unknowns are pose and region offsets; else pose, the 52 weights and z_id.
    """
    equations = _offset_equations if with_offsets else partial(_identity_equations, net)
    # on one thread: many small products, which two threads would only slow down
    ((hessian, gradient),) = side_by_side(equations, [(jacobian, by_pose, weight)], weight.device)
    return hessian.double(), gradient.double()


@torch.no_grad()
def _identity_equations(net: HeadModel, system: tuple[PairJacobian, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """JᵀWJ and JᵀWr by pose, weights and z_id."""
    pairs, by_pose, weight = system
    by_identity = pairs.warp_identity @ net.warp.identity.weight
    by_region = zip(
        pairs.pair_point.split(pairs.counts), pairs.region.split(pairs.counts), net.decnet.weight.unbind(dim=1)
    )
    for points, by_code, decoder in by_region:
        by_identity.index_add_(0, points, by_code @ decoder.T)
    jacobian = torch.cat([by_pose, pairs.weights, by_identity], dim=1)
    return jacobian.T @ (jacobian * weight[:, None]), jacobian.T @ (weight * pairs.sdf_mm)


@torch.no_grad()
def _offset_equations(system: tuple[PairJacobian, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """JᵀWJ and JᵀWr by pose and region offsets, without J: two regions share only the points that both balls hold."""
    pairs, by_pose, weight = system
    pose_size, code_size = by_pose.shape[1], pairs.region.shape[1]
    total = pose_size + REGION_COUNT * code_size
    hessian, gradient = by_pose.new_zeros(total, total), by_pose.new_zeros(total)
    weighted_residual = weight * pairs.sdf_mm
    hessian[:pose_size, :pose_size] = by_pose.T @ (by_pose * weight[:, None])
    gradient[:pose_size] = by_pose.T @ weighted_residual
    # row of the pair of each region and point, -1 where there is none
    pair_row = torch.full((REGION_COUNT, len(by_pose)), -1, device=by_pose.device)
    region = torch.repeat_interleave(
        torch.arange(REGION_COUNT, device=by_pose.device), torch.tensor(pairs.counts, device=by_pose.device)
    )
    pair_row[region, pairs.pair_point] = torch.arange(len(region), device=by_pose.device)
    points, by_code = pairs.pair_point.split(pairs.counts), pairs.region.split(pairs.counts)
    for j in range(REGION_COUNT):
        block_j = slice(pose_size + j * code_size, pose_size + (j + 1) * code_size)
        weighted = by_code[j] * weight.index_select(0, points[j])[:, None]
        gradient[block_j] = by_code[j].T @ weighted_residual.index_select(0, points[j])
        hessian[block_j, :pose_size] = weighted.T @ by_pose.index_select(0, points[j])
        hessian[:pose_size, block_j] = hessian[block_j, :pose_size].T
        rows = pair_row[: j + 1].index_select(1, points[j])
        other, place = (rows >= 0).nonzero(as_tuple=True)
        shared = torch.bincount(other, minlength=j + 1).tolist()
        weighted_j = weighted.index_select(0, place).split(shared)
        by_code_k = pairs.region.index_select(0, rows[other, place]).split(shared)
        for k in (k for k, count in enumerate(shared) if count):
            block_k = slice(pose_size + k * code_size, pose_size + (k + 1) * code_size)
            hessian[block_j, block_k] = weighted_j[k].T @ by_code_k[k]
            hessian[block_k, block_j] = hessian[block_j, block_k].T
    return hessian, gradient


def geman_mcclure(residual: Tensor, scale: float) -> Tensor:
    """Robust weights (N,) in (0, 1] of residuals under the Geman-McClure loss: 1 at zero, falling as residual⁻⁴."""
    return (scale**2 / (scale**2 + residual.square())).square()
