"""The suites of held-out heads: what is scanned, what is fitted, and the row of figures that comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.evaluation.cases import CaseKind, Fitted, HeldOut, HeldOutSource, held_out, score
from imhead.evaluation.linear import LinearHeads, fit_linear, linear_heads
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan, pose_template
from imhead.parallel import in_processes
from imhead.types import Scan

SUITES: dict[str, tuple[CaseKind, ...]] = {
    "heldout": (CaseKind(),),
    "expressions": (CaseKind(expression=True),),
    "single_view": (CaseKind(single_view=True),),
    "noise": tuple(CaseKind(noise_mm=noise) for noise in (0.0, 0.5, 1.0, 2.0)),
}
"""Name → the kinds of case that it runs, one row each."""
_LINEAR_SIZES = (256, 100)
_POSE_FAILURE_DEG = 10.0
_POSE_FAILURE_MM = 15.0
_SHOWN = ("name", "refused", "pose_failed", "face_chamfer_mm", "head_chamfer_mm", "pose_error_deg", "seconds")
_FIGURES = ("_mm", "_consistency", "_1mm", "_5mm", "_deg", "seconds")


class TimedFit(Fitted, Protocol):
    """A fit that knows how long it took."""

    @property
    def seconds(self) -> float:
        """Wall time."""


@dataclass(frozen=True, eq=False)
class Competitor:
    """Something that fits heads to scans."""

    name: str
    code_size: int
    """Numbers that describe an identity."""
    fit: Callable[[Scan], TimedFit]
    """Scan → what `score` reads, with `seconds`."""


def ours(model: Model, config: FitConfig) -> Competitor:
    """The model itself, fitted as the command line does; without region offsets, its name says so."""
    pose_template(model)  # made once, before the workers are forked
    name = model.name if config.detail else f"{model.name}, z_id alone"
    return Competitor(name, int(model.net.config.identity_size), lambda scan: fit_scan(scan, model, config))


def linear(model: Model, heads: LinearHeads, config: FitConfig) -> Competitor:
    """A PCA of the registered training heads, fitted from the same pose by the same kind of steps."""
    template = pose_template(model)
    size = len(heads.identity)
    return Competitor(f"pca_{size}", size, lambda scan: fit_linear(scan, heads, template, config))


def linear_peers(model: Model, source: HeldOutSource, offsets: Tensor, config: FitConfig) -> list[Competitor]:
    """The linear models that apply, learned from registered heads with `offsets` (M, V, 3)."""
    heads = linear_heads(source.ict, source.seen_faces(), _LINEAR_SIZES, offsets)
    return [linear(model, peer, config) for peer in heads]


def run_suite(
    suite: str,
    competitors: list[Competitor],
    source: HeldOutSource,
    heads: int,
    progress: Callable[[str], None],
    processes: int = 2,
) -> list[dict[str, Any]]:
    """Fit held-out heads and score them against the truth: a row for each kind of case and competitor.

    Raises:
        InputError: a competitor was refused every scan.
    """
    rows: list[dict[str, Any]] = []
    for kind in SUITES[suite]:
        for competitor in competitors:
            work = partial(_case, competitor, source, kind)
            cases: list[dict[str, Any]] = []
            for case in in_processes(work, heads, processes):
                cases.append(case)
                shown = {k: round(v, 3) if isinstance(v, float) else v for k, v in case.items() if k in _SHOWN}
                progress(json.dumps({"model": competitor.name, **shown}))
            rows.append(_row(suite, kind, competitor, cases))
    return rows


def _case(competitor: Competitor, source: HeldOutSource, kind: CaseKind, index: int) -> dict[str, Any]:
    case: HeldOut = held_out(source, index, kind)
    try:
        result = competitor.fit(case.scan)
    except InputError as error:
        return {"name": case.scan.name, "refused": str(error)}
    figures = score(result, case)
    failed = figures["pose_error_deg"] > _POSE_FAILURE_DEG or figures["pose_error_mm"] > _POSE_FAILURE_MM
    return {"name": case.scan.name, "source": case.source, "pose_failed": failed, **figures, "seconds": result.seconds}


def _row(suite: str, kind: CaseKind, competitor: Competitor, cases: list[dict[str, Any]]) -> dict[str, Any]:
    done = [case for case in cases if "refused" not in case]
    if not done:
        raise InputError(f"every scan of suite {suite} was refused; {competitor.name} cannot be evaluated")
    keys = [key for key in done[0] if key.endswith(_FIGURES)]
    row: dict[str, Any] = {
        "suite": suite,
        "model": competitor.name,
        "code_size": competitor.code_size,
        "heads": len(cases),
        "scored": len(done),
        "pose_failures": sum(1 for case in cases if case.get("pose_failed", True)),
    }
    if kind.noise_mm or suite == "noise":
        row["noise_mm"] = kind.noise_mm
    row |= {key: float(np.mean([case[key] for case in done])) for key in keys}
    row["face_chamfer_p90_mm"] = float(np.percentile([case["face_chamfer_mm"] for case in done], 90))
    return row | {"cases": cases}
