"""New heads, regions, edits, measurements and meshes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from imhead.cli.console import (
    HEAD_FILE,
    DeviceOption,
    JsonOption,
    ModelOption,
    OutFolder,
    SeedOption,
    TopologyOption,
    UnitsOption,
    check_head_target,
    check_units,
    print_json,
    print_line,
    progress_bar,
    say,
)
from imhead.errors import InputError
from imhead.io.atomic import check_folder

if TYPE_CHECKING:
    from imhead.api import EditableHead, MorphableModel
    from imhead.api.export import Expression, SurfaceKind
    from imhead.measure.table import MeasuredChange

_PICTURED = 24  # of the heads that are drawn
_UNITS = {"mm": "mm", "degrees": "degrees", "degree": "degrees", "deg": "degrees", "°": "degrees"}


def sample(
    out: OutFolder,
    count: Annotated[int, typer.Option("-n", min=1, max=10000, help="How many heads.")] = 8,
    seed: SeedOption = 0,
    spread: Annotated[float, typer.Option(min=0.0, max=2.0, help="Standard deviation of the codes.")] = 0.8,
    resolution: Annotated[int, typer.Option(help="Cells of the mesh along the longest side.")] = 256,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """New heads: head files, meshes and a contact sheet."""
    check_folder(out)
    from imhead import load
    from imhead.io.mesh_file import write_mesh
    from imhead.io.picture_file import write_picture
    from imhead.rendering.figures import contact_sheet
    from imhead.rendering.shading import shade

    heads = load(model, device).sample(count, seed, spread)
    pictures, files = [], []
    with progress_bar() as bar:
        for k, head in enumerate(bar.track(heads, description="heads")):
            mesh = head.mesh(resolution=resolution)
            head.save(out / f"head_{k:03d}.safetensors")
            write_mesh(mesh, out / f"head_{k:03d}.ply")
            files.append(f"head_{k:03d}.ply")
            if k < _PICTURED:
                pictures.append(shade(mesh, "three_quarter" if k % 2 else "front", 384))
    write_picture(contact_sheet(pictures, columns=4), out / "contact_sheet.png")
    say.print(f"{count} heads in {out}")
    if as_json:
        print_json({"out": str(out), "heads": files, "contact_sheet": "contact_sheet.png"})


def regions(as_json: JsonOption = False) -> None:
    """The 39 regions, their groups and mirror pairs."""
    from imhead.regions import region_table

    table = region_table()
    if as_json:
        print_json(table)
        return
    for name, members in table["groups"].items():
        print_line(f"{name}: {', '.join(members)}")


def edit(
    head: Annotated[Path, typer.Argument(help="Head file.")],
    region: Annotated[list[str], typer.Option("--region", help="Region or group; may repeat.")],
    out: Annotated[Path, typer.Option("--out", help="Head file to write.")],
    draw: Annotated[int | None, typer.Option("--sample", min=0, help="Seed of a random draw.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="Head to take the regions from.")] = None,
    blend: Annotated[list[str] | None, typer.Option("--blend", help="HEAD=SHARE to mix in; may repeat.")] = None,
    direction: Annotated[str | None, typer.Option(help="Principal direction from 0, or a word: wider, longer.")] = None,
    target: Annotated[list[str] | None, typer.Option("--target", help="Measurement=±Xmm; may repeat.")] = None,
    symmetry: Annotated[str | None, typer.Option(help="Both sides like the left, the right or the average.")] = None,
    plausible: Annotated[float | None, typer.Option(help="Farthest from the mean, in standard deviations.")] = None,
    strength: Annotated[
        float | None, typer.Option(help="How far: 1, the default, is one standard deviation, or all the way.")
    ] = None,
    mirror: Annotated[bool, typer.Option("--mirror", help="The same on the other side.")] = False,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Change one region or group of a head, and nothing else."""
    check_head_target(out)
    from imhead import load
    from imhead.api.tables import doubts as doubts_of
    from imhead.regions import resolve

    chosen = [r.name for r in resolve(region)]
    kinds: dict[str, Any] = {
        "sample": draw,
        "source": source,
        "blend": None if blend is None else [_blend_share(text) for text in blend],
        "direction": None if direction is None else _direction(direction),
        "target": _targets(target) if target else None,
        "symmetry": symmetry,
        "plausible": plausible,
    }
    opened = load(model, device)
    before = opened.open(head)
    after, told = _edited(before, chosen, _with_heads(opened, kinds), strength, mirror)
    after.save(out)
    say.print(f"{after.codes.provenance[-1]}, in {out}")
    if "held" in told:
        largest = max((abs(row["change"]) for row in told["held"].values()), default=0.0)
        say.print(f"held within {largest:.2f} mm: {', '.join(told['held']) or 'nothing'}")
    doubts = doubts_of(after.codes)
    _warn(doubts["warnings"])
    if as_json:
        print_json({"out": str(out), "regions": chosen, "provenance": list(after.codes.provenance)} | doubts | told)


