"""The head that is shown as a file for the browser to save."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from imhead.api import EditableHead
from imhead.checkpoint import Model, save_head
from imhead.errors import InputError
from imhead.io.mesh_file import MESH_EXTENSIONS, head_notes, write_mesh
from imhead.isosurface.field import field_change
from imhead.reports.comparison import compare_meshes
from imhead.studio.state.document import Document
from imhead.template.surface import template_of

KINDS: dict[str, str] = {
    "GLB": ".glb", "OBJ": ".obj", "PLY": ".ply", "STL": ".stl",
    "head file": ".safetensors", "report": ".html",
}  # fmt: skip
"""What can be saved, and the ending of its file."""
RESOLUTION = 256
"""Cells along the longest side of the bounds, for an STL and a report."""


@dataclass(frozen=True)
class ExportedFile:
    """A file to be saved."""

    name: str
    content: bytes


def make(kind: str, model: Model, document: Document, selection: tuple[str, ...]) -> ExportedFile:
    """The head that is shown as a file of one of the `KINDS`.

    Args:
        selection: regions that a report tells inside from outside by.

    Raises:
        InputError: an unknown kind.
    """
    if kind not in KINDS:
        raise InputError(f"{kind!r} cannot be saved; choose one of {', '.join(KINDS)}")
    suffix, head = KINDS[kind], EditableHead(document.head, model)
    name = file_name(document, suffix)
    with tempfile.TemporaryDirectory(prefix="imhead-export-") as folder:
        path = Path(folder) / name
        if suffix == ".html":
            before = EditableHead(replace(document.current.origin, z_exp=document.head.z_exp), model)
            names = list(selection)
            balls = [ball for one in (before, head) for ball in one.posed_balls(names)] if names else []
            compare_meshes(
                before.mesh(resolution=RESOLUTION), head.mesh(resolution=RESOLUTION), out=Path(folder),
                region_ball=balls or None, region_names=names,
                change=partial(field_change, before.field(), head.field()),
            )  # fmt: skip
            return ExportedFile(name, (Path(folder) / "report.html").read_bytes())
        if suffix not in MESH_EXTENSIONS:
            save_head(head.codes, path)
        else:
            _write_mesh(head, path)
        return ExportedFile(name, path.read_bytes())


def file_name(document: Document, suffix: str) -> str:
    """A name for a file of the head that is shown."""
    return "".join(c if c.isalnum() else "_" for c in document.current.name) + suffix


def _write_mesh(head: EditableHead, path: Path) -> None:
    notes = head_notes(head.codes)
    if path.suffix == ".stl":  # for a printer, which needs a closed surface
        write_mesh(head.mesh(resolution=RESOLUTION), path, metadata=notes)
    elif path.suffix == ".glb":
        mesh, uv, morphs = head.animated()
        write_mesh(mesh, path, metadata=notes, uv=uv, morphs=morphs)
    else:
        write_mesh(head.mesh(surface="template"), path, metadata=notes, uv=template_of(head.model).uv_map)
