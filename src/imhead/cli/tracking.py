"""Tracks of sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from imhead.cli.console import DeviceOption, JsonOption, ModelOption, OutFolder, print_json, progress_bar, say
from imhead.errors import InputError, one_line
from imhead.io.atomic import check_folder


def track(
    folder: Annotated[Path, typer.Argument(help="Folder of the frames: one scan each, in the order of their names.")],
    out: OutFolder,
    units: Annotated[str, typer.Option(help="auto, mm, cm, m or in.")] = "auto",
    fps: Annotated[float, typer.Option("--fps", min=1.0, max=1000.0, help="Frames a second.")] = 30.0,
    keyframes: Annotated[int, typer.Option(min=1, max=100, help="Frames from which the head is fitted.")] = 5,
    detail: Annotated[bool, typer.Option("--detail/--no-detail", help="Fit region offsets of the head too.")] = True,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1)] = 0,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Track one person through a sequence of scans: head, pose and expression; a stopped run goes on where it was."""
    check_folder(out)
    from imhead import load
    from imhead.fitting.config import FitConfig
    from imhead.fitting.pose import Units
    from imhead.tracking.config import TrackConfig
    from imhead.tracking.sequence import frame_paths

    if units not in get_args(Units):
        raise InputError(f"--units {units!r} is not known; use {', '.join(get_args(Units))}")
    frame_paths(folder)  # before a model is loaded
    config = TrackConfig(keyframes=keyframes, frames_per_second=fps, fit=FitConfig(detail=detail, seed=seed))
    opened = load(model, device)
    with progress_bar() as bar:
        task = bar.add_task("search", total=1.0)

        def show(stage: str, part: float) -> None:
            bar.update(task, completed=part, description=one_line(stage, 100))

        tracked = opened.track(folder, out, cast("Units", units), config, progress=show)
    report = tracked.report()
    for warning in report["warnings"]:
        say.warn(warning)
    median = report["face_median_mm"]
    told = "" if median is None else f", median {median:.2f} mm on the face"
    say.print(f"{folder}: found in {report['found']} of {report['frames_total']} frames{told}, in {out}")
    if as_json:
        print_json({"out": str(out)} | report)
