"""A cohort: the scans or head files of many people, as tables, shapes, statistics and one page.

from imhead.api.cohorts import study_cohort
report = study_cohort(imhead.load(), "people", "out")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imhead.api.batch import fit_each
from imhead.api.checks import checked_fit, checked_number, checked_seed, checked_units, checked_whole
from imhead.api.models import MorphableModel
from imhead.api.scan_fit import ScanFit
from imhead.api.workers import Lost, in_workers
from imhead.checkpoint import load_head
from imhead.cohort.groups import GroupConfig
from imhead.cohort.observation import Observation, Surface, observe, template_regions
from imhead.cohort.people import Sitting, read_sittings
from imhead.cohort.study import study_of
from imhead.errors import InputError, one_line, refusal
from imhead.fitting.config import FitConfig
from imhead.fitting.pose import Units
from imhead.measure.population import population_of
from imhead.reports.cohort_report import write_study
from imhead.template.surface import TemplateSurface
from imhead.topology.store import UserTopology

Progress = Callable[[str, float], None]
"""Called with what is done now, and the part done, 0 to 1."""
FITS = "fits"
"""Folder of the fits inside that of the results."""
_FITTING = 0.8  # of the time


@dataclass(frozen=True)
class CohortOptions:
    """Settings of `study_cohort`."""

    units: Units = "auto"
    """What the numbers of all scans mean, if you know it."""
    register: bool = True
    """Move the template onto each scan, so that the shapes are those of the scans, not of the codes."""
    fit: FitConfig = FitConfig()
    """Settings of the fits."""
    jobs: int = 1
    """Processes."""
    groups: tuple[str, str] | None = None
    """The two groups to compare; None for those that there are, if there are two."""
    sizes: bool = True
    """Keep the size of each head; without, shapes are compared at one size."""
    q: float = 0.05
    """Largest expected share of false findings."""
    permutations: int = 9999
    """Of the tests."""
    seed: int = 0
    """Of the tests."""
    topology: UserTopology | None = None
    """A user's topology for the shapes; None for the template's."""


def study_cohort(
    model: MorphableModel, source: str | Path, out: str | Path, options: CohortOptions = CohortOptions(),
    progress: Progress = lambda stage, part: None,
) -> dict[str, Any]:  # fmt: skip
    """Fit the scans of many people, or open their heads, and write tables, shapes, statistics and a page.

    A run that was stopped goes on with the fits that are whole. Files that cannot be used are named in the report.

    Args:
        model: with a template.
        source: a folder with a folder or a file for each person, or a CSV with columns file, person, group.
        out: folder, made where missing.
        options: settings.
        progress: called with the stage and the part done.

    Returns:
        What `report.json` holds.

    Raises:
        InputError: nobody in the source, fewer than two people of whom a head can be had, or a wrong setting.
    """
    config = GroupConfig(
        checked_number("q", options.q, 1e-6, 0.5), checked_whole("permutations", options.permutations, 99, 1_000_000),
        checked_seed(options.seed),
    )  # fmt: skip
    jobs, folder = checked_whole("jobs", options.jobs, 1, 1024), Path(out)
    fit = ScanFit(model, checked_units(options.units), checked_fit(options.fit), register=options.register)
    sittings, template = read_sittings(Path(source)), model.template
    heads, left_out = _head_files(fit, sittings, folder, jobs, progress)
    kept = [s for s in sittings if s.path in heads]
    observations: list[Observation] = []
    for k, (sitting, found) in enumerate(zip(kept, _observed(model, [heads[s.path] for s in kept], jobs))):
        progress(sitting.person, _FITTING + (0.9 - _FITTING) * k / len(kept))
        if isinstance(found, Observation):
            observations.append(found)
        else:
            left_out.append({"file": str(sitting.path), "reason": found})
    refused = {entry["file"] for entry in left_out}
    kept = [s for s in kept if str(s.path) not in refused]
    surface = Surface(template.faces, template_regions(template))
    if options.topology is not None:
        surface, observations = _in_topology(options.topology, template, surface, observations)
    people = {s.person for s in kept}
    if len(people) < 2 and left_out:
        raise InputError(
            f"{source}: a cohort needs two people; {len(people)} can be used, {len(left_out)} of {len(sittings)} files "
            f"cannot, such as: {left_out[0]['reason']}"
        )
    progress("statistics", 0.9)
    study = study_of(kept, observations, surface, groups=options.groups, sizes=options.sizes, config=config)
    progress("report", 0.95)
    report = write_study(
        study, model.model, population_of(model.model), folder, config=config, sizes=options.sizes, left_out=left_out
    )
    progress("done", 1.0)
    return report


def _head_files(
    fit: ScanFit, sittings: Sequence[Sitting], out: Path, jobs: int, progress: Progress
) -> tuple[dict[Path, Path], list[dict[str, str]]]:
    """Sitting's file → its head file, after the fits that are missing; and what was refused."""
    heads = {s.path: s.path for s in sittings if s.is_head}
    scans = list(dict.fromkeys(s.path for s in sittings if not s.is_head))
    left_out: list[dict[str, str]] = []
    jobs = min(jobs, max(len(scans), 1))
    if jobs > 1 and fit.model.model.device.type != "cpu":
        raise InputError(f"{jobs} jobs: a GPU fits one scan at a time; choose 1 job, or the device cpu")
    with closing(fit_each(fit, scans, out / FITS, jobs=jobs, skip=fit.whole)) as outcomes:
        for count, outcome in enumerate(outcomes, 1):
            progress(f"fits: {outcome.scan.name}", _FITTING * count / len(scans))
            if outcome.error is None:
                heads[outcome.scan] = outcome.folder / "head.safetensors"
            else:
                left_out.append({"file": str(outcome.scan), "reason": outcome.error})
    return heads, left_out


def _observed(model: MorphableModel, files: Sequence[Path], jobs: int) -> list[Observation | str]:
    """The observation of each head file, or why there is none."""
    work = _Observe(model, tuple(files))
    if jobs == 1 or len(files) < 2:
        return [work(k) for k in range(len(files))]
    found: dict[int, Observation | str] = {}
    for k, result in in_workers(work, len(files), min(jobs, len(files))):
        found[k] = one_line(f"{files[k]}: {result}") if isinstance(result, Lost) else result
    return [found[k] for k in range(len(files))]


@dataclass(frozen=True)
class _Observe:
    """Opens the head file of a number; what it cannot use, it says."""

    model: MorphableModel
    files: tuple[Path, ...]

    def __call__(self, number: int) -> Observation | str:
        try:
            return observe(self.model.model, load_head(self.files[number], self.model.model))
        except Exception as error:
            said = refusal(error)
            if said is None:
                raise
            return said


def _in_topology(
    topology: UserTopology, template: TemplateSurface, surface: Surface, observations: Sequence[Observation]
) -> tuple[Surface, list[Observation]]:
    """The same heads with a user's vertices; a vertex is measured where the template's nearest one is."""
    corner, on_skin = topology.nearest, topology.on_skin
    region = np.where(on_skin, surface.region[corner], -1)
    moved = [
        replace(
            seen, vertices=topology.placed(template, seen.vertices), measured=seen.measured[corner] & on_skin,
            sigma_mm=topology.at_vertices(seen.sigma_mm),
        )
        for seen in observations
    ]  # fmt: skip
    return Surface(topology.triangles(), region), moved
