"""Statistics over many people: `imhead cohort`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from imhead.cli.console import DeviceOption, JsonOption, ModelOption, OutFolder, print_json, progress_bar, say
from imhead.errors import InputError, one_line
from imhead.io.atomic import check_folder


def cohort(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|CSV",
            help="A folder with a folder or a file for each person, or a table with columns file, person, group.",
        ),
    ],
    out: OutFolder,
    units: Annotated[str, typer.Option(help="Of all scans: auto, mm, cm, m or in.")] = "auto",
    groups: Annotated[str | None, typer.Option(help="The two groups to compare, as A,B.")] = None,
    register: Annotated[
        bool, typer.Option("--register/--no-register", help="Move the template onto each scan.")
    ] = True,
    sizes: Annotated[bool, typer.Option("--sizes/--no-sizes", help="Keep the size of each head.")] = True,
    q: Annotated[float, typer.Option(help="Largest expected share of false findings.")] = 0.05,
    permutations: Annotated[int, typer.Option(min=99, max=1_000_000, help="Of the tests of two groups.")] = 9999,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1)] = 0,
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="Fits at a time; with 2 or more, each on one core.")] = 1,
    topology: Annotated[
        str | None, typer.Option(help="Name or path of a topology that was learnt, for the shapes.")
    ] = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Many people: measurements, landmarks and corresponding shapes as tables, groups and repeats as a page."""
    check_folder(out)
    from imhead import load
    from imhead.api.cohorts import CohortOptions, study_cohort
    from imhead.fitting.config import FitConfig
    from imhead.fitting.pose import Units
    from imhead.topology.store import open_topology

    if units not in get_args(Units):
        raise InputError(f"--units {units!r} is not known; use {', '.join(get_args(Units))}")
    compared = _pair(groups)
    opened = load(model, device)
    options = CohortOptions(
        cast("Units", units), register, FitConfig(seed=seed), jobs, compared, sizes, q, permutations, seed,
        topology=None if topology is None else open_topology(topology, opened.template),
    )  # fmt: skip
    with progress_bar() as bar:
        task = bar.add_task("cohort", total=1.0)

        def show(stage: str, part: float) -> None:
            bar.update(task, completed=part, description=one_line(stage, 100))

        report = study_cohort(opened, source, out, options, show)
    for entry in report["left_out"]:
        say.warn(entry["reason"])
    for warning in report["warnings"]:
        say.warn(warning)
    if report["compared"] is not None and report["tests"]:
        found = ", ".join(f"{k['region']} ({k['kind']})" for k in report["findings"]) or "no difference was found"
        say.print(f"{' and '.join(report['compared'])}: {found} at q = {report['q']:g}")
    say.print(f"{report['people']} people in {report['sittings']} sittings; report.html and tables in {out}")
    if as_json:
        print_json({"out": str(out)} | report)


def _pair(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    first, _, second = text.partition(",")
    if not first.strip() or not second.strip():
        raise InputError(f"--groups {text!r}: write two names, for example --groups before,after")
    return first.strip(), second.strip()
