"""PCA start: identity codes, region codes and the linear maps between them, from registered heads.

Random codes do not separate 2 000 identities after 1 600 steps; PCA codes do from the first step. Every basis is split
into symmetric and antisymmetric directions, so that mirroring a head only changes signs of its codes.

The identity code depends on the normal component of each vertex offset. A tangential offset is a choice of the
registration: it does not change the surface, and no scan shows it (docs/decisions/0030).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imhead.conventions import FACE_RADIUS_MM, MODEL_UNIT_MM
from imhead.model.config import ModelConfig
from imhead.model.fusion import wendland
from imhead.model.head import HeadModel
from imhead.regions import CENTERS_MM, NET_COUNT, RADII_MM, REGIONS
from imhead.sources.ict import IctModel
from imhead.surfaces.properties import face_cross
from imhead.surfaces.visibility import visible_faces
from imhead.training.samples import sampling_density
from imhead.types import FloatArray, IntArray, Mesh

_FACE_WEIGHT = 10.0
"""Weight of the face in the identity code, per area, relative to the rest of the head."""


@dataclass(frozen=True, eq=False)
class CodeStart:
    """Codes and linear maps that training starts from."""

    z_id: Tensor
    """(M, 256) whitened identity code of each head."""
    parity: Tensor
    """(256,) ±1: symmetric or antisymmetric dimension."""
    decnet: Tensor
    """(256, 39, 64) identity code → region codes."""
    region_parity: Tensor
    """(39, 64) ±1, for the midline regions."""
    keypoints: Tensor
    """(23, 64, 3) region code → keypoint offset, model units."""
    code_scale: Tensor
    """(23, 64) standard deviation along each code dimension, relative to the largest."""
    explained: float
    """Fraction of the region codes' variance that z_id explains through DecNet."""


@dataclass(frozen=True, eq=False)
class _Basis:
    rows: Tensor
    """(D, K) whitening projection: data @ rows has unit variance."""
    variance: Tensor
    parity: Tensor


def mirror_offsets(offsets: Tensor, mirror: Tensor) -> Tensor:
    """Offsets (M, V, 3) of the mirrored heads."""
    return offsets[:, mirror] * torch.tensor([-1.0, 1.0, 1.0])


def _pca(data: Tensor, size: int) -> tuple[Tensor, Tensor]:
    # uncentred on purpose: zero code must stay the mean head
    _, sigma, basis = torch.svd_lowrank(data, q=min(size + 16, *data.shape), niter=3)
    variance = sigma[:size] ** 2 / len(data)
    # whitening would amplify directions that hold nothing but rounding errors
    kept = variance > 1e-7 * variance[0].clamp(min=1e-12)
    return basis[:, : len(variance)] * kept, torch.where(kept, variance, torch.ones_like(variance) * variance[0] * 1e-7)


def _split_pca(data: Tensor, mirrored: Tensor, size: int) -> _Basis:
    even, odd = 0.5 * (data + mirrored), 0.5 * (data - mirrored)
    bases, variances, signs = [], [], []
    for part, sign in ((even, 1.0), (odd, -1.0)):
        basis, variance = _pca(part, size)
        bases.append(basis)
        variances.append(variance)
        signs.append(torch.full((len(variance),), sign))
    variance = torch.cat(variances)
    order = variance.argsort(descending=True)[:size]
    kept = variance[order].clamp(min=1e-12)
    return _Basis(torch.cat(bases, dim=1)[:, order] / kept.sqrt(), kept, torch.cat(signs)[order])


def keypoint_weights(mean: FloatArray) -> FloatArray:
    """(39, V) weights, rows summing to one: a keypoint moves with the vertices within half the radius of its ball."""
    distance = np.linalg.norm(mean[None] - CENTERS_MM[:, None], axis=2)
    reach = np.maximum(0.5 * RADII_MM, np.sort(distance, axis=1)[:, 12])
    weight = wendland(torch.from_numpy(distance / reach[:, None])).numpy()
    result: FloatArray = weight / weight.sum(axis=1, keepdims=True)
    return result


def seen_faces(ict: IctModel) -> IntArray:
    """Faces (F, 3) of ICT's head that are visible from outside."""
    faces: IntArray = np.concatenate([ict.skin_faces, ict.eye_faces])
    return faces[visible_faces(Mesh(ict.mean, faces))]


def surface_metric(ict: IctModel) -> FloatArray:
    """(V, 3) vertex normals, each as long as the square root of the vertex's weight.

    The weight is the visible area at the vertex, higher on the face (`_FACE_WEIGHT`) and where regions are small. A
    hidden vertex has weight 0.
    """
    mean, faces = ict.mean.astype(np.float64), seen_faces(ict)
    area = np.zeros_like(mean)
    np.add.at(area, faces.reshape(-1), np.repeat(face_cross(mean, faces) / 6.0, 3, axis=0))
    area = 0.5 * (area + area[ict.mirror] * [-1.0, 1.0, 1.0])
    face = np.linalg.norm(mean - mean[mean[:, 2].argmax()], axis=1) < FACE_RADIUS_MM
    area *= (np.where(face, _FACE_WEIGHT, 1.0) * np.sqrt(sampling_density(mean)))[:, None]
    metric: FloatArray = area / np.sqrt(np.linalg.norm(area, axis=1, keepdims=True)).clip(1e-12)
    return metric


