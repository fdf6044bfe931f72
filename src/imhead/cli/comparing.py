"""Before against after: two heads, or scans of one person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imhead.cli.console import (
    HEAD_FILE,
    DeviceOption,
    JsonOption,
    ModelOption,
    OutFolder,
    ScaleOption,
    TopologyOption,
    UnitsOption,
    check_units,
    print_json,
    say,
    stage_bar,
)
from imhead.errors import InputError, one_line
from imhead.io.atomic import check_folder

if TYPE_CHECKING:
    from imhead.api import MorphableModel

_PLACES = 5  # that are said in the terminal
_CELLS = 256

_VisitsArgument = Annotated[
    list[Path], typer.Argument(metavar="BEFORE AFTER …", help="Scans of one person, or head files; two or more.")
]
_RegionOption = Annotated[
    list[str] | None, typer.Option("--region", help="Of two heads: region or group that was edited.")
]
_StableOption = Annotated[
    list[str] | None,
    typer.Option(
        "--stable",
        help="Region or group that did not change; may repeat. Forehead, brow, nose bridge and temples by default.",
    ),
]
_ScannerOption = Annotated[
    str | None, typer.Option("--scanner", help="Its name, or the mm between two scans; measured if left out.")
]
_ExpressionOption = Annotated[
    bool, typer.Option("--same-expression", help="Let the model take later scans to the expression of the first.")
]
_PatientOption = Annotated[str | None, typer.Option("--patient", help="A label for the printed page alone.")]
_CellsOption = Annotated[
    int | None,
    typer.Option(
        "--resolution", help="Of two heads: cells along the longest side of the bounds.", show_default=str(_CELLS)
    ),
]


def compare(
    visits: _VisitsArgument,
    out: OutFolder,
    region: _RegionOption = None,
    stable: _StableOption = None,
    scanner: _ScannerOption = None,
    same_expression: _ExpressionOption = False,
    patient: _PatientOption = None,
    units: UnitsOption = "auto",
    scale: ScaleOption = None,
    resolution: _CellsOption = None,
    topology: TopologyOption = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """What changed between scans of one person, and whether it is more than the noise; or between two heads."""
    check_folder(out)
    known = check_units(units)
    if len(visits) < 2:
        raise InputError(f"{one_line(visits[0])}: is compared with nothing; give a second scan or head")
    of_scans = stable or scanner or same_expression or patient is not None or units != "auto" or scale is not None
    from imhead import load

    if len(visits) == 2 and all(path.suffix.lower() == HEAD_FILE for path in visits) and not of_scans:
        cells = _CELLS if resolution is None else resolution
        _two_heads(load(model, device), visits[0], visits[1], out, region or [], cells, topology, as_json)
        return
    if region:
        raise InputError("--region is for two head files that were edited; for scans name what is stable with --stable")
    if resolution is not None:
        raise InputError("--resolution is for two head files; scans are compared on the template, so leave it out")
    from imhead.api.comparing import compare_scans
    from imhead.change.config import STABLE
    from imhead.regions import resolve
    from imhead.topology.store import open_topology

    resolve(stable or STABLE)  # before a model is loaded
    opened = load(model, device)
    mine = None if topology is None else open_topology(topology, opened.template)
    with stage_bar("scans") as show:
        compared = compare_scans(
            visits, opened, stable=stable or (), scanner=scanner, same_expression=same_expression, units=known,
            mm_per_unit=scale, progress=show,
        )  # fmt: skip
        show("report", 0.97)
        report = compared.write(out, patient, mine)
    own = "" if mine is None else f", both surfaces in topology {mine.name}"
    _tell_all(report, f"report.html, heatmap.png, report.json{own} and the change as .ply in {out}", as_json)


def _tell_all(report: dict[str, Any], files: str, as_json: bool) -> None:
    """What became of all visits."""
    for warning in report["warnings"]:
        say.warn(warning)
    for part in report["later"]:
        _tell(part)
    say.print(files)
    if as_json:
        print_json(report)


def _two_heads(
    opened: MorphableModel, before: Path, after: Path, out: Path, region: list[str], resolution: int,
    topology: str | None, as_json: bool,
) -> None:  # fmt: skip
    """The before/after report of two head files, one of which was edited."""
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
    units: UnitsOption = "auto",
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """How far each side of a face lies from the mirror image of the other: map, regions, index and plane."""
    check_folder(out)
    known = check_units(units)
    from imhead import load
    from imhead.api.comparing import asymmetry as mirrored

    report = mirrored(source, load(model, device), out, units=known)
    for warning in report["warnings"]:
        say.warn(warning)
    say.print(f"{source}: asymmetry {report['index_mm']:.2f} mm over the face; report.json, heatmap.png in {out}")
    if as_json:
        print_json(report)
