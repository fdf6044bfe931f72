"""An avatar as a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imhead.avatar.avatar import Look, PosedTemplate, avatar_scene
from imhead.avatar.parts import load_parts
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.io.glb_scene_writer import scene_bytes
from imhead.io.live_link import Take, read_take
from imhead.io.scan_file import one_line
from imhead.template.topology import load_topology
from imhead.types import Mesh, MorphTargets

AVATAR_EXTENSIONS = (".glb",)


def write_avatar(
    path: Path,
    neutral: Mesh,
    shapes: MorphTargets,
    look: Look,
    take: Path | Take | None = None,
    notes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write the avatar of a head whose template is `neutral`, replacing the file in one step.

    Args:
        neutral: the template's vertices and faces, mm.
        shapes: its 52 ARKit shapes.
        take: a recorded take, or the path of its CSV, which the file then plays.
        notes: short texts for the file.

    Returns:
        `out`, `bytes`, `parts` (name → vertices), `joints`, `seconds` of the take or None, and `warnings` about it.

    Raises:
        InputError: an unknown extension, another topology than the shipped one, or a take that cannot be read.
    """
    check_avatar_path(path)
    topology, parts = load_topology(), load_parts()
    if not np.array_equal(neutral.faces, topology.faces):
        raise InputError("an avatar needs the template that ships with imhead; this model's template is another one")
    played = take if take is None or isinstance(take, Take) else read_take(take)
    template = PosedTemplate.of_vertices(topology, neutral.vertices, shapes.offsets)
    about = dict(notes or {}) | {"look": f"skin {look.skin}, eyes {look.eyes}, seed {look.seed}", "unit": "m"}
    scene = avatar_scene(template, topology, parts, look, take=played, notes=about)
    data = scene_bytes(scene)
    write_atomically(path, data)
    return {
        "out": str(path),
        "bytes": len(data),
        "parts": {part.name: len(part.vertices) for part in scene.parts},
        "joints": [joint.name for joint in scene.joints],
        "seconds": None if played is None else float(played.seconds[-1]),
        "warnings": [] if played is None else list(played.warnings),
    }


def check_avatar_path(path: Path) -> None:
    """Refuse a file of another kind.

    Raises:
        InputError: its extension is none that can be written.
    """
    if path.suffix.lower() not in AVATAR_EXTENSIONS:
        raise InputError(f"{one_line(path)}: an avatar is written as {', '.join(AVATAR_EXTENSIONS)}; rename --out")
