"""The shown head as a file for the browser to save."""

from __future__ import annotations

import io
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from imhead.api import EditableHead
from imhead.avatar.look import Look
from imhead.checkpoint import Model, save_head
from imhead.errors import InputError
from imhead.io.live_link import Take
from imhead.io.mesh_file import head_notes, write_mesh
from imhead.io.skin_files import skin_names
from imhead.studio.state.document import Document
from imhead.template.surface import template_of

KINDS: dict[str, str] = {
    "avatar": "_avatar.glb", "preview": "_preview.webp", "GLB": ".glb", "OBJ": ".obj", "PLY": ".ply", "STL": ".stl",
    "head file": ".safetensors", "report": ".html",
}  # fmt: skip
"""Kinds of files, and the end of each one's name."""
SLOW_KINDS = ("avatar", "preview", "GLB", "STL", "report")
"""Those that take seconds: a process of its own writes them."""
RESOLUTION = 256
"""Cells along the longest side of the bounds, for an STL and for a report."""


@dataclass(frozen=True)
class ExportedFile:
    """A file for the browser to save."""

    name: str
    """Name to suggest."""
    content: bytes
    """The whole file."""


def export_head(
    kind: str, model: Model, document: Document, selection: tuple[str, ...], take: Take | None = None
) -> ExportedFile:
    """Write the shown head as a file of one of the `KINDS`. The file of a head with colours is an archive: they lie
    beside it.

    Args:
        selection: regions; a report separates movement inside and outside them.
        take: what an avatar and its preview play.

    Raises:
        InputError: the kind is unknown, or the head cannot be written as one.
    """
    if kind not in KINDS:
        raise InputError(f"{kind!r} cannot be saved; choose one of {', '.join(KINDS)}")
    head, name = EditableHead(document.head, model), file_name(document, KINDS[kind])
    with tempfile.TemporaryDirectory(prefix="imhead-export-") as folder:
        path = Path(folder) / name
        if kind == "report":
            before = EditableHead(replace(document.current.origin, z_exp=document.head.z_exp), model)
            before.compare(head, folder, selection, resolution=RESOLUTION)
            return ExportedFile(name, (Path(folder) / "report.html").read_bytes())
        if kind == "head file":
            save_head(head.codes, path)
            return _with_its_skin(head, path)
        if kind == "avatar":
            head.avatar(path, take=take)
        elif kind == "preview":
            # its pictures are small, and so is the skin that they show
            head.avatar(path.with_suffix(".glb"), Look(texture=512), take, preview=path)
        else:
            _write_mesh(head, path)
        return ExportedFile(name, path.read_bytes())


def file_name(document: Document, end: str) -> str:
    """Name of a file of the shown head."""
    return "".join(c if c.isalnum() else "_" for c in document.current.name) + end


def _with_its_skin(head: EditableHead, path: Path) -> ExportedFile:
    if head.codes.skin is None:
        return ExportedFile(path.name, path.read_bytes())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in (path.name, *skin_names(head.codes.skin.digest)):
            archive.write(path.with_name(name), name)
    return ExportedFile(path.with_suffix(".zip").name, packed.getvalue())


def _write_mesh(head: EditableHead, path: Path) -> None:
    notes = head_notes(head.codes)
    if path.suffix == ".stl":  # for a printer, which needs a closed surface
        write_mesh(head.mesh(resolution=RESOLUTION), path, metadata=notes)
    elif path.suffix == ".glb":
        mesh, uv, morphs = head.animated()
        write_mesh(mesh, path, metadata=notes, uv=uv, morphs=morphs)
    else:
        write_mesh(head.mesh(surface="template"), path, metadata=notes, uv=template_of(head.model).uv_map)
