"""New heads, edits, meshes and comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imhead.cli.console import (
    DeviceOption,
    JsonOption,
    ModelOption,
    OutFolder,
    check_target,
    make_folder,
    print_json,
    progress_bar,
    say,
)
from imhead.errors import InputError


def sample(
    out: OutFolder,
    count: Annotated[int, typer.Option("-n", min=1, max=10000, help="How many heads.")] = 8,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    spread: Annotated[float, typer.Option(min=0.0, max=2.0, help="Standard deviation of the codes.")] = 0.8,
    resolution: Annotated[int, typer.Option(help="Cells of the mesh along the longest side.")] = 256,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """New heads: head files, meshes and a contact sheet."""
    from imhead import load, render
    from imhead.export import write_mesh

    heads = load(model, device).sample(count, seed, spread)
    make_folder(out)
    pictures, files = [], []
    with progress_bar() as bar:
        for k, head in enumerate(bar.track(heads, description="heads")):
            mesh = head.mesh(resolution=resolution)
            head.save(out / f"head_{k:03d}.safetensors")
            write_mesh(mesh, out / f"head_{k:03d}.ply")
            files.append(f"head_{k:03d}.ply")
            if k < 24:
                pictures.append(render.shade(mesh, "three_quarter" if k % 2 else "front", 384))
    render.contact_sheet(pictures, columns=4).save(out / "contact_sheet.png")
    say.print(f"{count} heads in {out}")
    if as_json:
        print_json({"out": str(out), "heads": files, "contact_sheet": "contact_sheet.png"})


def regions(as_json: JsonOption = False) -> None:
    """The 39 regions, their groups and mirror pairs."""
    from imhead.regions import REGIONS, groups

    rows = [
        {"name": r.name, "index": r.index, "group": r.group, "mirror": REGIONS[r.mirror].name, "radius_mm": r.radius_mm}
        for r in REGIONS
    ]
    if as_json:
        print_json({"regions": rows, "groups": {name: list(members) for name, members in groups().items()}})
        return
    for name, members in groups().items():
        print(f"{name}: {', '.join(members)}")


def edit(
    head: Annotated[Path, typer.Argument(help="Head file.")],
    region: Annotated[list[str], typer.Option("--region", help="Region or group; may repeat.")],
    out: Annotated[Path, typer.Option("--out", help="Head file to write.")],
    draw: Annotated[int | None, typer.Option("--sample", min=0, help="Seed of a random draw.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="Head to take the regions from.")] = None,
    direction: Annotated[int | None, typer.Option(help="Principal direction of the regions, from 0.")] = None,
    strength: Annotated[float, typer.Option(help="How far; 1 is one standard deviation, or all the way.")] = 1.0,
    mirror: Annotated[bool, typer.Option("--mirror", help="The same on the other side.")] = False,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Change one region or group of a head, and nothing else."""
    from imhead import load
    from imhead.regions import resolve

    chosen = [r.name for r in resolve(region)]
    opened = load(model, device)
    before = opened.open(head)
    after = before.edit(
        chosen,
        sample=draw,
        source=None if source is None else opened.open(source),
        direction=direction,
        strength=strength,
        mirror=mirror,
    )
    check_target(out)
    after.save(out)
    say.print(f"{after.codes.provenance[-1]}, in {out}")
    if as_json:
        print_json({"out": str(out), "regions": chosen, "provenance": list(after.codes.provenance)})


def mesh(
    head: Annotated[Path, typer.Argument(help="Head file.")],
    out: Annotated[Path, typer.Option("--out", help=".ply, .obj, .stl (mm) or .glb (metres).")],
    expression: Annotated[list[str] | None, typer.Option("--expression", help="ARKit name=weight; may repeat.")] = None,
    surface: Annotated[str, typer.Option(help="volume (watertight), or template (one topology, UVs).")] = "volume",
    resolution: Annotated[int, typer.Option(help="Cells along the longest side of the bounds, 16 to 1024.")] = 256,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """A mesh of a head, with its own expression or another. A GLB from template also carries the 52 ARKit shapes."""
    from imhead import load
    from imhead.export import write_mesh

    if surface not in ("volume", "template"):
        raise InputError(f"--surface {surface!r} is not known; use volume or template")
    if surface == "template" and out.suffix.lower() == ".stl":
        raise InputError(
            f"{out}: the template is open behind the lids and below the shoulders, so it cannot be printed; "
            "write an STL with --surface volume"
        )
    weights = None if not expression else dict(_weight(text) for text in expression)
    source = load(model, device)
    opened = source.open(head)
    notes = {
        "model": opened.codes.model_id,
        "model_hash": opened.codes.model_hash,
        "head": "; ".join(opened.codes.provenance),
        "surface": surface,
        "licence": "weights: Apache-2.0; trained on heads drawn from ICT-FaceKit (MIT)",
    }
    uv = morphs = None
    if surface == "volume":
        drawn = opened.mesh(weights, resolution)
    elif out.suffix.lower() == ".glb":
        drawn, uv, morphs = opened.animated(weights)
    else:
        drawn, uv = opened.mesh(weights, surface="template"), source.template.uv_map
    check_target(out, suffix=None)
    write_mesh(drawn, out, metadata=notes, uv=uv, morphs=morphs)
    say.print(f"{len(drawn.vertices)} vertices, {len(drawn.faces)} faces, in {out}")
    if as_json:
        print_json({"out": str(out), "vertices": len(drawn.vertices), "faces": len(drawn.faces), "surface": surface})


def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="Head file before.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="Head file after.")],
    out: OutFolder,
    region: Annotated[list[str] | None, typer.Option("--region", help="Region or group that was edited.")] = None,
    resolution: Annotated[int, typer.Option(help="Cells along the longest side of the bounds.")] = 256,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """What changed between two heads: signed movement in mm, inside and outside a region."""
    from imhead import load
    from imhead.regions import resolve
    from imhead.report import compare_meshes

    chosen = [r.name for r in resolve(region)] if region else []
    opened = load(model, device)
    first, second = opened.open(before), opened.open(after)
    balls = [ball for head in (first, second) for ball in head.reach(chosen)] if chosen else []
    result = compare_meshes(
        first.mesh(resolution=resolution),
        second.mesh(resolution=resolution),
        region_ball=[(tuple(ball.center_mm), ball.radius_mm) for ball in balls] or None,
        out=out,
        labels=(before.stem, after.stem) if before.stem != after.stem else ("before", "after"),
        region_names=chosen,
    )
    say.print(f"report.html, heatmap.png and report.json in {out}")
    if as_json:
        print_json(result)


def _weight(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise InputError(f"--expression {text!r}: write NAME=WEIGHT, for example jawOpen=0.5") from None
