"""Topologies of users: `imhead topology learn`, `imhead topology list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from imhead.cli.console import (
    DeviceOption,
    JsonOption,
    ModelOption,
    check_target,
    print_json,
    print_line,
    progress_bar,
    say,
)
from imhead.errors import InputError, one_line

app = typer.Typer(help="Have every head in the topology of your own mesh.", no_args_is_help=True)


@app.command()
def learn(
    mesh: Annotated[Path, typer.Argument(help="Your neutral mesh, lips shut; .obj keeps polygons and UVs.")],
    name: Annotated[str, typer.Option("--name", help="A plain name, or a .safetensors file to write.")],
    units: Annotated[str, typer.Option(help="auto, mm, cm, m or in.")] = "auto",
    landmarks: Annotated[Path | None, typer.Option(help="As for imhead fit.")] = None,
    mirrored: Annotated[bool, typer.Option("--mirrored", help="The mesh has left and right swapped.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1)] = 0,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Learn a topology: fit the head to your mesh, and bind each of its vertices to it."""
    from imhead import load
    from imhead.api.topologies import learn_topology
    from imhead.fitting.config import FitConfig
    from imhead.fitting.pose import Units
    from imhead.topology.store import save_topology, topology_path

    path = topology_path(name)
    check_target(path)
    if units not in get_args(Units):
        raise InputError(f"--units {units!r} is not known; use {', '.join(get_args(Units))}")
    opened = load(model, device)
    with progress_bar() as bar:
        task = bar.add_task("topology", total=1.0)

        def show(stage: str, part: float) -> None:
            bar.update(task, completed=part, description=one_line(stage, 100))

        found = learn_topology(
            opened, mesh, path.stem, cast("Units", units), FitConfig(seed=seed), landmarks=landmarks,
            mirrored=mirrored, progress=show,
        )  # fmt: skip
    save_topology(found.topology, path)
    for warning in found.report["warnings"]:
        say.warn(warning)
    median = found.report["mesh_to_template_mm"]["median"]
    near = "no vertex lies on the head" if median is None else f"median {median:.2f} mm from the head"
    say.print(f"{path.stem}: {found.report['vertices']} vertices, {near}, in {path}")
    if as_json:
        print_json({"name": path.stem, "out": str(path)} | found.report)


@app.command("list")
def known(as_json: JsonOption = False) -> None:
    """The topologies in your data folder."""
    from imhead.topology.store import data_folder, known_topologies

    names = known_topologies()
    if as_json:
        print_json({"folder": str(data_folder()), "topologies": names})
        return
    for name in names:
        print_line(name)
    if not names:
        say.print(f"none in {data_folder()}")
