"""A start from a trained model. With the data set that it was trained on, networks and codes are kept. With another,
networks are kept, and the heads get codes that fit them:

heads ──least squares on the model's template──► region codes c (M, 39, 64)
heads ──PCA, as without a start──► identity codes z (M, 256)
DecNet and the warp's identity layer: ridge regressions from z to their former outputs
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.model.config import ModelConfig
from imhead.model.head import HeadModel
from imhead.regions import REGION_COUNT
from imhead.sources.ict import IctModel
from imhead.template.surface import TemplateSurface
from imhead.template.topology import SKIN, load_topology
from imhead.training.codes import identity_codes, ridge
from imhead.training.learner import Learner, code_rows, load_state
from imhead.training.population import TrainingHeads
from imhead.training.samples import sampling_density
from imhead.types import FloatArray

_RIDGE_MM2 = 0.36
"""Weight of the squared norm of the codes against squared vertex residuals. On the start model's own heads this value
gave the smallest mean distance error: 0.195 mm (0.198 at 0.09, 0.204 at 1; the trained codes have 0.164)."""
_CHUNK = 100


def continued(run: Path, start: Model, heads: TrainingHeads, config: ModelConfig) -> Learner:
    """The learner at the end of an earlier run on the same data set.

    Args:
        run: folder of the earlier run.
        start: the model that it wrote.

    Raises:
        InputError: it has other sizes, or was trained on other data.
    """
    _check_sizes(start, config)
    card = heads.data.manifest.card
    learner = Learner(HeadModel(config), torch.zeros(heads.count, config.identity_size))
    same = {name: start.card.get(name) for name in card} == card
    if not (same and code_rows(run) == heads.count):
        raise InputError(f"{run}: was trained on another data set; start from its model.safetensors instead")
    load_state(learner, torch.optim.Adam(learner.parameters()), run)
    return learner


@torch.no_grad()
def warm_start(start: Model, template: TemplateSurface, ict: IctModel, offsets: Tensor, config: ModelConfig) -> Learner:
    """The learner that a run begins with.

    Args:
        start: a trained model.
        template: its template.
        offsets: (M, V, 3) offsets of the new training heads, on the common topology, mm.
        config: the sizes that the run asks for.

    Raises:
        InputError: the model has other sizes.
    """
    _check_sizes(start, config)
    torch.manual_seed(0)
    net = copy.deepcopy(start.net)
    mean = (ict.mean + ict.canonical_offset).astype(np.float64)
    codes = fitted_region_codes(start, template, mean, offsets)
    z, parity = identity_codes(ict, offsets, config.identity_size)
    both = torch.cat([z, z * parity])
    unfolded = torch.cat([codes, codes[:, net.mirror] * net.region_parity]).flatten(1)
    before = unfolded @ torch.linalg.pinv(net.decnet.weight.flatten(1))  # identity codes in the start model
    net.warp.identity.weight.copy_(ridge(both, before @ net.warp.identity.weight.T).T)
    net.decnet.weight.copy_(ridge(both, unfolded).view_as(net.decnet.weight))
    net.identity_parity.copy_(parity)
    return Learner(net.train().requires_grad_(True), z)


def _check_sizes(start: Model, config: ModelConfig) -> None:
    if start.net.config != config:
        raise InputError(f"model {start.name!r} has other sizes than this run; leave out --start, or use its settings")


@torch.no_grad()
def fitted_region_codes(start: Model, template: TemplateSurface, mean: FloatArray, offsets: Tensor) -> Tensor:
    """Region codes (M, 39, 64) that fit the template to heads, by ridge regression.

    Args:
        mean: (V, 3) canonical mean head, mm.
        offsets: (M, V, 3) offsets of the heads from it, mm.
    """
    topology = load_topology()
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
