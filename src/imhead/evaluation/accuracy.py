"""Accuracy on held-out heads: each competitor is fitted to their scans and scored against the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from torch import Tensor

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.evaluation.cases import CaseKind, Fitted, HeldOut, HeldOutSource, held_out, score
from imhead.evaluation.linear import LinearFit, LinearHeads, fit_linear, linear_heads
from imhead.evaluation.runner import CaseRunner, Row, rounded
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.fitting.pose import PoseTemplate
from imhead.fitting.start import pose_template
from imhead.types import Scan

SUITES: dict[str, tuple[CaseKind, ...]] = {
    "heldout": (CaseKind(),),
    "expressions": (CaseKind(expression=True),),
    "single_view": (CaseKind(single_view=True),),
    "noise": tuple(CaseKind(noise_mm=noise) for noise in (0.0, 0.5, 1.0, 2.0)),
}
"""Suite → kinds of case; each kind gives one row for each competitor."""
_LINEAR_SIZES = (256, 100)
_POSE_FAILURE_DEG = 10.0
_POSE_FAILURE_MM = 15.0
_SHOWN = ("name", "refused", "pose_failed", "face_chamfer_mm", "head_chamfer_mm", "pose_error_deg", "seconds")
_FIGURES = ("_mm", "_consistency", "_1mm", "_5mm", "_deg", "seconds")


class TimedFit(Fitted, Protocol):
    """A fit with its duration."""

    @property
    def seconds(self) -> float:
        """Wall time."""


@dataclass(frozen=True, eq=False)
class Competitor:
    """A model with its way of fitting."""

    name: str
    """Name in the rows."""
    code_size: int
    """Size of its identity code."""
    fit: Callable[[Scan], TimedFit]
    """Scan → fit."""


def own_competitor(model: Model, config: FitConfig) -> Competitor:
    """The model itself, fitted as on the command line; its name says if region offsets are left out."""
    pose_template(model)  # made once, before the workers are forked
    name = model.name if config.detail else f"{model.name}, z_id alone"
    return Competitor(name, int(model.net.config.identity_size), lambda scan: fit_scan(scan, model, config))


def linear_baselines(model: Model, source: HeldOutSource, offsets: Tensor, config: FitConfig) -> list[Competitor]:
    """PCAs of the registered training heads, fitted from the same pose with the same solver.

    Args:
        offsets: (M, V, 3) of the training heads, mm.
    """
    template = pose_template(model)
    return [
        Competitor(f"pca_{len(pca.identity)}", len(pca.identity), partial(_fit_linear, pca, template, config))
        for pca in linear_heads(source.ict, source.seen_faces(), _LINEAR_SIZES, offsets)
    ]


def _fit_linear(heads: LinearHeads, template: PoseTemplate, config: FitConfig, scan: Scan) -> LinearFit:
    return fit_linear(scan, heads, template, config)


def accuracy_suite(
    suite: str, competitors: list[Competitor], source: HeldOutSource, heads: int, runner: CaseRunner
) -> list[Row]:
    """Fit held-out heads and score them against the truth: one row for each kind of case and competitor.

    Args:
        suite: a name of `SUITES`.
        heads: number of held-out heads.

    Raises:
        InputError: all scans of a competitor were refused.
    """
    rows: list[Row] = []
    for kind in SUITES[suite]:
        for competitor in competitors:
            cases = runner.run(partial(_case, competitor, source, kind), heads, partial(_shown, competitor))
            rows.append(_row(suite, kind, competitor, cases))
    return rows


def _shown(competitor: Competitor, case: Row) -> Row:
    return {"model": competitor.name} | rounded({key: case[key] for key in case if key in _SHOWN})


def _case(competitor: Competitor, source: HeldOutSource, kind: CaseKind, index: int) -> Row:
    case: HeldOut = held_out(source, index, kind)
    try:
        result = competitor.fit(case.scan)
    except InputError as error:
        return {"name": case.scan.name, "refused": str(error)}
    figures = score(result, case)
    failed = figures["pose_error_deg"] > _POSE_FAILURE_DEG or figures["pose_error_mm"] > _POSE_FAILURE_MM
    return {"name": case.scan.name, "source": case.source, "pose_failed": failed, **figures, "seconds": result.seconds}


def _row(suite: str, kind: CaseKind, competitor: Competitor, cases: list[Row]) -> Row:
    done = [case for case in cases if "refused" not in case]
    if not done:
        raise InputError(f"every scan of suite {suite} was refused; {competitor.name} cannot be evaluated")
    keys = [key for key in done[0] if key.endswith(_FIGURES)]
    row: Row = {
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
