"""Quality of the identity codes: do samples look like people, and does an expression leave the identity code as it is.

Specificity after Styner et al. 2003 (Evaluation of 3D correspondence methods for model building).
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.evaluation.cases import CaseKind, HeldOutSource, held_out
from imhead.evaluation.linear import linear_heads
from imhead.evaluation.runner import CaseRunner, Row
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.fitting.start import pose_template
from imhead.template.surface import template_of
from imhead.template.topology import SKIN, load_topology
from imhead.types import FloatArray

_LINEAR_SIZE = 256
_EVERY = 4  # every fourth vertex of the template is compared


@torch.no_grad()
def specificity_suite(model: Model, source: HeldOutSource, offsets: Tensor, count: int) -> list[Row]:
    """Specificity: mean vertex distance in mm between samples of a model and the nearest training head.

    One row each for the model, a PCA and the training heads themselves, which are compared with each other. Vertices
    correspond, in the canonical pose. A small figure means that samples look like people.

    Args:
        offsets: (M, V, 3) of the training heads, mm.
        count: number of samples.
    """
    template, topology = template_of(model), load_topology()
    ict, rng = source.ict, np.random.default_rng(0x59EC)
    mean = (ict.mean + ict.canonical_offset).astype(np.float64)
    rows = np.flatnonzero((template.part == SKIN) & (template.on_surface > 0.5))[::_EVERY]
    known = np.concatenate(
        [topology.place(mean + part.numpy())[:, rows].astype(np.float32) for part in offsets.split(100)]
    )
    codes = model.net.decnet(torch.from_numpy(rng.normal(size=(count, model.net.config.identity_size))).float())
    ours = np.stack([template.blend(model, code)[rows] for code in codes.cpu().numpy()])
    (pca,) = linear_heads(ict, source.seen_faces(), (_LINEAR_SIZE,), offsets)
    size = len(pca.identity)
    drawn = np.einsum("nk,kvc->nvc", rng.normal(size=(count, size)), pca.identity)
    linear = topology.place(pca.mean + ict.canonical_offset + drawn)[:, rows]
    chosen = rng.choice(len(known), size=min(count, len(known)), replace=False)
    distances = (
        (model.name, model.net.config.identity_size, _nearest(ours, known)),
        (f"pca_{size}", size, _nearest(linear, known)),
        ("training heads", 0, np.array([_nearest(known[k : k + 1], np.delete(known, k, axis=0))[0] for k in chosen])),
    )
    return [
        {
            "suite": "specificity", "model": name, "code_size": numbers, "heads": len(distance),
            "nearest_mean_mm": float(distance.mean()), "nearest_p90_mm": float(np.percentile(distance, 90)),
        }
        for name, numbers, distance in distances
    ]  # fmt: skip


def _nearest(heads: FloatArray, known: FloatArray) -> FloatArray:
    """(N,) mean vertex distance of heads (N, P, 3) to the nearest of others (M, P, 3)."""
    nearest = [
        min(
            float(np.linalg.norm(known[first : first + 50] - head, axis=2).mean(axis=1).min())
            for first in range(0, len(known), 50)
        )
        for head in heads.astype(np.float32)
    ]
    return np.array(nearest)


def identity_suite(model: Model, source: HeldOutSource, heads: int, config: FitConfig, runner: CaseRunner) -> list[Row]:
    """One row: mean distance between the identity codes of two scans of one person, neutral and with an expression, and
    between the codes of different people.

    `recognised` is the share of people whose code with an expression is nearest to their own neutral one.

    Raises:
        InputError: fewer than two heads, or a scan without a fit.
    """
    if heads < 2:
        raise InputError("the identity suite compares at least two heads; ask for more with --heads")
    pose_template(model)  # made once, before the workers are forked
    cases = runner.run(partial(_codes, model, source, config), heads, lambda case: {"name": case["name"]})
    neutral, moved = (np.array([case[key] for case in cases]) for key in ("neutral", "expression"))
    distance = np.linalg.norm(moved[:, None] - neutral[None], axis=2)
    own, others = distance.diagonal(), distance[~np.eye(heads, dtype=bool)]
    return [
        {
            "suite": "identity", "model": model.name, "heads": heads,
            "same_person": float(own.mean()), "different_people": float(others.mean()),
            "recognised": float((distance.argmin(axis=1) == np.arange(heads)).mean()),
        }
    ]  # fmt: skip


def _codes(model: Model, source: HeldOutSource, config: FitConfig, index: int) -> Row:
    codes: Row = {}
    for name, kind in (("neutral", CaseKind()), ("expression", CaseKind(expression=True))):
        case = held_out(source, index, kind)
        codes[name] = fit_scan(case.scan, model, config).head.z_id.tolist()
    return codes | {"name": case.scan.name}
