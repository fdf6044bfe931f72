"""The table of the commands."""

from __future__ import annotations

import typer

from imhead.cli import avatar, bench, data, heads, learning, scans, studio, tracking

app = typer.Typer(
    help="An implicit 3D model of the human head: fit it to a scan, edit one region, get a mesh.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for function in (
    heads.sample, scans.fit, tracking.track, heads.regions, heads.edit, heads.mesh, heads.measure, heads.compare,
    avatar.avatar, learning.train,
):  # fmt: skip
    app.command()(function)
app.command("eval")(learning.evaluate)
app.command("bench")(bench.bench)
app.command("studio")(studio.studio)
app.add_typer(data.app, name="data")

command = typer.main.get_command(app)
"""All of them, as one command that takes words."""
