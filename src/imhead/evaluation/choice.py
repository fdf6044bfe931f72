"""A suite by its name: what it needs, and the rows that it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imhead.checkpoint import Model
from imhead.datasets.dataset import open_dataset
from imhead.datasets.heads import OpenSources
from imhead.datasets.manifest import MANIFEST, Manifest
from imhead.errors import InputError
from imhead.evaluation.cases import HeldOutSource
from imhead.evaluation.codes import identity_suite, specificity_suite
from imhead.evaluation.correspondence import correspondence_suite
from imhead.evaluation.locality import locality_suite
from imhead.evaluation.real import real_suite
from imhead.evaluation.suites import SUITES, linear_peers, ours, run_suite
from imhead.evaluation.unseen import source_heads, unseen_suite
from imhead.fitting.config import FitConfig
from imhead.sources.ict import read_ict
from imhead.training.population import TrainingHeads

Rows = list[dict[str, Any]]
Progress = Callable[[str], None]

OF_SCANS = ("real", "real_unseen")
"""Suites whose data is a folder of scans."""
NAMES = (*SUITES, "correspondence", "identity", "specificity", *OF_SCANS, "locality")
"""Every suite."""


@dataclass(frozen=True)
class EvalConfig:
    """What every suite is told; each reads what concerns it."""

    heads: int = 100
    """Held-out heads, or as many as a data set has."""
    turns: int = 10
    """Random turns and units of each real scan."""
    halves: int = 10
    """Random halves of each real scan that are fitted, where the other is scored."""
    baselines: bool = False
    """Whether linear models are fitted to the same scans."""
    processes: int = 2
    """Fits side by side."""
    fit: FitConfig = field(default_factory=FitConfig)
    """How scans are fitted."""


@dataclass(frozen=True)
class EvalData:
    """Where the data lies that a suite may need."""

    path: Path
    """A folder of scans, a data set, or ICT-FaceKit."""
    ict: Path | None
    """ICT-FaceKit, if it is at hand."""
    open_sources: Callable[[Manifest], OpenSources]
    """Opens the sources of a data set."""


def check_suite(suite: str, baselines: bool) -> None:
    """Whether there is such a suite, and linear models beside it if they are asked for.

    Raises:
        InputError: there is not.
    """
    if suite not in NAMES:
        raise InputError(f"--suite {suite!r} is not known; use one of {', '.join(NAMES)}")
    if baselines and suite not in SUITES:
        raise InputError(f"--baselines needs a truth to score against; suite {suite} has none")


def suite_rows(suite: str, model: Model, data: EvalData, config: EvalConfig, progress: Progress) -> Rows:
    """Run a suite.

    Raises:
        InputError: no such suite, or data that it needs is missing; the message says which.
    """
    check_suite(suite, config.baselines)
    if suite == "locality":
        return locality_suite(model)
    if not data.path.exists():
        raise InputError(f"{data.path}: no such data; name it with --data")
    if suite == "real":
        return real_suite(model, data.path, config.turns, config.fit, progress, config.processes)
    if suite == "real_unseen":
        if data.ict is None:
            raise InputError("real_unseen compares with ICT-FaceKit's own linear model; name it with --ict")
        own = read_ict(data.ict)
        yardstick = source_heads(own, HeldOutSource.of(own).seen_faces())
        return unseen_suite(model, yardstick, data.path, config.halves, config.fit, progress, config.processes)
    return _held_out_rows(suite, model, data, config, progress)


def _held_out_rows(suite: str, model: Model, data: EvalData, config: EvalConfig, progress: Progress) -> Rows:
    """Suites of heads that training never saw."""
    source, learned_from = _held_out(data)
    heads = min(config.heads, source.count or config.heads)
    if suite == "correspondence":
        return correspondence_suite(model, source, heads, config.fit, progress, config.processes)
    if suite == "identity":
        return identity_suite(model, source, heads, config.fit, progress, config.processes)
    if suite == "specificity":
        if learned_from is None:
            raise InputError("specificity is a distance to a data set's training heads; name one with --data")
        return specificity_suite(model, source, learned_from.offsets(), heads)
    competitors = [ours(model, config.fit)]
    if config.baselines:
        if learned_from is None:
            raise InputError("--baselines are learned from a data set's training heads; name one with --data")
        if config.fit.detail:
            competitors.append(ours(model, replace(config.fit, detail=False)))
        competitors += linear_peers(model, source, learned_from.offsets(), config.fit)
    return run_suite(suite, competitors, source, heads, progress, config.processes)


def _held_out(data: EvalData) -> tuple[HeldOutSource, TrainingHeads | None]:
    """The held-out heads of a data set and those to learn from, or heads composed of ICT-FaceKit's."""
    if not (data.path / MANIFEST).is_file():
        return HeldOutSource.of(read_ict(data.path)), None
    opened = open_dataset(data.path)
    sources = data.open_sources(opened.manifest)
    return HeldOutSource.of_data(opened, sources), TrainingHeads(opened, sources)
