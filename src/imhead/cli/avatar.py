"""Avatars: a head with skin, eyes, teeth, tongue, lashes and a skeleton."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from imhead.cli.console import DeviceOption, JsonOption, ModelOption, check_target, print_json, say
from imhead.errors import InputError

if TYPE_CHECKING:
    from imhead.avatar.kept import Kept


def avatar(
    source: Annotated[Path, typer.Argument(metavar="HEAD|SCAN", help="Head file, or a scan, which is fitted first.")],
    out: Annotated[Path, typer.Option("--out", help="File to write: .glb, .usda or .usdz.")],
    take: Annotated[
        Path | None,
        typer.Option(help="Take to play: CSV of Live Link Face or imhead track, or MediaPipe's, as JSON or CSV."),
    ] = None,
    skin: Annotated[
        str | None,
        typer.Option(
            help="Paint the skin: porcelain, fair, light, olive, tan, brown, deep or ebony. Otherwise the scan's own "
            "colours, if it has any."
        ),
    ] = None,
    eyes: Annotated[
        str | None, typer.Option(help="brown, dark_brown, amber, hazel, green, blue or grey; otherwise the scan's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Draws freckles, brows and irises.")] = 0,
    texture: Annotated[
        int | None,
        typer.Option(help="Side of the skin's picture: 512, 1024, 2048 or 4096 pixels.", show_default="2048"),
    ] = None,
    lod: Annotated[int, typer.Option(min=0, max=2, help="Level of detail: 14 000, 5 000 or 1 500 vertices.")] = 0,
    names: Annotated[str, typer.Option(help="How shapes and bones are called: arkit, livelink or unreal.")] = "arkit",
    drive: Annotated[str, typer.Option(help="What opens the jaw and turns the eyes: morphs or joints.")] = "morphs",
    keep: Annotated[
        str | None, typer.Option(help="unexplained: what the head does not explain of a scanned mesh, such as hair.")
    ] = None,
    preview: Annotated[Path | None, typer.Option(help="Animated picture of it to write: .webp.")] = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """A textured, rigged head with eyes, teeth, tongue, lashes and the 52 ARKit shapes, as GLB or USD."""
    from imhead import load
    from imhead.avatar.look import DEFAULT_TEXTURE, Drive, Look
    from imhead.avatar.names import Names
    from imhead.avatar.preview import check_preview_path
    from imhead.avatar.writing import check_avatar_path

    check_target(out, suffix=None)
    check_avatar_path(out)
    if preview is not None:
        check_target(preview, suffix=None)
        check_preview_path(preview)
    for option, value, known in (("--names", names, get_args(Names)), ("--drive", drive, get_args(Drive))):
        if value not in known:
            raise InputError(f"{option} {value!r} is not known; use {', '.join(known)}")
    look = Look(skin, eyes, seed, texture, cast("Names", names), cast("Drive", drive), lod)
    if keep is not None and (keep != "unexplained" or source.suffix.lower() == ".safetensors"):
        raise InputError(f"--keep {keep!r}: only 'unexplained' can be kept, and only of a scan; leave it out")
    opened = load(model, device)
    kept: Sequence[Kept] = ()
    if source.suffix.lower() == ".safetensors":
        head = opened.open(source)
    else:
        fitted = opened.fit(source)
        if skin is None and fitted.scan.colored:
            fitted = fitted.register().keeping_colors(look.texture or DEFAULT_TEXTURE)
        for warning in fitted.report()["warnings"]:
            say.warn(warning)
        head = fitted
        if keep is not None:
            kept = fitted.unexplained()
            if not kept:
                say.warn("the head explains all of the scan near it; nothing was kept")
    written = head.avatar(out, look, take, kept, preview)
    for warning in written["warnings"]:
        say.warn(warning)
    playing = "" if written["seconds"] is None else f", a take of {written['seconds']:.1f} s"
    say.print(f"{sum(written['parts'].values())} vertices in {len(written['parts'])} parts{playing}, in {out}")
    if as_json:
        print_json(written)
