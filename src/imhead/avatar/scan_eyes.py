"""The colour of the eyes that a scan shows, as the nearest of the named ones."""

from __future__ import annotations

import numpy as np

from imhead.avatar.eyes import GAZE, LIMBUS
from imhead.avatar.palette import EYES
from imhead.avatar.scan_colors import ColoredScan
from imhead.conventions import srgb_to_linear
from imhead.surfaces.eyeballs import on_eyeball
from imhead.types import FloatArray

_RINGS, _STEPS = np.linspace(0.5, 0.85, 5), 40  # over the angle of the limbus, between pupil and rim
_REACH_MM = (1.5, 3.0)
_LEAST_SEEN = 0.35  # of both irises
_DARK, _LIKE = 0.45, 0.4  # of the skin's light, and from its tint: what is lighter and as near is a lid
_FAINT = 4e-3


def eye_color_of(colored: ColoredScan, eyes: FloatArray, skin: FloatArray) -> str:
    """Name of the nearest colour in `palette.EYES`; empty where lids cover the irises, or the scan does not show them.

    Args:
        colored: the scan.
        eyes: (2, 5) eyeballs on it.
        skin: (3,) sRGB of its skin, 0 to 255.
    """
    axis = GAZE / np.linalg.norm(GAZE)
    right = np.cross([0.0, 1.0, 0.0], axis)
    right /= np.linalg.norm(right)
    turn, angle = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 2 * np.pi, _STEPS, False), _RINGS * LIMBUS))
    around = np.cos(turn)[:, None] * right + np.sin(turn)[:, None] * np.cross(axis, right)
    directions = np.cos(angle)[:, None] * axis + np.sin(angle)[:, None] * around
    found = []
    for side in (0, 1):
        flip = np.array([1.0, 1.0, 1.0]) if side == 0 else np.array([-1.0, 1.0, 1.0])
        places = on_eyeball(directions, eyes[side]) * flip
        seen = colored.at(places, directions * flip, _REACH_MM, _REACH_MM[1], 0.3)
        found.append(seen.color[seen.weight > 0.5])
    colors = srgb_to_linear(np.concatenate(found) / 255.0)
    own = srgb_to_linear(skin / 255.0)
    lid = (colors.mean(axis=1) > _DARK * own.mean()) & (np.linalg.norm(_tint(colors) - _tint(own), axis=1) < _LIKE)
    if (~lid).sum() < _LEAST_SEEN * 2 * len(directions):
        return ""
    wanted = _tint(np.median(colors[~lid], axis=0))
    middle = {name: np.mean([color.outer, color.inner], axis=0) / 255.0 for name, color in EYES.items()}
    return min(middle, key=lambda name: float(np.linalg.norm(_tint(srgb_to_linear(middle[name])) - wanted)))


def _tint(color: FloatArray) -> FloatArray:
    """(…, 2) ratios of red to green and of green to blue, as logarithms; light and shadow do not change them."""
    light = np.log(color + _FAINT)
    return np.stack([light[..., 0] - light[..., 1], light[..., 1] - light[..., 2]], axis=-1)
