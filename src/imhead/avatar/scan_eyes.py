"""The colour of the eyes that a scan shows, as the nearest of the named ones, and the light that falls on them."""

from __future__ import annotations

import numpy as np

from imhead.avatar.eyes import GAZE, LIMBUS
from imhead.avatar.palette import EYES, eyes_text
from imhead.avatar.scan_colors import REACH_MM, ColoredScan
from imhead.conventions import srgb_to_linear
from imhead.surfaces.eyeballs import on_eyeball
from imhead.types import FloatArray

_RINGS, _STEPS = np.linspace(0.5, 0.85, 5), 40  # over the angle of the limbus, between pupil and rim
_LEAST_SEEN = 0.35  # of both irises
_DARK, _LIKE = 0.45, 0.4  # of the skin's light, and from its tint: what is lighter and as near is a lid
_FAINT = 4e-3
_WHITE_RINGS, _WHITE_TURN = np.linspace(1.25, 1.7, 6), np.radians(35.0)  # beside the iris, left and right of it
_PALE, _LEAST_WHITE, _BRIGHT = 0.6, 0.08, 0.9  # of the skin's tint; of what was looked at; the quantile of its light
_DAY, _DARKEST = 0.79, 0.4  # linear light of a white as it is painted, and the least share of it
_DAY_SKIN = 0.25  # light of a skin over which whites are as they are painted, where no white is seen


def eyes_of_scan(colored: ColoredScan, eyes: FloatArray, skin: FloatArray) -> str:
    """Colour and light of the eyes as `palette.eyes_text` writes them.

    Args:
        colored: the scan.
        eyes: (2, 5) eyeballs on it.
        skin: (3,) sRGB of its skin, 0 to 255.
    """
    return eyes_text(eye_color_of(colored, eyes, skin), eye_light_of(colored, eyes, skin))


def eye_color_of(colored: ColoredScan, eyes: FloatArray, skin: FloatArray) -> str:
    """Name of the nearest colour in `palette.EYES`; empty where lids cover the irises, or the scan does not show them.

    Args:
        colored: the scan.
        eyes: (2, 5) eyeballs on it.
        skin: (3,) sRGB of its skin, 0 to 255.
    """
    turns = np.linspace(0, 2 * np.pi, _STEPS, False)
    colors = _colors(colored, eyes, turns, _RINGS)
    own = srgb_to_linear(skin / 255.0)
    lid = (colors.mean(axis=1) > _DARK * own.mean()) & (np.linalg.norm(_tint(colors) - _tint(own), axis=1) < _LIKE)
    if (~lid).sum() < _LEAST_SEEN * 2 * len(turns) * len(_RINGS):
        return ""
    wanted = _tint(np.median(colors[~lid], axis=0))
    middle = {name: np.mean([color.outer, color.inner], axis=0) / 255.0 for name, color in EYES.items()}
    return min(middle, key=lambda name: float(np.linalg.norm(_tint(srgb_to_linear(middle[name])) - wanted)))


def eye_light_of(colored: ColoredScan, eyes: FloatArray, skin: FloatArray) -> float:
    """How light the whites of the eyes are, as a share of those that are painted for daylight. A dark picture has dark
    whites; where lids cover them, the skin tells.

    Args:
        colored: the scan.
        eyes: (2, 5) eyeballs on it.
        skin: (3,) sRGB of its skin, 0 to 255.
    """
    half = np.linspace(-_WHITE_TURN, _WHITE_TURN, _STEPS // 4)
    turns = np.concatenate([half, np.pi + half])
    colors = _colors(colored, eyes, turns, _WHITE_RINGS)
    own = srgb_to_linear(skin / 255.0)
    pale = np.linalg.norm(_tint(colors), axis=1) < _PALE * np.linalg.norm(_tint(own))
    if pale.sum() < _LEAST_WHITE * 2 * len(turns) * len(_WHITE_RINGS):
        return float(np.clip(np.sqrt(own.mean() / _DAY_SKIN), _DARKEST, 1.0))
    light = float(np.quantile(colors[pale].mean(axis=1), _BRIGHT))
    return float(np.clip(light / _DAY, _DARKEST, 1.0))


def _colors(colored: ColoredScan, eyes: FloatArray, turns: FloatArray, rings: FloatArray) -> FloatArray:
    """Linear colours (N, 3) that a scan shows around the gaze of both eyes, at turns about it and at angles from it."""
    axis = GAZE / np.linalg.norm(GAZE)
    right = np.cross([0.0, 1.0, 0.0], axis)
    right /= np.linalg.norm(right)
    turn, angle = (grid.ravel() for grid in np.meshgrid(turns, rings * LIMBUS))
    around = np.cos(turn)[:, None] * right + np.sin(turn)[:, None] * np.cross(axis, right)
    directions = np.cos(angle)[:, None] * axis + np.sin(angle)[:, None] * around
    found = []
    for side in (0, 1):
        flip = np.array([1.0, 1.0, 1.0]) if side == 0 else np.array([-1.0, 1.0, 1.0])
        places = on_eyeball(directions, eyes[side]) * flip
        seen = colored.at(places, directions * flip, REACH_MM, REACH_MM[1], 0.3)
        found.append(seen.color[seen.weight > 0.5])
    return np.asarray(srgb_to_linear(np.concatenate(found) / 255.0))


def _tint(color: FloatArray) -> FloatArray:
    """(…, 2) ratios of red to green and of green to blue, as logarithms; light and shadow do not change them."""
    light = np.log(color + _FAINT)
    return np.stack([light[..., 0] - light[..., 1], light[..., 1] - light[..., 2]], axis=-1)
