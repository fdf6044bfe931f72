"""An avatar as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imhead.avatar.avatar import PosedTemplate, avatar_scene
from imhead.avatar.kept import Kept
from imhead.avatar.look import Look
from imhead.avatar.parts import load_parts
from imhead.avatar.preview import check_preview_path, write_preview
from imhead.errors import InputError, one_line
from imhead.io.atomic import write_atomically
from imhead.io.glb_scene_writer import Scene, scene_bytes
from imhead.io.live_link import Take
from imhead.io.mediapipe import read_any_take
from imhead.io.usd_scene_writer import write_usd_scene
from imhead.template.topology import load_topology
from imhead.types import Mesh, MorphTargets, SkinImage

AVATAR_EXTENSIONS = (".glb", ".usda", ".usdz")


def write_avatar(
    path: Path,
    neutral: Mesh,
    shapes: MorphTargets,
    look: Look,
    take: Path | Take | None = None,
    notes: Mapping[str, str] | None = None,
    skin: SkinImage | None = None,
    kept: Sequence[Kept] = (),
    preview: Path | None = None,
) -> dict[str, Any]:
    """Write the avatar of a head whose template is `neutral`, replacing the file in one step.

    Args:
        path: one of `AVATAR_EXTENSIONS`.
        neutral: the template's vertices and faces, mm.
        shapes: its 52 ARKit shapes.
        look: skin, eyes, names and more.
        take: a recorded take, or the path of its CSV or JSON, which the file then plays.
        notes: short texts for the file.
        skin: the head's own colours; None for painted ones.
        kept: pieces of a scan that go with the head.
        preview: an animated .webp of it, if one is wanted.

    Returns:
        `out`, `bytes`, `parts` (name → vertices), `joints`, `skin`, `seconds` of the take or None,
        `warnings` about it, and the path of the `preview` or None.

    Raises:
        InputError: an unknown extension, another topology than the shipped one, or a take that cannot be read.
    """
    check_avatar_path(path)
    if preview is not None:
        check_preview_path(preview)
    topology, parts = load_topology(), load_parts()
    if not np.array_equal(neutral.faces, topology.faces):
        raise InputError("an avatar needs the template that ships with imhead; this model's template is another one")
    played = take if take is None or isinstance(take, Take) else read_any_take(take)
    template = PosedTemplate.of_vertices(topology, neutral.vertices, shapes.offsets)
    worn = look.skin or ("light" if skin is None else "of the scan")
    unit = "m" if path.suffix.lower() == ".glb" else "cm"
    worn_look = f"skin {worn}, eyes {look.eyes or 'as given'}, seed {look.seed}"
    about = dict(notes or {}) | {"look": worn_look, "unit": unit}
    scene = avatar_scene(template, topology, parts, look, skin=skin, kept=kept, take=played, notes=about)
    size = _write_scene(scene, path)
    if preview is not None:
        write_preview(preview, scene, look.names)
    return {
        "out": str(path),
        "bytes": size,
        "parts": {part.name: len(part.vertices) for part in scene.parts},
        "joints": [joint.name for joint in scene.joints],
        "skin": worn,
        "seconds": None if played is None else float(played.seconds[-1]),
        "warnings": [] if played is None else list(played.warnings),
        "preview": None if preview is None else str(preview),
    }


def _write_scene(scene: Scene, path: Path) -> int:
    """Write a GLB or a USD file; its bytes."""
    if path.suffix.lower() != ".glb":
        return write_usd_scene(scene, path)
    data = scene_bytes(scene)
    write_atomically(path, data)
    return len(data)


def check_avatar_path(path: Path) -> None:
    """Refuse a file of another kind.

    Raises:
        InputError: its extension is none that can be written.
    """
    if path.suffix.lower() not in AVATAR_EXTENSIONS:
        raise InputError(f"{one_line(path)}: an avatar is written as {', '.join(AVATAR_EXTENSIONS)}; rename it")
