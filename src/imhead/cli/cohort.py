"""Statistics over many people: `imhead cohort`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imhead.cli.console import (
    DeviceOption,
    JobsOption,
    JsonOption,
    ModelOption,
    OutFolder,
    SeedOption,
    TopologyOption,
    UnitsOption,
    check_units,
    print_json,
    say,
    stage_bar,
)
from imhead.errors import InputError
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
    units: UnitsOption = "auto",
    groups: Annotated[str | None, typer.Option(help="The two groups to compare, as A,B.")] = None,
    register: Annotated[
        bool, typer.Option("--register/--no-register", help="Move the template onto each scan.")
    ] = True,
    sizes: Annotated[bool, typer.Option("--sizes/--no-sizes", help="Keep the size of each head.")] = True,
    q: Annotated[float, typer.Option(help="Largest expected share of false findings.")] = 0.05,
    permutations: Annotated[int, typer.Option(min=99, max=1_000_000, help="Of the tests of two groups.")] = 9999,
    seed: SeedOption = 0,
    jobs: JobsOption = 1,
    topology: TopologyOption = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Many people: measurements, landmarks and corresponding shapes as tables, groups and repeats as a page."""
    check_folder(out)
    compared, known = _pair(groups), check_units(units)
    from imhead import load
    from imhead.api.cohorts import CohortOptions, study_cohort
    from imhead.fitting.config import FitConfig
    from imhead.topology.store import open_topology

    opened = load(model, device)
    options = CohortOptions(
        known, register, FitConfig(seed=seed), jobs, compared, sizes, q, permutations, seed,
        topology=None if topology is None else open_topology(topology, opened.template),
    )  # fmt: skip
    with stage_bar("cohort") as show:
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
