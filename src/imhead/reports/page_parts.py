"""What the HTML pages of reports share: their files, numbers, and pictures as text inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def asset(name: str) -> str:
    """The text of a file beside the reports."""
    return (resources.files("imhead.reports") / "assets" / name).read_text(encoding="utf-8")


def number(value: float, *, signed: bool, digits: int) -> str:
    """A number for HTML; a rounded zero has no sign."""
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    return text.lstrip("+-") if float(text.replace(",", "")) == 0 else text.replace("-", "&minus;")


def strip(row: Sequence[NDArray[np.uint8]]) -> Image.Image:
    """Pictures side by side on white."""
    gap = np.full((row[0].shape[0], 8, 3), 255, dtype=np.uint8)
    parts = [part for picture in row for part in (gap, picture)][1:]
    return Image.fromarray(np.concatenate(parts, axis=1))


def data_uri(picture: Image.Image, kind: str = "PNG") -> str:
    """A picture as it stands inside a page."""
    buffer = io.BytesIO()
    picture.save(buffer, format=kind)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
