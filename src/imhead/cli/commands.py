"""The table of the commands."""

from __future__ import annotations

from typing import Annotated

import typer

from imhead import __version__
from imhead.cli import (
    avatar,
    bench,
    cohort,
    comparing,
    curation,
    data,
    demo,
    doctor,
    heads,
    learning,
    scans,
    serve,
    studio,
    topology,
    tracking,
)

app = typer.Typer(pretty_exceptions_enable=False)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"imhead {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """An implicit 3D model of the human head: fit it to a scan, edit one region, get a mesh."""
    if context.invoked_subcommand is None:
        print(context.get_help())


for function in (
    demo.demo, doctor.doctor, heads.sample, scans.fit, tracking.track, heads.regions, heads.edit, heads.mesh,
    heads.measure, comparing.compare, comparing.asymmetry, avatar.avatar, curation.curate, learning.train,
):  # fmt: skip
    app.command()(function)
app.command("eval")(learning.evaluate)
app.command("bench")(bench.bench)
app.command("studio")(studio.studio)
app.command("serve")(serve.serve)
app.command("cohort")(cohort.cohort)
app.add_typer(data.app, name="data")
app.add_typer(topology.app, name="topology")

command = typer.main.get_command(app)
"""All of them, as one command that takes words."""
