"""Topologies of users: `imhead topology learn`, `imhead topology list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imhead.cli.console import (
    DeviceOption,
    JsonOption,
    LandmarksOption,
    MirroredOption,
    ModelOption,
    SeedOption,
    UnitsOption,
    check_units,
    print_json,
    print_line,
    say,
    stage_bar,
)
from imhead.io.atomic import check_folder

app = typer.Typer(help="Have every head in the topology of your own mesh.", no_args_is_help=True)


@app.command()
def learn(
    mesh: Annotated[Path, typer.Argument(help="Your neutral mesh, lips shut; .obj keeps polygons and UVs.")],
    name: Annotated[str, typer.Option("--name", help="A plain name, or a .safetensors file to write.")],
    units: UnitsOption = "auto",
    landmarks: LandmarksOption = None,
    mirrored: MirroredOption = False,
    seed: SeedOption = 0,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Learn a topology: fit the head to your mesh, and bind each of its vertices to it."""
    known_units = check_units(units)
    from imhead import load
    from imhead.api.topologies import learn_topology
    from imhead.fitting.config import FitConfig
    from imhead.topology.store import save_topology, topology_path

    path = topology_path(name)
    check_folder(path.parent)
    opened = load(model, device)
    with stage_bar("topology") as show:
        found = learn_topology(
            opened, mesh, path.stem, known_units, FitConfig(seed=seed), landmarks=landmarks, mirrored=mirrored,
            progress=show,
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
