"""Fits of scans."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, TaskID

from imhead.cli.cluster import MemoryOption, RayOption, in_bytes
from imhead.cli.console import (
    DetailOption,
    DeviceOption,
    JobsOption,
    LandmarksOption,
    MirroredOption,
    ModelOption,
    OutFolder,
    ScaleOption,
    SeedOption,
    UnitsOption,
    check_units,
    print_json,
    progress_bar,
    say,
)
from imhead.cli.pace import PaceBars
from imhead.cli.people import check_person, fit_one_person
from imhead.errors import InputError, one_line
from imhead.io.atomic import check_folder

if TYPE_CHECKING:
    from imhead.api.batch import Outcome
    from imhead.api.scan_fit import ScanFit

_NAMED = 3  # refused scans that the last line names
_STAGE = 100  # characters

_ScansArgument = Annotated[
    list[Path], typer.Argument(help="Scans: .ply, .obj, .stl, .glb and other formats, mesh or points.")
]
_CellsOption = Annotated[int, typer.Option(min=16, max=1024, help="Cells of the mesh along the longest side.")]
_SkipOption = Annotated[
    bool, typer.Option("--skip-existing", help="Leave out scans whose folder holds a whole fit: go on with a batch.")
]
_PersonOption = Annotated[
    str | None,
    typer.Option(help="Name of the person whom all scans show: one head for all of them, in a folder of that name."),
]
_RegisterOption = Annotated[
    bool, typer.Option("--register", help="Draw the template's vertices to the scan itself: registered.ply.")
]
_ColorOption = Annotated[
    bool, typer.Option("--color/--no-color", help="Keep the colours of a coloured scan beside the head file.")
]
_JsonLinesOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object a scan on stdout, as it is done.")
]


def fit(
    scans: _ScansArgument,
    out: OutFolder,
    units: UnitsOption = "auto",
    scale: ScaleOption = None,
    landmarks: LandmarksOption = None,
    mirrored: MirroredOption = False,
    detail: DetailOption = True,
    resolution: _CellsOption = 256,
    seed: SeedOption = 0,
    jobs: JobsOption = 1,
    ray: RayOption = None,
    memory: MemoryOption = None,
    skip_existing: _SkipOption = False,
    same_person: _PersonOption = None,
    register: _RegisterOption = False,
    color: _ColorOption = True,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: _JsonLinesOption = False,
) -> None:
    """Find the head in each scan: codes, mesh, overlay, report and picture; of several scans also summary.csv."""
    check_folder(out)
    known = check_units(units)
    if same_person is not None:
        check_person(same_person, {
            "--landmarks": landmarks is not None, "--mirrored": mirrored, "--skip-existing": skip_existing,
            "--register": register, "--jobs": jobs > 1, "--ray": ray is not None,
        })  # fmt: skip
    from imhead import load
    from imhead.api.batch import unique_scans
    from imhead.api.scan_fit import ScanFit
    from imhead.fitting.config import FitConfig
    from imhead.fitting.landmarks import read_landmarks

    config = FitConfig(detail=detail, resolution=resolution, seed=seed)
    opened, scans = load(model, "cpu" if ray else device), unique_scans(scans)
    if same_person is not None:
        fit_one_person(opened, scans, out, same_person, known, scale, config, as_json)
        return
    if jobs > 1 and opened.model.device.type != "cpu":
        raise InputError(f"--jobs {jobs}: a GPU fits one scan at a time; leave it out, or add --device cpu")
    places = None if landmarks is None else read_landmarks(landmarks)
    one = ScanFit(opened, known, config, scale, places, mirrored, register, color)
    _fit_all(one, scans, out, min(jobs, len(scans)), ray, in_bytes(memory), skip_existing, as_json)


def _fit_all(
    one: ScanFit, scans: list[Path], out: Path, jobs: int, ray: str | None, memory_bytes: int | None,
    skip_existing: bool, as_json: bool,
) -> None:  # fmt: skip
    """Fit every scan, say what became of each as it is done, and refuse at the end where some have no fit."""
    from imhead.api.batch import fit_each, with_summary
    from imhead.api.cluster import workers_at

    several = len(scans) > 1
    refused: list[Outcome] = []
    shared = (*scans[:1], one.model.model.path)
    with progress_bar() as bar, workers_at(ray, jobs, out, shared, memory_bytes) as workers:
        everything = PaceBars(bar)
        if several:
            everything("scans", 0, len(scans))
        if jobs == 1 and ray is None:  # other processes have no bar
            one = replace(one, show=partial(_show, bar, bar.add_task("", total=1.0)))
        skip = one.whole if skip_existing else lambda folder: None
        found = fit_each(one, scans, out, workers=workers, skip=skip)
        with closing(with_summary(found, scans, out) if several else found) as outcomes:
            for count, outcome in enumerate(outcomes, 1):
                if several:
                    everything("scans", count, len(scans))
                if outcome.error is not None:
                    refused.append(outcome)
                _tell(outcome, several)
                if as_json:
                    print_json(_json(outcome))
    if refused:
        _refuse(refused, len(scans), out)


def _show(bar: Progress, task: TaskID, path: Path, stage: str, part: float) -> None:
    bar.update(task, completed=part, description=one_line(f"{path.name}: {stage}", _STAGE))


def _refuse(refused: list[Outcome], count: int, out: Path) -> None:
    """End the command, of whose scans some have no fit: exit code 1 where one failed by a fault of ours, else 2."""
    from imhead.api.batch import SUMMARY

    message = "; ".join(outcome.error or "" for outcome in refused[:_NAMED])
    if count > 1:
        message = f"{len(refused)} of {count} scans have no fit, see {out / SUMMARY}: {message}"
    if any(outcome.status == "failed" for outcome in refused):
        say.print(f"imhead: {message}; run again with --debug and report it")
        raise typer.Exit(1)
    raise InputError(message)


def _tell(outcome: Outcome, several: bool) -> None:
    """What became of a scan, for a person; the reason why a single scan was refused is the command's last line."""
    if outcome.report is None:
        if several:
            say.warn(outcome.error)
        return
    if outcome.status == "skipped":
        say.print(f"{outcome.scan}: has a whole fit in {outcome.folder}")
        return
    for warning in outcome.report["warnings"]:
        say.warn(f"{outcome.scan}: {warning}")
    spread = outcome.report["scan_to_head_mm"]
    if spread["median"] is not None:
        say.print(
            f"{outcome.scan}: median {spread['median']:.2f} mm, p90 {spread['p90']:.2f} mm over "
            f"{100 * outcome.report['explained_fraction']:.0f} % of the scan, in {outcome.folder}"
        )


def _json(outcome: Outcome) -> dict[str, Any]:
    said: dict[str, Any] = {"scan": str(outcome.scan), "status": outcome.status}
    if outcome.report is None:
        return said | {"error": outcome.error}
    return said | {"out": str(outcome.folder)} | outcome.report
