"""The picture of a fit's certainty: the head coloured by its sigma, with the border of what the scan shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from imhead.rendering.figures import INK, contact_sheet, heat_colors, legend, round_limit, stack
from imhead.rendering.shading import as_surface, camera, shade
from imhead.types import BoolArray, FloatArray, Mesh

VIEWS = ("three_quarter_right", "three_quarter")
_LABELS = {"three_quarter_right": "right", "three_quarter": "left", "front": "front"}


def certainty_picture(
    mesh: Mesh, sigma_mm: FloatArray, measured: BoolArray, *, views: Sequence[str] = VIEWS, size: int = 420
) -> Image.Image:
    """The `sigma.png` of a fit: the head from two sides, a dark line around what the scan shows, and a legend in mm.

    Args:
        mesh: the fitted surface, head frame, mm.
        sigma_mm: (V,) half of the 68 % interval at its vertices.
        measured: (V,) vertices with scan points near them.
        views: names of views.
        size: pixels of one picture.
    """
    limit = round_limit(sigma_mm, share=0.98, floor_mm=0.5)
    colors = heat_colors(sigma_mm, limit, signed=False)
    colors[_border(mesh, measured)] = INK
    _, normals, _ = as_surface(mesh)
    pictures = [shade(mesh, camera(view), size, colors=colors, normals=normals, occlusion=False) for view in views]
    sheet = contact_sheet(pictures, [_LABELS.get(view, view) for view in views], columns=len(views))
    title = "68 % of the surface lies within; the line bounds what the scan shows"
    return stack([sheet, legend(limit, width=min(480, sheet.width), signed=False, title=title)])


def _border(mesh: Mesh, measured: BoolArray) -> BoolArray:
    """(V,) vertices of the faces of which the scan shows a part."""
    corners = measured[mesh.faces]
    mixed = corners.any(axis=1) & ~corners.all(axis=1)
    on_border = np.zeros(len(mesh.vertices), dtype=bool)
    on_border[mesh.faces[mixed]] = True
    return on_border
