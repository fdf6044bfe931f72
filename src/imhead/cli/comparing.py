"""Before against after: two heads, or scans of one person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from imhead.cli.console import DeviceOption, JsonOption, ModelOption, OutFolder, print_json, progress_bar, say
from imhead.errors import InputError, one_line
from imhead.io.atomic import check_folder

if TYPE_CHECKING:
    from imhead.api import MorphableModel

_HEAD = ".safetensors"
_PLACES = 5  # that are said in the terminal


def compare(
    visits: Annotated[
        list[Path], typer.Argument(metavar="BEFORE AFTER …", help="Scans of one person, or head files; two or more.")
    ],
    out: OutFolder,
    region: Annotated[
        list[str] | None, typer.Option("--region", help="Of two heads: region or group that was edited.")
    ] = None,
    stable: Annotated[
        list[str] | None,
        typer.Option("--stable", help="Region or group that did not change; may repeat. Forehead, brow, nose bridge "
                     "and temples by default."),
    ] = None,
    scanner: Annotated[
        str | None, typer.Option("--scanner", help="Its name, or the mm between two scans; measured if left out.")
    ] = None,
    same_expression: Annotated[
        bool, typer.Option("--same-expression", help="Let the model take later scans to the expression of the first.")
    ] = False,
    patient: Annotated[str | None, typer.Option("--patient", help="A label for the printed page alone.")] = None,
    units: Annotated[str, typer.Option(help="Of the scans: auto, mm, cm, m or in.")] = "auto",
    scale: Annotated[
        float | None, typer.Option(help="Millimetres that one unit of the scans stands for; goes before --units.")
    ] = None,
    resolution: Annotated[int, typer.Option(help="Of two heads: cells along the longest side of the bounds.")] = 256,
    topology: Annotated[
        str | None, typer.Option(help="Name or path of a topology that was learnt: both surfaces and the change in it.")
    ] = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """What changed between scans of one person, and whether it is more than the noise; or between two heads."""
    check_folder(out)
    if len(visits) < 2:
        raise InputError(f"{one_line(visits[0])}: is compared with nothing; give a second scan or head")
    for_scans = {
        "--stable": bool(stable), "--scanner": scanner is not None, "--same-expression": same_expression,
        "--patient": patient is not None, "--units": units != "auto", "--scale": scale is not None,
    }  # fmt: skip
    heads = [path.suffix == _HEAD for path in visits]
    from imhead import load
    from imhead.fitting.pose import Units

    if len(visits) == 2 and all(heads) and not any(for_scans.values()):
        _two_heads(load(model, device), visits[0], visits[1], out, region or [], resolution, topology, as_json)
        return
    if region:
        raise InputError("--region is for two head files that were edited; for scans name what is stable with --stable")
    if units not in get_args(Units):
        raise InputError(f"--units {units!r} is not known; use {', '.join(get_args(Units))}")
    from imhead.api.comparing import compare_scans
    from imhead.change.config import STABLE
    from imhead.regions import resolve
    from imhead.topology.store import open_topology

    resolve(stable or STABLE)  # before a model is loaded
    opened = load(model, device)
    mine = None if topology is None else open_topology(topology, opened.template)
    with progress_bar() as bar:
        task = bar.add_task("scans", total=1.0)

        def show(stage: str, part: float) -> None:
            bar.update(task, completed=part, description=one_line(stage, 100))

        compared = compare_scans(
            visits, opened, stable=stable or (), scanner=scanner, same_expression=same_expression,
            units=cast("Units", units), mm_per_unit=scale, progress=show,
        )  # fmt: skip
        show("report", 0.97)
        report = compared.write(out, patient, mine)
    for warning in report["warnings"]:
        say.warn(warning)
    for part in report["later"]:
        _tell(part)
    own = "" if mine is None else f", both surfaces in topology {mine.name}"
    say.print(f"report.html, heatmap.png, report.json{own} and the change as .ply in {out}")
    if as_json:
        print_json(report)


def _two_heads(
    opened: MorphableModel, before: Path, after: Path, out: Path, region: list[str], resolution: int,
    topology: str | None, as_json: bool,
) -> None:  # fmt: skip
    from imhead.api.topologies import write_topology_comparison
    from imhead.topology.store import open_topology

    mine = None if topology is None else open_topology(topology, opened.template)
    if not opened.has_template:
        say.print("this model has no template, so the report has no measurements and no volumes of regions")
    labels = (before.stem, after.stem) if before.stem != after.stem else ("before", "after")
    first, second = opened.open(before), opened.open(after)
    result = first.compare(second, out, region or (), labels, resolution)
    if mine is not None:
        write_topology_comparison(first, second, mine, out, result["heat_limit_mm"])
        say.print(f"before.obj, after.obj and change.ply in topology {mine.name}")
    say.print(f"report.html, heatmap.png and report.json in {out}")
    for warning in result["warnings"]:
        say.warn(warning)
    if as_json:
        print_json(result)


def _tell(part: dict[str, Any]) -> None:
    """What became of a later visit, for a person."""
    aligned, noise = part["aligned_on"], part["noise_mm"]
    say.print(
        f"{part['name']}: stable regions agree to {aligned['median_mm']:.2f} mm, noise {noise['total']:.2f} mm; "
        f"{len(part['places'])} places moved by more than it"
    )
    for place in part["places"][:_PLACES]:
        say.print(
            f"  {place['region'].replace('_', ' ')}: {place['mean_mm']:+.2f} ± {place['error_mm']:.2f} mm, "
            f"{place['volume_ml']:+.2f} ± {place['volume_error_ml']:.2f} ml over {place['area_cm2']:.1f} cm²"
        )


def asymmetry(
    source: Annotated[Path, typer.Argument(metavar="HEAD|SCAN", help="Head file, or a scan.")],
    out: OutFolder,
    units: Annotated[str, typer.Option(help="Of the scan: auto, mm, cm, m or in.")] = "auto",
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """How far each side of a face lies from the mirror image of the other: map, regions, index and plane."""
    check_folder(out)
    from imhead import load
    from imhead.api.comparing import asymmetry as mirrored

    report = mirrored(source, load(model, device), out, units=units)
    for warning in report["warnings"]:
        say.warn(warning)
    say.print(f"{source}: asymmetry {report['index_mm']:.2f} mm over the face; report.json, heatmap.png in {out}")
    if as_json:
        print_json(report)
