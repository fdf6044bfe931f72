"""What the commands share: options, messages to a person, JSON for a program, and paths."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from imhead.conventions import UNIT_MM
from imhead.errors import InputError, one_line
from imhead.io.atomic import check_folder

if TYPE_CHECKING:
    from imhead.datasets.heads import OpenSources
    from imhead.datasets.manifest import Manifest
    from imhead.fitting.pose import Units

_screen = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


class Say:
    """Messages to a person, on stderr: each is one printable line of bounded length, whatever a file's name holds."""

    def print(self, *values: object) -> None:
        """Print the values, with a space between them, as one line."""
        _screen.print(one_line(" ".join(map(str, values))))

    def warn(self, text: object) -> None:
        """Print a warning as one line."""
        _screen.print(Text.assemble(("warning ", "yellow"), one_line(text)))


say = Say()
HEAD_FILE = ".safetensors"
_LONGEST_SETTINGS = 1 << 20  # bytes
_STAGE = 100  # characters

ModelOption = Annotated[str, typer.Option("--model", help="Name of a shipped model, path of one, or hf:owner/name.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder for the results; made where missing.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="The same seed gives the same result.")]
UnitsOption = Annotated[str, typer.Option("--units", help="Of the scan: auto, mm, cm, m or in.")]
ScaleOption = Annotated[
    float | None,
    typer.Option("--scale", help="Millimetres that one unit of the scan stands for; goes before --units."),
]
MirroredOption = Annotated[bool, typer.Option("--mirrored", help="The scan has left and right swapped: put it right.")]
LandmarksOption = Annotated[
    Path | None,
    typer.Option(
        "--landmarks",
        help="JSON of three or more region names, each with its place x, y, z in the scan's own frame; or .pp, .fcsv, "
        ".ljson or .mrk.json.",
    ),
]
DetailOption = Annotated[bool, typer.Option("--detail/--no-detail", help="Fit region offsets too.")]
JobsOption = Annotated[
    int, typer.Option("--jobs", min=1, max=1024, help="Scans at a time; with 2 or more, each on one core.")
]
TopologyOption = Annotated[
    str | None, typer.Option("--topology", help="Name or path of a topology that was learnt, for the surfaces.")
]

IctOption = Annotated[
    Path | None, typer.Option("--ict", envvar="IMHEAD_ICT", help="ICT-FaceKit: a clone, or its packed .npz.")
]
AnnyOption = Annotated[
    Path | None, typer.Option("--anny", help="File of Anny's arrays; by default in your cache directory.")
]


def shipped_scan() -> Path:
    """The scan that ships with the package."""
    return Path(str(resources.files("imhead") / "assets" / "demo_scan.ply"))


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on stdout, as one line of printable ASCII."""
    print(json.dumps(value, allow_nan=False), flush=True)


def print_line(text: object) -> None:
    """Print one line of a result for a person on stdout."""
    print(one_line(text))


def progress_bar() -> Progress:
    """A bar on stderr: what, how far, how long."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=_screen)


@contextmanager
def stage_bar(what: str, before: str = "") -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr for one piece of work: to be called with its stage and the part done, 0 to 1.

    Args:
        what: stands beside the bar until the first stage.
        before: stands before each stage.
    """
    with progress_bar() as bar:
        yield partial(_show_stage, bar, bar.add_task(what, total=1.0), before)


def _show_stage(bar: Progress, task: TaskID, before: str, stage: str, part: float) -> None:
    bar.update(task, completed=part, description=one_line(f"{before}{stage}", _STAGE))


def check_head_target(path: Path) -> None:
    """Refuse a head file of another ending, or in a folder that cannot be written to, before the work for it."""
    if path.suffix != HEAD_FILE:
        raise InputError(f"{path}: a head file ends in {HEAD_FILE}; rename --out")
    check_folder(path.parent)


def check_units(units: str) -> Units:
    """The unit that `--units` names, before a model is loaded.

    Raises:
        InputError: it is not known; the message lists those that are.
    """
    known = ("auto", *UNIT_MM)
    if units not in known:
        raise InputError(f"--units {units!r} is not known; use {', '.join(known)}")
    return cast("Units", units)


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object of settings."""
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_LONGEST_SETTINGS))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not a JSON file ({error})") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds no JSON object of settings")
    return value


def sources_of(manifest: Manifest, ict: Path | None, anny: Path | None) -> OpenSources:
    """The sources that a data set draws on, opened.

    Raises:
        InputError: a source's data is missing or damaged.
    """
    from imhead.datasets.heads import open_sources

    names = tuple(record.name for record in manifest.sources)
    return open_sources(names, ict, anny, say.print)