def _with_heads(opened: MorphableModel, kinds: dict[str, Any]) -> dict[str, Any]:
    """The kinds of an edit, with heads in place of the paths of their files."""
    source, blend = kinds["source"], kinds["blend"]
    return kinds | {
        "source": None if source is None else opened.open(source),
        "blend": None if blend is None else [(opened.open(path), share) for path, share in blend],
    }


def _edited(
    before: EditableHead, regions: list[str], kinds: dict[str, Any], strength: float | None, mirror: bool
) -> tuple[EditableHead, dict[str, Any]]:
    """The edited head, and what a program is told of an edit by number or along a direction."""
    alone = sum(value is not None for value in kinds.values()) == 1
    if kinds["target"] is not None and alone and strength is None:
        after, reached = before.by_number(regions, kinds["target"], mirror)
        return after, {
            "targets": _changes(reached.targets), "held": _changes(reached.held), "moved": _changes(reached.moved),
            "step_sigma": reached.step_sigma, "sigma": reached.sigma,
        }  # fmt: skip
    if kinds["direction"] is not None and alone:
        after, move = before.by_direction(regions, kinds["direction"], 1.0 if strength is None else strength, mirror)
        return after, {"asked_sigma": move.asked, "reached_sigma": move.reached, "stopped": move.stop or None}
    return before.edit(regions, strength=strength, mirror=mirror or None, **kinds), {}