def identity_codes(ict: IctModel, offsets: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Whitened identity codes (M, size) of registered heads, and the parity (size,) of their dimensions.

    Args:
        ict: the common topology, with its mean head.
        offsets: (M, V, 3) offsets of each head from the canonical mean head, mm.
    """
    metric = torch.from_numpy(surface_metric(ict)).float()
    weighted = torch.einsum("mvc,vc->mv", offsets, metric)
    flipped = torch.einsum("mvc,vc->mv", mirror_offsets(offsets, torch.from_numpy(ict.mirror)), metric)
    basis = _split_pca(weighted, flipped, size)
    # with fewer heads than dimensions the last dimensions stay zero
    z, parity = torch.zeros(len(offsets), size), torch.ones(size)
    z[:, : basis.rows.shape[1]] = weighted @ basis.rows
    parity[: len(basis.parity)] = basis.parity
    return z, parity


def start_codes(ict: IctModel, offsets: Tensor, config: ModelConfig) -> CodeStart:
    """Codes of registered heads.

    Args:
        ict: the common topology, with its mean head.
        offsets: (M, V, 3) offsets of each head from the canonical mean head, mm.
    """
    torch.manual_seed(0)
    mean = (ict.mean + ict.canonical_offset).astype(np.float64)
    twin = torch.from_numpy(ict.mirror)
    heads = len(offsets)
    z, parity = identity_codes(ict, offsets, config.identity_size)
    points = torch.from_numpy(mean).float()
    shift = torch.from_numpy(keypoint_weights(mean)).float()
    size = config.region_code_size
    codes = torch.zeros(2, heads, len(REGIONS), size)  # of the heads, of their mirror images
    region_parity = torch.ones(len(REGIONS), size)
    keypoints = torch.zeros(NET_COUNT, size, 3)
    code_scale = torch.zeros(NET_COUNT, size)
    for region in (r for r in REGIONS if r.side >= 0):
        net = region.index // 2 if region.side else region.index - 16
        distance = (points - torch.tensor(region.center_mm)).norm(dim=1) / region.radius_mm
        inside = distance < 1.0
        weight = wendland(distance[inside]).sqrt()[:, None]
        own = (offsets[:, inside] * weight).flatten(1)
        mirrored = (mirror_offsets(offsets[:, twin[inside]], torch.arange(int(inside.sum()))) * weight).flatten(1)
        if region.side:
            basis, variance = _pca(torch.cat([own, mirrored]), size)
            rows = basis / variance.clamp(min=1e-12).sqrt()
        else:
            split = _split_pca(own, mirrored, size)
            rows, variance = split.rows, split.variance
            region_parity[region.index, : len(variance)] = split.parity
        width = rows.shape[1]
        code_scale[net, :width] = (variance / variance[0]).sqrt()
        codes[0, :, region.index, :width], codes[1, :, region.index, :width] = own @ rows, mirrored @ rows
        if region.side:
            codes[0, :, region.mirror, :width], codes[1, :, region.mirror, :width] = mirrored @ rows, own @ rows
        moved = torch.einsum("v,mvc->mc", shift[region.index], offsets) / MODEL_UNIT_MM
        moved_mirrored = torch.einsum("v,mvc->mc", shift[region.index], mirror_offsets(offsets, twin)) / MODEL_UNIT_MM
        keypoints[net] = ridge(codes[:, :, region.index].flatten(0, 1), torch.cat([moved, moved_mirrored]))
    both = torch.cat([z, z * parity])
    target = codes.flatten(0, 1).flatten(1)
    decnet = ridge(both, target)
    explained = 1.0 - float((both @ decnet - target).square().sum() / target.square().sum())
    return CodeStart(z, parity, decnet.view(-1, len(REGIONS), size), region_parity, keypoints, code_scale, explained)


def ridge(x: Tensor, y: Tensor) -> Tensor:
    """Ridge regression: the linear map (A, B) from rows of x (N, A) to rows of y (N, B)."""
    a = x.T.double() @ x.double()
    a += 1e-6 * len(x) * torch.eye(len(a), dtype=torch.float64)
    return torch.linalg.solve(a, x.T.double() @ y.double()).float()


@torch.no_grad()
def apply_start(model: HeadModel, start: CodeStart) -> None:
    """Write the linear maps into a new model, and scale the local networks' code weights by `code_scale`."""
    model.decnet.weight.copy_(start.decnet)
    model.keypoint_net.weight.copy_(start.keypoints)
    model.identity_parity.copy_(start.parity)
    model.region_parity.copy_(start.region_parity)
    scale = start.code_scale / start.code_scale.norm(dim=1, keepdim=True).clamp(min=1e-6)
    for weight in model.local_nets.code_weights:
        weight.copy_(torch.randn_like(weight) * scale[:, :, None])
