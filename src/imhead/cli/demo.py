"""The demo: from a scan to meshes of a head, before and after an edit of its nose."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from imhead.cli.console import (
    DeviceOption,
    JsonOption,
    MirroredOption,
    ScaleOption,
    UnitsOption,
    print_json,
    say,
    shipped_scan,
)
from imhead.io.atomic import check_folder

_FILES = {
    "head.safetensors": "the fitted head: its codes",
    "head.ply": "its surface, head frame, mm",
    "overlay.ply": "the same surface in the scan's own frame and units",
    "report.png": "how well it explains the scan (also report.json)",
    "edited.safetensors": "the same head with another nose",
    "before.ply": "a mesh before the edit (also .glb, .stl)",
    "after.ply": "one after it (also .glb, .stl)",
    "compare/report.html": "what the edit moved, in mm and ml (also heatmap.png, report.json)",
}


def demo(
    context: typer.Context,
    scan: Annotated[Path | None, typer.Argument(help="Scan to use instead of the one that ships.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the results; made where missing.")] = Path("out/demo"),
    units: UnitsOption = "auto",
    scale: ScaleOption = None,
    mirrored: MirroredOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Fit a scan, change its nose, mesh and compare both heads; each command is shown before it runs."""
    check_folder(out)
    found = shipped_scan() if scan is None else scan
    folder = out / found.stem
    fitted, edited = folder / "head.safetensors", folder / "edited.safetensors"
    options = ["--units", units, *([] if scale is None else ["--scale", str(scale)]), *["--mirrored"] * mirrored]
    commands: list[list[str | Path]] = [
        ["fit", found, "--out", out, *options],
        ["edit", fitted, "--region", "nose", "--sample", "7", "--strength", "1.5", "--out", edited],
        *(
            list[str | Path](["mesh", head, "--out", folder / f"{name}.{kind}"])
            for kind in ("ply", "glb", "stl")
            for name, head in (("before", fitted), ("after", edited))
        ),
        ["compare", fitted, edited, "--region", "nose", "--out", folder / "compare"],
    ]
    for words in commands:
        _run(context, [*map(str, words), "--device", device])
    say.print("")
    say.print(f"Done. In {folder}:")
    for name, meaning in _FILES.items():
        say.print(f"  {name:<20} {meaning}")
    if as_json:
        print_json({"out": str(folder), "files": list(_FILES)})


def _run(context: typer.Context, words: list[str]) -> None:
    """Show a command and run it, in this process: the libraries are loaded once."""
    say.print("")
    say.print(f"$ imhead {shlex.join(words)}")
    group = context.find_root().command
    with group.make_context("imhead", words) as inner:
        group.invoke(inner)