def measure(
    head: Annotated[Path, typer.Argument(metavar="HEAD|SCAN", help="Head file; or a scan, which is registered first.")],
    landmarks: Annotated[
        Path | None,
        typer.Option(help="Landmarks picked on the scan (.fcsv, .mrk.json, .pp, .ljson, .json), to compare with ours."),
    ] = None,
    units: UnitsOption = "auto",
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Anthropometric distances, angles and volumes of a head's neutral face, or of a scan's."""
    known, is_head = check_units(units), head.suffix.lower() == HEAD_FILE
    if is_head and (landmarks is not None or units != "auto"):
        raise InputError(f"{head}: --landmarks and --units are of a scan; give the scan instead of the head file")
    from imhead import load
    from imhead.api.comparing import landmark_table, registered_scan
    from imhead.api.tables import measurement_table

    opened = load(model, device)
    if is_head:
        table = measurement_table(opened.open(head))
    else:
        fitted = registered_scan(opened, head, known)
        table = measurement_table(fitted)
        table["warnings"] = list(dict.fromkeys([*table["warnings"], *fitted.report()["warnings"]]))
        if landmarks is not None:
            table["picked"] = landmark_table(fitted, landmarks)
    if as_json:
        print_json({"head": str(head)} | table)
        return
    for doubt in table["warnings"]:
        print_line(f"warning: {doubt}")
    for name, row in table["measurements"].items():
        error = "" if row["error"] is None else f" ± {row['error']:.1f}"
        z = "" if row["z_model"] is None else f"   z {row['z_model']:+.1f}"
        z += "" if row["z_at_size"] is None else f"   at its size {row['z_at_size']:+.1f}"
        print_line(f"{name:<26}{row['value']:8.1f}{error} {row['unit']}{z}")
    population = table["population"]
    print_line("no z: how the heads of this model vary is not known" if population is None else population["statement"])
    for row in table.get("picked", ()):
        print_line(f"picked {row['name']:<24}{row['distance_mm']:8.2f} mm from ours")


def mesh(
    head: Annotated[Path, typer.Argument(help="Head file.")],
    out: Annotated[Path, typer.Option("--out", help=".ply, .obj, .stl or .glb.")],
    expression: Annotated[
        list[str] | None,
        typer.Option(
            "--expression",
            help="ARKit name=weight, may repeat; or own, the head's own. By default own, in a .glb neutral.",
        ),
    ] = None,
    surface: Annotated[str, typer.Option(help="volume (watertight), or template (one topology, UVs).")] = "volume",
    resolution: Annotated[int, typer.Option(help="Cells along the longest side of the bounds, 16 to 1024.")] = 256,
    units: Annotated[str | None, typer.Option(help="Of a .ply, .obj or .stl: mm, cm, m or in; mm by default.")] = None,
    up: Annotated[str | None, typer.Option(help="Axis that points up in a .ply, .obj or .stl: y, or z.")] = None,
    quantized: Annotated[bool, typer.Option("--quantized", help="Half the size: a .glb with 16-bit places.")] = False,
    topology: TopologyOption = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """A mesh of a head, with its own expression or another. A GLB from template also carries the 52 ARKit shapes."""
    from imhead import load
    from imhead.api.export import ExportConfig, export_head
    from imhead.api.tables import doubts as doubts_of
    from imhead.registration.maps import normal_map_beside

    check_folder(out.parent)
    weights = _weights(expression)
    config = ExportConfig(weights, cast("SurfaceKind", surface), resolution, units, up, quantized)
    config.check(out)
    if topology is not None and surface != "volume":
        raise InputError(f"--topology and --surface {surface} are two surfaces; leave one of them out")
    loaded = load(model, device)
    opened = loaded.open(head)
    if topology is not None:
        from imhead.api.topologies import write_topology_mesh
        from imhead.topology.store import open_topology

        mine = open_topology(topology, loaded.template)
        drawn = write_topology_mesh(opened, mine, out, weights, config.units or "mm", config.up or "y", quantized)
    else:
        relief = normal_map_beside(head) if opened.codes.registration is not None else None
        drawn = export_head(opened, out, config, relief)
    say.print(f"{len(drawn.vertices)} vertices, {len(drawn.faces)} faces, in {out}")
    doubts = doubts_of(opened.codes)
    _warn(doubts["warnings"])
    if as_json:
        size = {
            "vertices": len(drawn.vertices),
            "faces": len(drawn.faces),
            "surface": surface if topology is None else topology,
        }
        print_json({"out": str(out)} | size | doubts)


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        say.warn(warning)


def _direction(text: str) -> int | str:
    """The number of a principal direction, or a word."""
    try:
        return int(text)
    except ValueError:
        return text


def _weights(texts: list[str] | None) -> Expression | None:
    """ARKit weights by name, the head's own expression, or what the kind of file has by default."""
    if not texts:
        return None
    return "own" if texts == ["own"] else dict(_weight(text) for text in texts)


def _weight(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise InputError(f"--expression {text!r}: write NAME=WEIGHT, for example jawOpen=0.5") from None


def _targets(texts: list[str]) -> dict[str, float]:
    """Measurement → change, from `tip_projection=-2mm`; the unit may be left out, not be another one."""
    from imhead.measure.table import measurement

    found: dict[str, float] = {}
    for text in texts:
        name, _, change = text.partition("=")
        unit = measurement(name).unit
        number = change.strip()
        for ending, meant in _UNITS.items():
            if number.endswith(ending):
                if meant != unit:
                    raise InputError(f"--target {text!r}: {name} is measured in {unit}, not in {meant}")
                number = number.removesuffix(ending)
                break
        try:
            found[name] = float(number)
        except ValueError:
            example = "-2mm" if unit == "mm" else "+5degrees"
            raise InputError(f"--target {text!r}: write a change in {unit}, for example {name}={example}") from None
    return found


def _blend_share(text: str) -> tuple[Path, float]:
    path, _, share = text.rpartition("=")
    try:
        return Path(path), float(share)
    except ValueError:
        raise InputError(f"--blend {text!r}: write HEAD=SHARE, for example other.safetensors=0.3") from None


def _changes(changes: dict[str, MeasuredChange]) -> dict[str, Any]:
    return {
        name: {"before": c.before, "after": c.after, "change": c.change, "unit": c.unit} for name, c in changes.items()
    }
