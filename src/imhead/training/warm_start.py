"""A start from a trained model: its networks stay, and the heads of another data set get codes that it can read.

heads ──least squares on the model's template──► region codes c (M, 39, 64)
heads ──PCA, as from nothing──► identity codes z (M, 256), which see what the new heads differ in
DecNet and what the warp reads of an identity: ridge regressions from z to what they gave before
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.model.config import ModelConfig
from imhead.regions import REGION_COUNT
from imhead.sources.ict import IctModel
from imhead.template.surface import TemplateSurface
from imhead.template.topology import SKIN, Topology, load_topology
from imhead.training.codes import identity_codes, ridge
from imhead.training.learner import Learner
from imhead.training.samples import sampling_density
from imhead.types import FloatArray

_RIDGE_MM2 = 0.36
"""What a region code of size 1 costs, as squared misses of vertices. Heads that the model had learnt came out nearest
with this: 0.195 mm mean error of the distance (0.198 at 0.09, 0.204 at 1; with the codes of its own training 0.164)."""
_CHUNK = 100


@torch.no_grad()
def warm_start(start: Model, template: TemplateSurface, ict: IctModel, offsets: Tensor, config: ModelConfig) -> Learner:
    """The learner that a run begins with.

    Args:
        start: a trained model.
        template: its template.
        offsets: (M, V, 3) of the new training heads, on the common topology, mm.
        config: what the run asks for.

    Raises:
        InputError: the model has another shape than asked for.
    """
    if start.net.config != config:
        raise InputError(f"model {start.name!r} has other sizes than this run; start from nothing, or use its settings")
    torch.manual_seed(0)
    net = copy.deepcopy(start.net)
    mean = (ict.mean + ict.canonical_offset).astype(np.float64)
    codes = region_codes(start, template, mean, offsets)
    z, parity = identity_codes(ict, offsets, config.identity_size)
    seen = torch.cat([z, z * parity])
    unfolded = torch.cat([codes, codes[:, net.mirror] * net.region_parity]).flatten(1)
    before = unfolded @ torch.linalg.pinv(net.decnet.weight.flatten(1))  # the identity codes of the model as it was
    net.warp.identity.weight.copy_(ridge(seen, before @ net.warp.identity.weight.T).T)
    net.decnet.weight.copy_(ridge(seen, unfolded).view_as(net.decnet.weight))
    net.identity_parity.copy_(parity)
    return Learner(net.train().requires_grad_(True), z)


@torch.no_grad()
def region_codes(
    start: Model, template: TemplateSurface, mean: FloatArray, offsets: Tensor, topology: Topology | None = None
) -> Tensor:
    """Region codes (M, 39, 64) that carry the template nearest to heads, by ridge regression.

    Args:
        mean: (V, 3) canonical mean head, mm.
        offsets: (M, V, 3) of the heads from it, mm.
    """
    topology = topology or load_topology()
    config, rest = start.net.config, topology.place(mean)
    skin = np.flatnonzero(template.part == SKIN)
    shape = (REGION_COUNT, config.region_code_size)
    units = np.eye(shape[0] * shape[1], dtype=np.float32).reshape(-1, *shape)
    moves = np.stack([(template.blend(start, unit) - template.mean)[skin] for unit in units]).astype(np.float32)
    weight = sampling_density(rest[skin]).astype(np.float32)
    weight /= weight.mean()
    basis = torch.from_numpy(moves)  # (2496, n, 3)
    weighted = (basis * torch.from_numpy(weight)[:, None]).flatten(1)
    gram = (weighted @ basis.flatten(1).T).double()
    gram.diagonal().add_(_RIDGE_MM2)
    parts = []
    for part in offsets.split(_CHUNK):
        wanted = topology.place(mean + part.numpy())[:, skin] - template.mean[skin]
        parts.append(weighted @ torch.from_numpy(wanted.astype(np.float32)).flatten(1).T)
    found = torch.linalg.solve(gram, torch.cat(parts, dim=1).double())
    return found.T.float().view(-1, *shape)
