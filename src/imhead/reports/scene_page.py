"""Meshes as one HTML page that can be turned and zoomed: no server, no request, no library beside it."""

from __future__ import annotations

import base64
import html
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError, one_line
from imhead.io.atomic import write_atomically
from imhead.rendering.shading import CLAY, ByteImage, Color
from imhead.reports.page_parts import asset
from imhead.types import Mesh

_MOST_FACES = 1_000_000
_LONGEST_NAME = 60
_STEPS = 65_535  # of a 16-bit place; a head's are 0.01 mm apart


@dataclass(frozen=True, eq=False)
class ScenePart:
    """A mesh of a scene."""

    name: str
    """What its checkbox says."""
    mesh: Mesh
    """All parts in one frame, mm."""
    color: Color = CLAY
    """sRGB, 0 to 255."""
    colors: ByteImage | None = None
    """(V, 3) uint8 sRGB of the vertices; they go before `color`, under a flatter light."""


@dataclass(frozen=True, eq=False, repr=False)
class ScenePage:
    """A page with a 3D view. A notebook shows it in place; `save` writes it to a file that any browser opens."""

    text: str
    """The whole page, HTML."""

    def __repr__(self) -> str:
        return f"ScenePage({len(self.text) / 1e6:.1f} MB)"

    def _repr_html_(self, height: int = 420) -> str:
        frame = f"width:100%;height:{height}px;border:0;border-radius:6px"
        # scripts alone are allowed: the frame reaches neither the notebook around it nor its cookies
        return f'<iframe sandbox="allow-scripts" style="{frame}" srcdoc="{html.escape(self.text)}"></iframe>'

    def save(self, path: str | Path) -> None:
        """Write the page.

        Raises:
            InputError: a name that does not end in .html, or a folder that cannot be written to.
        """
        path = Path(path)
        if path.suffix.lower() != ".html":
            raise InputError(f"{path}: a page ends in .html; rename it")
        write_atomically(path, self.text.encode())


def scene_page(parts: Sequence[ScenePart]) -> ScenePage:
    """A page of some meshes, each of which can be hidden where there are several.

    Raises:
        InputError: no faces, or more than a browser draws well.
    """
    faces = sum(len(part.mesh.faces) for part in parts)
    if not faces or not all(len(part.mesh.faces) for part in parts):
        raise InputError("a 3D view needs meshes with faces; give at least one")
    if faces > _MOST_FACES:
        raise InputError(f"{faces} faces are too many for a page; give {_MOST_FACES} at most, or a lower resolution")
    corners = np.concatenate([part.mesh.vertices for part in parts])
    low, high = corners.min(axis=0), corners.max(axis=0)
    side = np.maximum(high - low, 1e-9)
    scene = {
        "low": low.tolist(),
        "side": side.tolist(),
        "middle": ((low + high) / 2).tolist(),
        "half": float(side.max()) * 0.54,
        "meshes": [_packed(part, low, side) for part in parts],
    }
    page = asset("viewer.html")
    # inside a script element only "<" could end it
    return ScenePage(page.replace("SCENE", json.dumps(scene).replace("<", "\\u003c"), 1))


def _packed(part: ScenePart, low: NDArray[Any], side: NDArray[Any]) -> dict[str, Any]:
    if part.colors is not None and np.shape(part.colors) != part.mesh.vertices.shape:
        raise InputError(f"{part.name}: colours of shape {np.shape(part.colors)}; give one for each vertex")
    places = np.round((part.mesh.vertices - low) / side * _STEPS).astype("<u2")
    packed = {
        "name": one_line(part.name, _LONGEST_NAME),
        "color": list(part.color),
        "places": _text(places),
        "faces": _text(part.mesh.faces.astype("<u4")),
    }
    return packed if part.colors is None else packed | {"colors": _text(np.asarray(part.colors, dtype=np.uint8))}


def _text(array: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 6)).decode()
