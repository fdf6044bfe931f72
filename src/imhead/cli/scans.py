"""Fits of scans."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from imhead.cli.cluster import MemoryOption, RayOption, in_bytes
from imhead.cli.console import DeviceOption, ModelOption, OutFolder, print_json, progress_bar, say
from imhead.cli.pace import PaceBars
from imhead.cli.people import check_person_name, fit_one_person
from imhead.errors import InputError, one_line
from imhead.io.atomic import check_folder

if TYPE_CHECKING:
    from imhead.api.batch import Outcome
    from imhead.api.fitted import FittedHead
    from imhead.api.models import MorphableModel
    from imhead.fitting.config import FitConfig
    from imhead.fitting.landmarks import Landmarks
    from imhead.fitting.pose import Units

_NAMED = 3  # refused scans that the last line names


def fit(
    scans: Annotated[
        list[Path], typer.Argument(help="Scans: .ply, .obj, .stl, .glb and other formats, mesh or points.")
    ],
    out: OutFolder,
    units: Annotated[str, typer.Option(help="auto, mm, cm, m or in.")] = "auto",
    scale: Annotated[
        float | None, typer.Option(help="Millimetres that one unit of the scan stands for; goes before --units.")
    ] = None,
    landmarks: Annotated[
        Path | None,
        typer.Option(help='JSON: {"region name": [x, y, z], ...}, three or more, in the scan\'s own frame.'),
    ] = None,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="The scans have left and right swapped: put them right.")
    ] = False,
    detail: Annotated[bool, typer.Option("--detail/--no-detail", help="Fit region offsets too.")] = True,
    resolution: Annotated[int, typer.Option(min=16, max=1024, help="Cells of the mesh along the longest side.")] = 256,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1)] = 0,
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="Fits at a time; with 2 or more, each on one core.")] = 1,
    ray: RayOption = None,
    memory: MemoryOption = None,
    skip_existing: Annotated[
        bool,
        typer.Option("--skip-existing", help="Leave out scans whose folder holds a whole fit: go on with a batch."),
    ] = False,
    same_person: Annotated[
        str | None,
        typer.Option(
            help="Name of the person whom all scans show: one head for all of them, in a folder of that name."
        ),
    ] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Draw the template's vertices to the scan itself: registered.ply.")
    ] = False,
    color: Annotated[
        bool, typer.Option("--color/--no-color", help="Keep the colours of a coloured scan beside the head file.")
    ] = True,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a scan on stdout, as it is done.")
    ] = False,
) -> None:
    """Find the head in each scan: codes, mesh, overlay, report and picture; of several scans also summary.csv."""
    check_folder(out)
    from imhead import load
    from imhead.api.batch import SUMMARY, fit_each, unique_scans, whole_fit, with_summary
    from imhead.api.cluster import workers_at
    from imhead.fitting.config import FitConfig
    from imhead.fitting.landmarks import read_landmarks
    from imhead.fitting.pose import Units

    if same_person is not None:
        check_person_name(same_person)
    if units not in get_args(Units):
        raise InputError(f"--units {units!r} is not known; use {', '.join(get_args(Units))}")
    scans = unique_scans(scans)
    opened = load(model, "cpu" if ray else device)
    if jobs > 1 and opened.model.device.type != "cpu":
        raise InputError(f"--jobs {jobs}: a GPU fits one scan at a time; leave it out, or add --device cpu")
    config = FitConfig(detail=detail, resolution=resolution, seed=seed)
    if same_person is not None:
        for option, given in (
            ("--landmarks", landmarks), ("--mirrored", mirrored), ("--skip-existing", skip_existing),
            ("--register", register), ("--jobs", jobs > 1), ("--ray", ray is not None),
        ):  # fmt: skip
            if given:
                raise InputError(f"--same-person does not go with {option}; leave one of them out")
        return fit_one_person(opened, scans, out, same_person, cast("Units", units), scale, config, as_json)
    places = None if landmarks is None else read_landmarks(landmarks)
    several, jobs = len(scans) > 1, min(jobs, len(scans))
    here = jobs == 1 and ray is None
    refused: list[str] = []
    failed = 0
    shared = (*scans[:1], opened.model.path)
    with progress_bar() as bar, workers_at(ray, jobs, out, shared, in_bytes(memory)) as workers:
        everything = PaceBars(bar)
        if several:
            everything("scans", 0, len(scans))
        one = bar.add_task("", total=1.0, visible=here)

        def show(path: Path, stage: str, part: float) -> None:
            bar.update(one, completed=part, description=one_line(f"{path.name}: {stage}", 100))

        shown = show if here else None  # other processes have no bar
        fitted = _Fit(opened, cast("Units", units), config, scale, places, mirrored, register, color, shown)

        def whole(folder: Path) -> dict[str, Any] | None:
            report = whole_fit(folder, opened.model)
            return report if report is None or not register or "registered" in report else None

        outcomes = fit_each(
            fitted, scans, out, workers=workers,
            skip=whole if skip_existing else lambda folder: None,
        )  # fmt: skip
        with closing(with_summary(outcomes, scans, out) if several else outcomes) as outcomes:
            for count, outcome in enumerate(outcomes, 1):
                if several:
                    everything("scans", count, len(scans))
                if outcome.error is not None:
                    refused.append(outcome.error)
                    failed += outcome.status == "failed"
                _tell(outcome, several)
                if as_json:
                    print_json(_json(outcome))
    if not refused:
        return
    message = "; ".join(refused[:_NAMED])
    if several:
        message = f"{len(refused)} of {len(scans)} scans have no fit, see {out / SUMMARY}: {message}"
    if failed:
        say.print(f"imhead: {message}; run again with --debug and report it")
        raise typer.Exit(1)
    raise InputError(message)


@dataclass(frozen=True)
class _Fit:
    """Reads and fits one scan. Without `show` it can be pickled, for a process that is started and not forked."""

    model: MorphableModel
    units: Units
    config: FitConfig
    mm_per_unit: float | None
    landmarks: Landmarks | None
    mirrored: bool
    register: bool
    color: bool
    show: Callable[[Path, str, float], None] | None

    def __call__(self, path: Path) -> FittedHead:
        found = self.model.fit(
            path, self.units, self.config, mm_per_unit=self.mm_per_unit, landmarks=self.landmarks,
            mirrored=self.mirrored, progress=_silent if self.show is None else partial(self.show, path),
        )  # fmt: skip
        found = found.register() if self.register else found
        return found.keeping_colors() if self.color else found


def _silent(stage: str, part: float) -> None:
    pass


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
