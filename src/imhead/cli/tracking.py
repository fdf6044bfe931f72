"""Tracks of sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imhead.cli.console import (
    DetailOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    OutFolder,
    SeedOption,
    UnitsOption,
    check_units,
    print_json,
    say,
    stage_bar,
)
from imhead.io.atomic import check_folder


def track(
    folder: Annotated[Path, typer.Argument(help="Folder of the frames: one scan each, in the order of their names.")],
    out: OutFolder,
    units: UnitsOption = "auto",
    fps: Annotated[float, typer.Option("--fps", min=1.0, max=1000.0, help="Frames a second.")] = 30.0,
    keyframes: Annotated[int, typer.Option(min=1, max=100, help="Frames from which the head is fitted.")] = 5,
    detail: DetailOption = True,
    seed: SeedOption = 0,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Track one person through a sequence of scans: head, pose and expression; a stopped run goes on where it was."""
    check_folder(out)
    known = check_units(units)
    from imhead import load
    from imhead.fitting.config import FitConfig
    from imhead.tracking.config import TrackConfig
    from imhead.tracking.sequence import frame_paths

    frame_paths(folder)  # before a model is loaded
    config = TrackConfig(keyframes=keyframes, frames_per_second=fps, fit=FitConfig(detail=detail, seed=seed))
    opened = load(model, device)
    with stage_bar("search") as show:
        tracked = opened.track(folder, out, known, config, progress=show)
    report = tracked.report()
    for warning in report["warnings"]:
        say.warn(warning)
    median = report["face_median_mm"]
    told = "" if median is None else f", median {median:.2f} mm on the face"
    say.print(f"{folder}: found in {report['found']} of {report['frames_total']} frames{told}, in {out}")
    if as_json:
        print_json({"out": str(out)} | report)
