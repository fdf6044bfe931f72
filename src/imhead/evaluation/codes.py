"""What the codes are worth: are drawn heads like people, and is a person the same person with another face on.

Specificity after Styner et al. 2003 (Evaluation of 3D correspondence methods for model building).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.evaluation.cases import CaseKind, HeldOutSource, held_out
from imhead.evaluation.linear import linear_heads
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan, pose_template
from imhead.parallel import in_processes
from imhead.template.surface import template_of
from imhead.template.topology import SKIN, load_topology
from imhead.types import FloatArray

_LINEAR_SIZE = 256
_EVERY = 4  # of the template's vertices are compared


@torch.no_grad()
def specificity_suite(model: Model, source: HeldOutSource, offsets: Tensor, count: int) -> list[dict[str, Any]]:
    """Mean distance between heads drawn from a model and the nearest training head, mm, a row for each model.

    Vertices are compared one by one, in the canonical pose. A small figure says that what is drawn looks like somebody;
    the third row says how near training heads come to each other.

    Args:
        offsets: (M, V, 3) of the training heads, mm.
        count: heads that are drawn.
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
    (peer,) = linear_heads(ict, source.seen_faces(), (_LINEAR_SIZE,), offsets)
    size = len(peer.identity)
    drawn = np.einsum("nk,kvc->nvc", rng.normal(size=(count, size)), peer.identity)
    linear = topology.place(peer.mean + ict.canonical_offset + drawn)[:, rows]
    chosen = rng.choice(len(known), size=min(count, len(known)), replace=False)
    found = (
        (model.name, model.net.config.identity_size, _nearest(ours, known)),
        (f"pca_{size}", size, _nearest(linear, known)),
        ("training heads", 0, np.array([_nearest(known[k : k + 1], np.delete(known, k, axis=0))[0] for k in chosen])),
    )
    return [
        {
            "suite": "specificity", "model": name, "code_size": numbers, "heads": len(away),
            "nearest_mean_mm": float(away.mean()), "nearest_p90_mm": float(np.percentile(away, 90)),
        }
        for name, numbers, away in found
    ]  # fmt: skip


def _nearest(heads: FloatArray, known: FloatArray) -> FloatArray:
    """(N,) mean vertex distance of heads (N, P, 3) to the nearest of others (M, P, 3)."""
    found = [
        min(
            float(np.linalg.norm(known[first : first + 50] - head, axis=2).mean(axis=1).min())
            for first in range(0, len(known), 50)
        )
        for head in heads.astype(np.float32)
    ]
    return np.array(found)


def identity_suite(
    model: Model,
    source: HeldOutSource,
    heads: int,
    config: FitConfig,
    progress: Callable[[str], None],
    processes: int = 2,
) -> list[dict[str, Any]]:
    """One row: distances of identity codes between two scans of a person, neutral and not, and between people.

    `recognised` is the share of people whose code with an expression is nearest to their own neutral one.

    Raises:
        InputError: fewer than two heads, or one that no fit was found for.
    """
    if heads < 2:
        raise InputError("people are told apart by at least two heads; ask for more with --heads")
    pose_template(model)
    cases: list[dict[str, Any]] = []
    for case in in_processes(partial(_codes, model, source, config), heads, processes):
        cases.append(case)
        progress(json.dumps({"name": case["name"]}))
    neutral, moved = (np.array([case[key] for case in cases]) for key in ("neutral", "expression"))
    away = np.linalg.norm(moved[:, None] - neutral[None], axis=2)
    own, others = away.diagonal(), away[~np.eye(len(away), dtype=bool)]
    return [
        {
            "suite": "identity", "model": model.name, "heads": heads,
            "same_person": float(own.mean()), "different_people": float(others.mean()),
            "recognised": float((away.argmin(axis=1) == np.arange(len(away))).mean()),
        }
    ]  # fmt: skip


def _codes(model: Model, source: HeldOutSource, config: FitConfig, index: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, kind in (("neutral", CaseKind()), ("expression", CaseKind(expression=True))):
        case = held_out(source, index, kind)
        found[name] = fit_scan(case.scan, model, config).head.z_id.tolist()
    return found | {"name": case.scan.name}
