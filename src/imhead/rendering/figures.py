"""Pictures of heads without a display: shaded views, heat colours, legends, contact sheets and overlays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from imhead.errors import InputError
from imhead.rendering.raycast import Camera
from imhead.rendering.shading import (
    BACKGROUND,
    CLAY,
    FACE_CENTER_MM,
    FACE_HALF_MM,
    HEAD_CENTER_MM,
    HEAD_HALF_MM,
    VIEW_NAMES,
    ByteImage,
    Color,
    camera,
    depth_map,
    shade,
    surfels,
)
from imhead.surfaces.distances import signed_distance
from imhead.surfaces.normals import vertex_normals
from imhead.types import FloatArray, Mesh

__all__ = [
    "BACKGROUND", "CLAY", "FACE_CENTER_MM", "FACE_HALF_MM", "FIT_WARM", "HEAD_CENTER_MM", "HEAD_HALF_MM", "INK",
    "SCAN_BLUE", "VIEW_NAMES", "ByteImage", "Camera", "Color", "as_surface", "camera", "contact_sheet", "depth_map",
    "flat_color", "heat_colors", "legend", "overlay", "round_limit", "shade", "stack", "surfels", "text_font",
]  # fmt: skip

SCAN_BLUE: Color = (158, 188, 220)
FIT_WARM: Color = (238, 200, 164)
INK: Color = (52, 52, 56)

# blue - near white - red, even in lightness on both sides, so that colour-blind eyes keep sign and size apart
_DIVERGING = np.array(
    [[14, 48, 120], [36, 98, 178], [104, 164, 216], [172, 204, 226], [226, 225, 221],
     [240, 194, 168], [232, 138, 102], [196, 56, 58], [122, 10, 38]], dtype=np.float64
)  # fmt: skip
_SEQUENTIAL = np.array(
    [[230, 230, 224], [250, 222, 150], [246, 174, 84], [226, 104, 62], [172, 36, 72], [88, 12, 78]], dtype=np.float64
)


def heat_colors(values_mm: FloatArray, limit_mm: float, *, signed: bool = True) -> ByteImage:
    """(N, 3) uint8 colours of (N,) distances.

    Signed: blue is inwards (negative), near white zero, red outwards; values beyond ±limit take the end colour.
    Unsigned: near white at zero through yellow and red to dark purple at the limit. NaN becomes a neutral grey.

    Raises:
        InputError: the limit is not a positive number.
    """
    if not np.isfinite(limit_mm) or limit_mm <= 0:
        raise InputError(f"a heat map with limit {limit_mm} mm has no scale; give a positive limit")
    value = np.asarray(values_mm, dtype=np.float64)
    table = _DIVERGING if signed else _SEQUENTIAL
    place = (value / limit_mm + 1.0) / 2.0 if signed else np.abs(value) / limit_mm
    place = np.clip(np.nan_to_num(place, nan=0.0), 0.0, 1.0) * (len(table) - 1)
    color = np.stack([np.interp(place, np.arange(len(table)), table[:, k]) for k in range(3)], axis=-1)
    color[np.isnan(value)] = 186.0
    return np.round(color).astype(np.uint8)


def round_limit(values_mm: FloatArray, *, share: float = 0.995, floor_mm: float = 0.1) -> float:
    """A round limit in mm (1, 1.5, 2, 3, 4, 6 or 8 times a power of ten) that holds a share of the distances."""
    size = np.abs(np.asarray(values_mm, dtype=np.float64))
    size = size[np.isfinite(size)]
    wanted = max(float(np.quantile(size, share)) if len(size) else 0.0, floor_mm)
    power = 10.0 ** np.floor(np.log10(wanted))
    return next(
        float(f"{step * power:.6g}") for step in (1, 1.5, 2, 3, 4, 6, 8, 10) if step * power >= wanted * (1 - 1e-9)
    )


def legend(limit_mm: float, *, width: int = 420, signed: bool = True, title: str = "") -> Image.Image:
    """A colour bar with ticks in mm for `heat_colors`; `title` stands above it."""
    bar_top, bar_height, side = (26 if title else 6), 16, 34
    picture = Image.new("RGB", (width, bar_top + bar_height + 24), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    span = width - 2 * side
    low = -limit_mm if signed else 0.0
    strip = heat_colors(np.linspace(low, limit_mm, span), limit_mm, signed=signed)
    picture.paste(Image.fromarray(np.broadcast_to(strip, (bar_height, span, 3)).copy()), (side, bar_top))
    draw.rectangle((side - 1, bar_top - 1, side + span, bar_top + bar_height), outline=(150, 150, 150))
    if title:
        draw.text((width // 2, 2), title, fill=INK, font=text_font(14), anchor="ma")
    for k in range(5):
        value = low + (limit_mm - low) * k / 4
        x = side + round((span - 1) * k / 4)
        draw.line((x, bar_top + bar_height, x, bar_top + bar_height + 4), fill=INK)
        sign = "+" if signed and value > 0 else ""
        unit = " mm" if k == 4 else ""
        draw.text((x, bar_top + bar_height + 6), f"{sign}{value:.3g}{unit}", fill=INK, font=text_font(13), anchor="ma")
    return picture


def contact_sheet(
    images: Sequence[ByteImage | Image.Image], labels: Sequence[str] = (), columns: int = 4, *, gap: int = 6
) -> Image.Image:
    """Pictures in rows, each with its label underneath.

    Args:
        images: (H, W, 3) uint8 arrays or PIL images; cells take the largest size.
        labels: one for each picture, or none at all.
        columns: pictures in a row.
        gap: pixels between pictures.

    Raises:
        InputError: no pictures, or another number of labels.
    """
    if not len(images) or columns < 1:
        raise InputError("a contact sheet needs at least one picture and one column")
    if len(labels) not in (0, len(images)):
        raise InputError(f"{len(labels)} labels for {len(images)} pictures; give one for each, or none")
    pictures = [k if isinstance(k, Image.Image) else Image.fromarray(k) for k in images]
    wide, high = max(k.width for k in pictures), max(k.height for k in pictures)
    text = max(12, min(20, wide // 22))
    line = text + 10 if any(labels) else 0
    widest = max((text_font(text).getlength(label) for label in labels), default=0.0)
    font = text_font(max(8, int(text * min(1.0, wide / max(widest, 1.0)))))
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    size = (columns * (wide + gap) + gap, rows * (high + line + gap) + gap)
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for k, picture in enumerate(pictures):
        x, y = gap + (k % columns) * (wide + gap), gap + (k // columns) * (high + line + gap)
        sheet.paste(picture, (x + (wide - picture.width) // 2, y))
        if line:
            draw.text((x + wide // 2, y + high + 3), labels[k], fill=INK, font=font, anchor="ma")
    return sheet


def overlay(
    scan: Mesh | FloatArray,
    fit: Mesh,
    *,
    views: Sequence[str] = ("front", "three_quarter", "profile"),
    size: int = 320,
    limit_mm: float | None = None,
    half_mm: float = FACE_HALF_MM,
    center_mm: Sequence[float] = FACE_CENTER_MM,
) -> Image.Image:
    """A scan beside, through and measured against a fit; one row for each view.

    Columns: the scan (blue), the fit (warm), both in one picture where the nearer surface wins (a good fit is an even
    mottle), and the scan coloured by its signed distance to the fit (red: the scan lies outside).

    Args:
        scan: a mesh, or points (N, 3); head frame, mm.
        fit: the fitted surface, head frame, mm.
        views: names of `VIEW_NAMES`.
        size: pixels of one picture.
        limit_mm: end of the heat scale; None chooses a round one.
        half_mm: half the side of the window, mm.
        center_mm: point in the middle, mm.
    """
    surface, normals, source = as_surface(scan)
    away = signed_distance(scan.vertices if isinstance(scan, Mesh) else scan, fit)
    # hair and clothes lie centimetres away: a scale that held them would show nothing of the face
    limit = round_limit(away, share=0.75) if limit_mm is None else limit_mm
    heat = heat_colors(away, limit)[source]
    both = Mesh(
        np.concatenate([surface.vertices, fit.vertices]),
        np.concatenate([surface.faces, fit.faces + len(surface.vertices)]),
    )
    both_normals = np.concatenate([normals, vertex_normals(fit.vertices, fit.faces)[0]])
    both_colors = np.concatenate([flat_color(SCAN_BLUE, surface), flat_color(FIT_WARM, fit)])
    cells: list[ByteImage] = []
    solid = isinstance(scan, Mesh)
    for view in views:
        look = camera(view, center_mm=center_mm, half_mm=half_mm)
        cells += [
            shade(surface, look, size, colors=flat_color(SCAN_BLUE, surface), normals=normals, occlusion=solid),
            shade(fit, look, size, colors=flat_color(FIT_WARM, fit)),
            shade(both, look, size, colors=both_colors, normals=both_normals, occlusion=False),
            shade(surface, look, size, colors=heat, normals=normals, occlusion=solid),
        ]
    names = ["scan", "fit", "scan and fit", "scan, signed distance to the fit"]
    sheet = contact_sheet(cells, names * len(views), columns=4)
    return stack([sheet, legend(limit, width=min(460, sheet.width), title="scan inside the fit | outside")])


def as_surface(scan: Mesh | FloatArray) -> tuple[Mesh, FloatArray, NDArray[np.int64]]:
    """A drawable surface of a scan: mesh, vertex normals (V, 3), and index (V,) of the scan point of each vertex."""
    if isinstance(scan, Mesh) and len(scan.faces):
        return scan, vertex_normals(scan.vertices, scan.faces)[0], np.arange(len(scan.vertices))
    return surfels(scan.vertices if isinstance(scan, Mesh) else scan)


def flat_color(color: Color, mesh: Mesh) -> ByteImage:
    """(V, 3) uint8: one colour for every vertex of a mesh."""
    return np.tile(np.array(color, dtype=np.uint8), (len(mesh.vertices), 1))


def stack(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures below each other, centred."""
    sheet = Image.new("RGB", (max(k.width for k in pictures), sum(k.height for k in pictures)), BACKGROUND)
    top = 0
    for picture in pictures:
        sheet.paste(picture, ((sheet.width - picture.width) // 2, top))
        top += picture.height
    return sheet


def text_font(size: int) -> Any:
    """Pillow's own font at a size in pixels; it needs no file on the machine."""
    return ImageFont.load_default(size)
