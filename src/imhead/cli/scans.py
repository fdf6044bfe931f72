"""Fits of scans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.progress import Progress

from imhead.cli.console import DeviceOption, JsonOption, ModelOption, OutFolder, print_json, progress_bar, say
from imhead.errors import InputError

if TYPE_CHECKING:
    from imhead.fitting.pose import Units


def fit(
    scans: Annotated[list[Path], typer.Argument(help="Scans: .ply, .obj, .stl, .glb or .off, mesh or points.")],
    out: OutFolder,
    units: Annotated[str, typer.Option(help="auto, mm, cm or m.")] = "auto",
    landmarks: Annotated[
        Path | None,
        typer.Option(help='JSON: {"region name": [x, y, z], ...}, three or more, in the scan\'s own frame.'),
    ] = None,
    detail: Annotated[bool, typer.Option("--detail/--no-detail", help="Fit region offsets too.")] = True,
    resolution: Annotated[int, typer.Option(help="Cells of the mesh along the longest side.")] = 256,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the head in each scan: codes, mesh, overlay, report and picture."""
    from imhead import load
    from imhead.fitting.config import FitConfig
    from imhead.fitting.landmarks import read_landmarks

    if units not in ("auto", "mm", "cm", "m"):
        raise InputError(f"--units {units!r} is not known; use auto, mm, cm or m")
    if len({path.stem for path in scans}) < len(scans):
        raise InputError("two scans have the same file name, and would write to the same folder; rename one")
    opened = load(model, device)
    config = FitConfig(detail=detail, resolution=resolution, seed=seed)
    places = None if landmarks is None else read_landmarks(landmarks)
    reports: list[dict[str, Any]] = []
    refused: list[str] = []
    for path in scans:
        try:
            with progress_bar() as bar:
                task = bar.add_task(path.name, total=1.0)

                def show(stage: str, part: float, bar: Progress = bar, name: str = path.name, task: Any = task) -> None:
                    bar.update(task, completed=part, description=f"{name}: {stage}")

                fitted = opened.fit(path, cast("Units", units), config, landmarks=places, progress=show)
                report = fitted.write(out / path.stem)
                bar.update(task, completed=1.0, description=path.name)
        except InputError as error:
            message = str(error) if path.name in str(error) else f"{path}: {error}"
            # the other scans still get their fit
            refused.append(message)
            reports.append({"scan": str(path), "error": message})
            continue
        for warning in report["warnings"]:
            say.print(f"[yellow]warning[/] {path.name}: {warning}")
        spread = report["scan_to_head_mm"]
        if spread["median"] is not None:
            say.print(
                f"{path.name}: median {spread['median']:.2f} mm, p90 {spread['p90']:.2f} mm over "
                f"{100 * report['explained_fraction']:.0f} % of the scan, in {out / path.stem}"
            )
        reports.append({"scan": str(path), "out": str(out / path.stem), **report})
    if as_json:
        print_json({"fits": reports})
    if refused:
        raise InputError("; ".join(refused))
