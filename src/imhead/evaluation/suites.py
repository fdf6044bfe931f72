"""All evaluation suites by name, and the data that each needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from imhead.change.config import ChangeConfig
from imhead.checkpoint import Model
from imhead.datasets.dataset import open_dataset
from imhead.datasets.heads import OpenSources
from imhead.datasets.manifest import MANIFEST, Manifest
from imhead.errors import InputError
from imhead.evaluation.accuracy import SUITES, accuracy_suite, linear_baselines, own_competitor
from imhead.evaluation.cases import HeldOutSource
from imhead.evaluation.certainty import certainty_suite, hidden_certainty_suite
from imhead.evaluation.codes import identity_suite, specificity_suite
from imhead.evaluation.correspondence import correspondence_suite
from imhead.evaluation.hidden import held_out_scans, hidden_suite, real_scans
from imhead.evaluation.linear import LinearHeads
from imhead.evaluation.locality import locality_suite
from imhead.evaluation.people import people_suite
from imhead.evaluation.real import real_suite
from imhead.evaluation.registration import registration_suite
from imhead.evaluation.runner import CaseRunner, Row
from imhead.evaluation.surgery import surgery_suite
from imhead.evaluation.takes import track_suite
from imhead.evaluation.unseen import ict_heads, linear_competitor, unseen_suite
from imhead.fitting.config import FitConfig
from imhead.fitting.start import pose_template
from imhead.io.live_link import read_take
from imhead.sources.ict import read_ict
from imhead.training.population import TrainingHeads

OF_SCANS = ("real", "real_unseen")
"""Suites of a folder of scans."""
NAMES = (
    *SUITES, "correspondence", "registration", "identity", "people", "surgery", "specificity", "track", *OF_SCANS,
    "hidden", "certainty", "locality",
)  # fmt: skip
"""All suites."""
_REGISTRATION_PEERS = 3  # heads on which a peer registers, too


@dataclass(frozen=True)
class EvalConfig:
    """Sizes of the suites; each uses those that concern it."""

    heads: int = 100
    """Number of held-out heads; a data set with fewer gives all it has."""
    turns: int = 10
    """Random poses and units of each real scan."""
    halves: int = 10
    """Random splits of each real scan into a half that is fitted and a half that is scored."""
    discs: int = 10
    """Discs of each radius that are cut from each scan."""
    rim_residuals: bool = False
    """Score hidden parts also with what our fit leaves over at the rim, carried into them."""
    baselines: bool = False
    """Fit linear models to the same scans, too."""
    processes: int = 2
    """Fits that run at the same time."""
    fit: FitConfig = field(default_factory=FitConfig)
    """Settings of the fits."""
    frames: int = 36
    """Frames of the take that suite `track` plays, at a quarter of its rate."""


@dataclass(frozen=True)
class EvalData:
    """Paths of the data that a suite may need."""

    path: Path | None
    """A folder of scans, a data set, or ICT-FaceKit; None where a suite needs none."""
    ict: Path | None
    """ICT-FaceKit; None if it is not available."""
    open_sources: Callable[[Manifest], OpenSources]
    """Opens the sources of a data set."""
    take: Path | None = None
    """A recorded take, for suite `track`."""


def check_suite(suite: str, baselines: bool) -> None:
    """Check the name of a suite, and whether it can be run with linear baselines.

    Raises:
        InputError: no such suite, or it takes no baselines.
    """
    if suite not in NAMES:
        raise InputError(f"no suite is named {suite!r}; give --suite one of {', '.join(NAMES)}")
    if baselines and suite not in SUITES:
        raise InputError(f"suite {suite} takes no --baselines; use them with one of {', '.join(SUITES)}")


def suite_rows(
    suite: str, model: Model, data: EvalData, config: EvalConfig, progress: Callable[[str], None]
) -> list[Row]:
    """Run a suite.

    Raises:
        InputError: no such suite, or its data is missing.
    """
    check_suite(suite, config.baselines)
    runner = CaseRunner(progress, config.processes)
    if suite == "locality":
        return locality_suite(model)
    if data.path is None:
        wanted = "a folder of scans" if suite in OF_SCANS else "a data set, or ICT-FaceKit"
        wanted += ", or a folder of scans" * (suite in ("hidden", "certainty"))
        raise InputError(f"suite {suite} needs {wanted}; name it with --data")
    if not data.path.exists():
        raise InputError(f"{data.path}: does not exist; name the data with --data")
    if suite == "real":
        return real_suite(model, data.path, config.turns, config.fit, runner)
    if suite == "real_unseen":
        return unseen_suite(model, _ict_baseline(suite, data.ict), data.path, config.halves, config.fit, runner)
    if suite == "hidden":
        return _hidden_rows(model, data.path, data, config, runner)
    if suite == "certainty":
        return _certainty_rows(model, data.path, data, config, runner)
    if suite == "track":
        if data.take is None:
            raise InputError("suite track plays a recorded take; name its .csv with --take")
        source, _ = _held_out(data.path, data.open_sources)
        heads = min(config.heads, source.count or config.heads)
        return track_suite(model, source, read_take(data.take), heads, config.frames, config.fit, runner)
    return _held_out_rows(suite, model, data.path, data.open_sources, config, runner)


def _ict_baseline(suite: str, ict_path: Path | None) -> LinearHeads:
    if ict_path is None:
        raise InputError(f"suite {suite} compares with the linear model of ICT-FaceKit; name its path with --ict")
    ict = read_ict(ict_path)
    return ict_heads(ict, HeldOutSource.composed(ict).seen_faces())


def _hidden_rows(model: Model, path: Path, data: EvalData, config: EvalConfig, runner: CaseRunner) -> list[Row]:
    """Rows of suite `hidden`: of held-out heads if the data is a data set or ICT-FaceKit, else of a folder of scans."""
    baseline = _ict_baseline("hidden", data.ict)
    template = pose_template(model)
    linear = linear_competitor(baseline, template, config.fit)
    if path == data.ict or (path / MANIFEST).is_file():
        source, _ = _held_out(path, data.open_sources)
        scans = held_out_scans(source, min(config.heads, source.count or config.heads))
    else:
        scans = real_scans(path, linear, template.nose_tip_mm)
    own = [own_competitor(model, replace(config.fit, detail=d)) for d in (True, False) if d <= config.fit.detail]
    return hidden_suite(own, linear, scans, config.discs, runner, rim_residuals=config.rim_residuals)


def _certainty_rows(model: Model, path: Path, data: EvalData, config: EvalConfig, runner: CaseRunner) -> list[Row]:
    """Rows of suite `certainty`: of virtual scans of held-out heads, or of hidden parts of a folder of scans."""
    if path == data.ict or (path / MANIFEST).is_file():
        source, _ = _held_out(path, data.open_sources)
        # the odd ones are for learning
        heads = min(config.heads, (source.count or 2 * config.heads) // 2)
        return certainty_suite(model, source, heads, config.fit, runner)
    template = pose_template(model)
    linear = linear_competitor(_ict_baseline("certainty", data.ict), template, config.fit)
    scans = real_scans(path, linear, template.nose_tip_mm)
    return hidden_certainty_suite(model, scans, config.discs, config.fit, runner)


def _held_out_rows(
    suite: str,
    model: Model,
    path: Path,
    open_sources: Callable[[Manifest], OpenSources],
    config: EvalConfig,
    runner: CaseRunner,
) -> list[Row]:
    """Rows of a suite of held-out heads."""
    source, training_heads = _held_out(path, open_sources)
    heads = min(config.heads, source.count or config.heads)
    if suite == "correspondence":
        return correspondence_suite(model, source, heads, config.fit, runner)
    if suite == "registration":
        return registration_suite(model, source, heads, config.fit, runner, _REGISTRATION_PEERS)
    if suite == "identity":
        return identity_suite(model, source, heads, config.fit, runner)
    if suite == "people":
        return people_suite(model, source, heads, config.fit, runner)
    if suite == "surgery":
        return surgery_suite(model, source, heads, ChangeConfig(fit=config.fit), runner)
    if suite == "specificity":
        if training_heads is None:
            raise InputError("suite specificity needs the training heads of a data set; name one with --data")
        return specificity_suite(model, source, training_heads.offsets(), heads)
    competitors = [own_competitor(model, config.fit)]
    if config.baselines:
        if training_heads is None:
            raise InputError("--baselines are learned from the training heads of a data set; name one with --data")
        if config.fit.detail:
            competitors.append(own_competitor(model, replace(config.fit, detail=False)))
        competitors += linear_baselines(model, source, training_heads.offsets(), config.fit)
    return accuracy_suite(suite, competitors, source, heads, runner)


def _held_out(
    path: Path, open_sources: Callable[[Manifest], OpenSources]
) -> tuple[HeldOutSource, TrainingHeads | None]:
    """Held-out and training heads of a data set; or, of ICT-FaceKit itself, composed heads and no training heads."""
    if not (path / MANIFEST).is_file():
        return HeldOutSource.composed(read_ict(path)), None
    opened = open_dataset(path)
    sources = open_sources(opened.manifest)
    return HeldOutSource.of_dataset(opened, sources), TrainingHeads(opened, sources)
