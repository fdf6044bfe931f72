"""A folder of raw scans, curated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imhead.cli.cluster import MemoryOption, RayOption, in_bytes
from imhead.cli.console import DeviceOption, JsonOption, OutFolder, print_json, progress_bar, say
from imhead.cli.pace import PaceBars
from imhead.io.atomic import check_folder


def curate(
    scans: Annotated[Path, typer.Argument(help="Folder of scans: person/expression.ply, or plain files.")],
    out: OutFolder,
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="Scans at a time; with 2 or more, each on one core.")] = 1,
    people: Annotated[
        Path | None,
        typer.Option(
            "--people",
            help="CSV with a column file, and any of person, expression, age, sex, consent, licence, split, units, "
            "scale, mirrored.",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", help="Name of a shipped model, path of one, or the folder of a run.")
    ] = "default",
    ray: RayOption = None,
    memory: MemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Fit, register and audit every scan of a folder: what can be learnt from, and what is left out and why."""
    check_folder(out)
    from imhead import load
    from imhead.curation.page import PAGE

    path = Path(model) / "model.safetensors"
    opened = load(path if path.is_file() else model, "cpu" if ray else device)
    with progress_bar() as bar:
        found = opened.curate(
            scans, out, people=people, jobs=jobs, ray=ray, memory_bytes=in_bytes(memory), progress=PaceBars(bar)
        )
    for entry in found.entries:
        if not entry.verdict.accepted:
            say.warn(f"{entry.raw.file}: {entry.verdict.reason}")
    report = found.report()
    say.print(
        f"{report['accepted']} of {report['scans']} scans are accepted, of {report['people']} people; "
        f"what was left out and why: {out / PAGE}"
    )
    if as_json:
        print_json({"out": str(out)} | report)
