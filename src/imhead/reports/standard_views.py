"""The views in which a clinic prints a face, each with a scale bar."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from imhead.rendering.figures import INK, text_font
from imhead.rendering.raycast import Camera
from imhead.rendering.shading import ByteImage, camera

_CENTER_MM = (0.0, -4.0, 35.0)
_HALF_MM = 118.0
_BAR_MM = 20.0
_SUBMENTAL_DEG = 55.0  # the camera stands below the face and looks up


def _submental() -> Camera:
    angle = np.radians(_SUBMENTAL_DEG)
    sine, cosine = float(np.sin(angle)), float(np.cos(angle))
    return Camera((1.0, 0.0, 0.0), (0.0, cosine, sine), (0.0, -sine, cosine), (0.0, -20.0, 55.0), _HALF_MM)


def _named(view: str) -> Camera:
    return camera(view, center_mm=_CENTER_MM, half_mm=_HALF_MM)


STANDARD_VIEWS: dict[str, Camera] = {
    "frontal": _named("front"),
    "three-quarter left": _named("three_quarter"),
    "three-quarter right": _named("three_quarter_right"),
    "profile left": _named("profile"),
    "profile right": _named("profile_right"),
    "submental": _submental(),
}
"""Name → camera; left and right are the subject's."""


def with_scale_bar(picture: ByteImage, look: Camera) -> ByteImage:
    """A picture (H, W, 3) with a bar of 20 mm in its lower left corner."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    length = _BAR_MM / (2.0 * look.half_mm) * image.width
    size = max(9, image.width // 18)  # 8 points where a picture is printed 50 mm wide
    left, low = image.width * 0.04, image.height * 0.96
    draw.line((left, low, left + length, low), fill=INK, width=max(2, image.width // 140))
    draw.text((left, low - 6), f"{_BAR_MM:.0f} mm", fill=INK, font=text_font(size), anchor="lb")
    return np.asarray(image)
