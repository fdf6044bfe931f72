"""Avatars: a head with skin, eyes, teeth, tongue, lashes and a skeleton."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from imhead.cli.console import DeviceOption, JsonOption, ModelOption, check_target, print_json, say
from imhead.errors import InputError


def avatar(
    source: Annotated[Path, typer.Argument(metavar="HEAD|SCAN", help="Head file, or a scan, which is fitted first.")],
    out: Annotated[Path, typer.Option("--out", help="File to write: .glb.")],
    take: Annotated[Path | None, typer.Option(help="Recorded take to play: CSV of the Live Link Face app.")] = None,
    skin: Annotated[str, typer.Option(help="porcelain, fair, light, olive, tan, brown, deep or ebony.")] = "light",
    eyes: Annotated[str, typer.Option(help="brown, dark_brown, amber, hazel, green, blue or grey.")] = "brown",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Draws freckles, brows and irises.")] = 0,
    texture: Annotated[int, typer.Option(help="Side of the skin's picture: 512, 1024, 2048 or 4096 pixels.")] = 2048,
    names: Annotated[str, typer.Option(help="How shapes and bones are called: arkit, livelink or unreal.")] = "arkit",
    drive: Annotated[str, typer.Option(help="What opens the jaw and turns the eyes: morphs or joints.")] = "morphs",
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """A textured, rigged head with eyes, teeth, tongue, lashes and the 52 ARKit shapes, as a GLB."""
    from imhead import load
    from imhead.avatar.avatar import Drive, Look
    from imhead.avatar.names import Names
    from imhead.avatar.writing import check_avatar_path

    check_target(out, suffix=None)
    check_avatar_path(out)
    for option, value, known in (("--names", names, get_args(Names)), ("--drive", drive, get_args(Drive))):
        if value not in known:
            raise InputError(f"{option} {value!r} is not known; use {', '.join(known)}")
    look = Look(skin, eyes, seed, texture, cast("Names", names), cast("Drive", drive))
    opened = load(model, device)
    if source.suffix.lower() == ".safetensors":
        head = opened.open(source)
    else:
        fitted = opened.fit(source)
        for warning in fitted.report()["warnings"]:
            say.warn(warning)
        head = fitted
    written = head.avatar(out, look, take)
    for warning in written["warnings"]:
        say.warn(warning)
    playing = "" if written["seconds"] is None else f", a take of {written['seconds']:.1f} s"
    say.print(f"{sum(written['parts'].values())} vertices in {len(written['parts'])} parts{playing}, in {out}")
    if as_json:
        print_json(written)
