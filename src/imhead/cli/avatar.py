"""Avatars: a head with skin, eyes, teeth, tongue, lashes and a skeleton."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from imhead.cli.console import HEAD_FILE, DeviceOption, JsonOption, ModelOption, SeedOption, print_json, say
from imhead.errors import InputError
from imhead.io.atomic import check_folder

if TYPE_CHECKING:
    from imhead.api import EditableHead, MorphableModel
    from imhead.avatar.kept import Kept
    from imhead.avatar.look import Drive, Look
    from imhead.avatar.names import Names

_SourceArgument = Annotated[
    Path, typer.Argument(metavar="HEAD|SCAN", help="Head file, or a scan, which is fitted first.")
]
_OutOption = Annotated[Path, typer.Option("--out", help="File to write: .glb, .usda or .usdz.")]
_TakeOption = Annotated[
    Path | None,
    typer.Option("--take", help="Take to play: CSV of Live Link Face or imhead track, or MediaPipe's, as JSON or CSV."),
]
_SkinOption = Annotated[
    str | None,
    typer.Option(
        "--skin",
        help="Paint the skin: porcelain, fair, light, olive, tan, brown, deep or ebony. Otherwise the scan's own "
        "colours, if it has any.",
    ),
]
_EyesOption = Annotated[
    str | None,
    typer.Option("--eyes", help="brown, dark_brown, amber, hazel, green, blue or grey; otherwise the scan's."),
]
_TextureOption = Annotated[
    int | None,
    typer.Option("--texture", help="Side of the skin's picture: 512, 1024, 2048 or 4096 pixels.", show_default="2048"),
]
_LevelOption = Annotated[
    int, typer.Option("--lod", min=0, max=2, help="Level of detail: 14 000, 5 000 or 1 500 vertices.")
]
_NamesOption = Annotated[str, typer.Option("--names", help="How shapes and bones are called: arkit, livelink, unreal.")]
_DriveOption = Annotated[str, typer.Option("--drive", help="What opens the jaw and turns the eyes: morphs or joints.")]
_KeepOption = Annotated[
    str | None,
    typer.Option("--keep", help="unexplained: what the head does not explain of a scanned mesh, such as hair."),
]
_PreviewOption = Annotated[Path | None, typer.Option("--preview", help="Animated picture of it to write: .webp.")]


def avatar(
    source: _SourceArgument,
    out: _OutOption,
    take: _TakeOption = None,
    skin: _SkinOption = None,
    eyes: _EyesOption = None,
    seed: SeedOption = 0,
    texture: _TextureOption = None,
    lod: _LevelOption = 0,
    names: _NamesOption = "arkit",
    drive: _DriveOption = "morphs",
    keep: _KeepOption = None,
    preview: _PreviewOption = None,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """A textured, rigged head with eyes, teeth, tongue, lashes and the 52 ARKit shapes, as GLB or USD."""
    _check_files(out, preview)
    if keep is not None and (keep != "unexplained" or _is_head(source)):
        raise InputError(f"--keep {keep!r}: only 'unexplained' can be kept, and only of a scan; leave it out")
    from imhead import load
    from imhead.avatar.look import Drive, Look
    from imhead.avatar.names import Names

    for option, value, known in (("--names", names, get_args(Names)), ("--drive", drive, get_args(Drive))):
        if value not in known:
            raise InputError(f"{option} {value!r} is not known; use {', '.join(known)}")
    look = Look(skin, eyes, seed, texture, cast("Names", names), cast("Drive", drive), lod)
    head, kept = _opened(load(model, device), source, look, keep is not None)
    written = head.avatar(out, look, take, kept, preview)
    for warning in written["warnings"]:
        say.warn(warning)
    playing = "" if written["seconds"] is None else f", a take of {written['seconds']:.1f} s"
    say.print(f"{sum(written['parts'].values())} vertices in {len(written['parts'])} parts{playing}, in {out}")
    if as_json:
        print_json(written)


def _is_head(source: Path) -> bool:
    return source.suffix.lower() == HEAD_FILE


def _check_files(out: Path, preview: Path | None) -> None:
    """Refuse what cannot be written, before the work for it."""
    from imhead.avatar.preview import check_preview_path
    from imhead.avatar.writing import check_avatar_path

    check_avatar_path(out)
    check_folder(out.parent)
    if preview is not None:
        check_preview_path(preview)
        check_folder(preview.parent)


def _opened(model: MorphableModel, source: Path, look: Look, keep: bool) -> tuple[EditableHead, Sequence[Kept]]:
    """The head of a file or of a scan, and what of the scan goes with it."""
    if _is_head(source):
        return model.open(source), ()
    from imhead.avatar.look import DEFAULT_TEXTURE

    fitted = model.fit(source)
    if look.skin is None and fitted.scan.colored:
        fitted = fitted.register().keeping_colors(look.texture or DEFAULT_TEXTURE)
    for warning in fitted.report()["warnings"]:
        say.warn(warning)
    kept = fitted.unexplained() if keep else ()
    if keep and not kept:
        say.warn("the head explains all of the scan near it; nothing was kept")
    return fitted, kept
