"""Heat colours, legends and contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from imhead.errors import InputError, one_line
from imhead.rendering.shading import BACKGROUND, ByteImage, Color
from imhead.types import FloatArray

SCAN_BLUE: Color = (158, 188, 220)
FIT_WARM: Color = (238, 200, 164)
INK: Color = (52, 52, 56)
_GAP = 6  # pixels between the pictures of a contact sheet
_LONGEST_LABEL = 100  # characters

# blue, near white, red, of equal lightness on both sides: legible to colour-blind readers
_DIVERGING = np.array(
    [[14, 48, 120], [36, 98, 178], [104, 164, 216], [172, 204, 226], [226, 225, 221],
     [240, 194, 168], [232, 138, 102], [196, 56, 58], [122, 10, 38]], dtype=np.float64
)  # fmt: skip
_SEQUENTIAL = np.array(
    [[230, 230, 224], [250, 222, 150], [246, 174, 84], [226, 104, 62], [172, 36, 72], [88, 12, 78]], dtype=np.float64
)


def heat_colors(values_mm: FloatArray, limit_mm: float, *, signed: bool = True) -> ByteImage:
    """(N, 3) uint8 colours of (N,) distances.

    Signed: blue is negative (inwards), near white zero, red positive (outwards). Unsigned: from near white at zero over
    yellow and red to dark purple at the limit. Values beyond the limit take the end colour, NaN a neutral grey.

    Raises:
        InputError: the limit is not a positive number.
    """
    if not np.isfinite(limit_mm) or limit_mm <= 0:
        raise InputError(f"the limit of a heat map is {limit_mm} mm; give a positive limit")
    value = np.asarray(values_mm, dtype=np.float64)
    table = _DIVERGING if signed else _SEQUENTIAL
    place = (value / limit_mm + 1.0) / 2.0 if signed else np.abs(value) / limit_mm
    place = np.clip(np.nan_to_num(place, nan=0.0), 0.0, 1.0) * (len(table) - 1)
    color = np.stack([np.interp(place, np.arange(len(table)), table[:, k]) for k in range(3)], axis=-1)
    color[np.isnan(value)] = 186.0
    return np.round(color).astype(np.uint8)


def round_limit(values_mm: FloatArray, *, share: float = 0.995, floor_mm: float = 0.1) -> float:
    """Smallest round limit in mm (1, 1.5, 2, 3, 4, 6 or 8 times a power of ten) that holds a share of the distances."""
    size = np.abs(np.asarray(values_mm, dtype=np.float64))
    size = size[np.isfinite(size)]
    least = max(float(np.quantile(size, share)) if len(size) else 0.0, floor_mm)
    power = 10.0 ** np.floor(np.log10(least))
    return next(
        float(f"{step * power:.6g}") for step in (1, 1.5, 2, 3, 4, 6, 8, 10) if step * power >= least * (1 - 1e-9)
    )


def legend(limit_mm: float, *, width: int = 420, signed: bool = True, title: str = "") -> Image.Image:
    """A colour bar for `heat_colors` with ticks in mm, below its title."""
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
    images: Sequence[ByteImage | Image.Image], labels: Sequence[str] = (), columns: int = 4
) -> Image.Image:
    """Pictures in rows, each above its label.

    Args:
        images: (H, W, 3) uint8 arrays or PIL images; the largest sets the size of the cells.
        labels: one for each picture, or none at all.
        columns: pictures in a row.

    Raises:
        InputError: no pictures, or a label is missing.
    """
    if not len(images) or columns < 1:
        raise InputError("a contact sheet needs at least one picture and one column")
    if len(labels) not in (0, len(images)):
        raise InputError(f"{len(labels)} labels for {len(images)} pictures; give one for each, or none")
    labels = [one_line(label, _LONGEST_LABEL) for label in labels]
    pictures = [k if isinstance(k, Image.Image) else Image.fromarray(k) for k in images]
    wide, high = max(k.width for k in pictures), max(k.height for k in pictures)
    text = max(12, min(20, wide // 22))
    line = text + 10 if any(labels) else 0
    widest = max((text_font(text).getlength(label) for label in labels), default=0.0)
    font = text_font(max(8, int(text * min(1.0, wide / max(widest, 1.0)))))
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    size = (columns * (wide + _GAP) + _GAP, rows * (high + line + _GAP) + _GAP)
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for k, picture in enumerate(pictures):
        x, y = _GAP + (k % columns) * (wide + _GAP), _GAP + (k // columns) * (high + line + _GAP)
        sheet.paste(picture, (x + (wide - picture.width) // 2, y))
        if line:
            draw.text((x + wide // 2, y + high + 3), labels[k], fill=INK, font=font, anchor="ma")
    return sheet


def stack(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures from top to bottom, centred."""
    sheet = Image.new("RGB", (max(k.width for k in pictures), sum(k.height for k in pictures)), BACKGROUND)
    top = 0
    for picture in pictures:
        sheet.paste(picture, ((sheet.width - picture.width) // 2, top))
        top += picture.height
    return sheet


def text_font(size: int) -> Any:
    """Pillow's built-in font, size in pixels."""
    return ImageFont.load_default(size)
