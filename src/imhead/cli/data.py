"""Data sets: build one, or describe one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imhead.cli.console import AnnyOption, IctOption, JsonOption, print_json, say, sources_of
from imhead.errors import InputError

if TYPE_CHECKING:
    from imhead.datasets.manifest import Manifest

app = typer.Typer(help="Build data sets to train on, and look into them.", no_args_is_help=True)


@app.command()
def build(
    out: Annotated[Path, typer.Option("--out", help="Folder of the data set; must not hold one yet.")],
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            help="ict, compose or anny, or NAME=SHARE; scans=FOLDER of imhead curate, or scans=FOLDER=SHARE; may "
            "repeat. The first three by default.",
        ),
    ] = None,
    identities: Annotated[int, typer.Option(min=1, max=500_000, help="Identities in all.")] = 4000,
    expressions: Annotated[int, typer.Option(min=1, max=1000, help="Expressions of each, neutral first.")] = 12,
    seed: Annotated[int, typer.Option(min=0, max=999)] = 0,
    ict: IctOption = None,
    anny: AnnyOption = None,
    as_json: JsonOption = False,
) -> None:
    """A data set: identities and expressions as parameters, with a manifest."""
    from imhead.datasets.curated import CuratedPeople
    from imhead.datasets.dataset import build_dataset
    from imhead.datasets.heads import open_sources
    from imhead.datasets.recipe import SCANS_SHARE, SHARES, Recipe

    folders = [text for text in source or () if text.partition("=")[0] == "scans"]
    if len(folders) > 1:
        raise InputError("--source scans is given twice; curate all scans into one folder")
    scans = None
    shares = dict(_share(text, SHARES) for text in source or SHARES if text not in folders)
    for text in folders:
        folder, shares["scans"] = _scans(text, SCANS_SHARE)
        scans = CuratedPeople(folder)
    recipe = Recipe(shares, identities, expressions, seed)
    manifest = build_dataset(recipe, open_sources(tuple(shares), ict, anny, say.print), out, scans)
    say.print(f"{manifest.identities} identities with {manifest.expressions} expressions each, in {out}")
    if as_json:
        print_json(json.loads(manifest.to_json()))


@app.command()
def info(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a data set.")],
    picture: Annotated[Path | None, typer.Option("--picture", help="PNG of 24 of its heads.")] = None,
    ict: IctOption = None,
    anny: AnnyOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is in a data set; its picture needs the data of its sources."""
    from imhead.datasets.dataset import open_dataset

    opened = open_dataset(folder)
    if as_json:
        print_json(json.loads(opened.manifest.to_json()))
    else:
        _tell(opened.manifest)
    if picture is not None:
        from imhead.datasets.heads import check_sources, posed_mesh
        from imhead.datasets.recipe import spread_rows
        from imhead.rendering.figures import contact_sheet
        from imhead.rendering.shading import shade

        if picture.suffix.lower() != ".png":
            raise InputError(f"{picture}: a picture ends in .png; rename --picture")
        sources = sources_of(opened.manifest, ict, anny)
        check_sources(opened.manifest, sources)
        cells, labels = [], []
        for identity, expression in spread_rows(opened.identities, opened.manifest.expressions, 24):
            mesh = posed_mesh(
                sources.head(identity.shape, opened.deformation(identity)),
                opened.expressions[identity.index, expression],
            )
            cells.append(shade(mesh, "three_quarter" if identity.index % 2 else "front", 320))
            labels.append(f"{identity.source} {identity.index}, expression {expression}")
        contact_sheet(cells, labels, columns=6).save(picture)
        say.print(f"24 heads in {picture}")


def _tell(manifest: Manifest) -> None:
    say.print(
        f"{manifest.identities} identities with {manifest.expressions} expressions each, from seed {manifest.seed}"
    )
    say.print("splits: " + ", ".join(f"{name} {count}" for name, count in manifest.splits.items()))
    for record in manifest.sources:
        say.print(f"{record.name}: {record.identities} identities; {record.licence}; data {record.digest}")
        if record.demographics is None:
            say.print("  who they are: the source does not say")
            continue
        for topic, counts in record.demographics.items():
            say.print(f"  {topic.replace('_', ' ')}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))


def _share(text: str, shares: dict[str, float]) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    if name not in shares:
        raise InputError(f"--source {text!r} is not known; use {', '.join(shares)}, or NAME=SHARE")
    try:
        return name, float(value) if equals else shares[name]
    except ValueError:
        raise InputError(f"--source {text!r}: the share must be a number, for example anny=0.25") from None


def _scans(text: str, share: float) -> tuple[Path, float]:
    """The folder of `scans=FOLDER` or `scans=FOLDER=SHARE`, and the share."""
    folder = text.partition("=")[2]
    if not folder:
        raise InputError("--source scans needs a curated folder: --source scans=FOLDER, made by imhead curate")
    before, equals, after = folder.rpartition("=")
    if equals and not Path(folder).is_dir():
        try:
            return Path(before), float(after)
        except ValueError:
            raise InputError(f"--source {text!r}: the share must be a number, for example scans=FOLDER=0.25") from None
    return Path(folder), share
