"""The picture of an eye: white, iris, pupil. Our own painting, from a seed."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imhead.avatar.eyes import LIMBUS, angle_at
from imhead.avatar.palette import EyeColor
from imhead.avatar.skin_image import jpeg_bytes
from imhead.conventions import srgb_bytes, srgb_to_linear
from imhead.template.projection import smoothstep
from imhead.types import FloatArray

_WHITE, _PINK, _VEIN = np.array([236.0, 229.0, 222.0]), np.array([205.0, 150.0, 138.0]), np.array([178.0, 84.0, 78.0])
_PUPIL = 0.40  # over the iris's radius
_SOFT_RIM = 0.10
_STREAKS = 160
_VEINS = 26


@lru_cache(maxsize=4)
def eye_jpeg(color: EyeColor, seed: int, size: int, light: float = 1.0) -> bytes:
    """`eye_picture` as a JPEG, in a share of daylight; the same again is not painted again."""
    picture = eye_picture(color, seed, size)
    return jpeg_bytes(picture if light == 1.0 else srgb_bytes(light * srgb_to_linear(picture / 255.0)))


def eye_picture(color: EyeColor, seed: int, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) sRGB of a left eye, laid out by `eyes.uv_radius`: the iris in the middle."""
    step = (np.arange(size) + 0.5) / size - 0.5
    x, y = np.meshgrid(step, -step)
    radius = np.hypot(x, y)
    # distance from the middle of the iris, 1 at its edge
    share = np.sin(np.minimum(angle_at(radius), np.pi / 2)) / np.sin(LIMBUS)
    beyond = np.maximum(angle_at(radius) / LIMBUS - 1.0, 0.0)
    turn = np.arctan2(y, x)
    rng = np.random.default_rng([0xE7E, seed])
    iris = _iris(color, share, turn, rng)
    white = _white(beyond, turn, rng)
    edge = smoothstep(1.0 - _SOFT_RIM, 1.0 + _SOFT_RIM, share)[..., None]
    picture = iris * (1.0 - edge) + white * edge
    # a soft dark ring where the white ends
    ring = np.exp(-np.square((share - 1.0) / 0.09))[..., None]
    picture = picture * (1.0 - 0.38 * ring) + np.array(color.rim) * 0.38 * ring
    shown: NDArray[np.uint8] = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    return shown


def _iris(color: EyeColor, share: FloatArray, turn: FloatArray, rng: np.random.Generator) -> FloatArray:
    fibres = _around(turn, rng, _STREAKS, 0.65) + 0.5 * _around(turn + 0.25 * share, rng, 3 * _STREAKS, 0.5)
    collar = 0.56 + 0.04 * _around(turn, rng, 22, 0.0)
    inner = smoothstep(0.22, -0.14, share - collar)[..., None]
    tone = np.array(color.inner) * inner + np.array(color.outer) * (1.0 - inner)
    tone = tone * (1.0 + 0.20 * fibres[..., None] * smoothstep(0.3, 0.7, share)[..., None])
    rim = smoothstep(0.72, 1.0, share)[..., None]
    tone = tone * (1.0 - 0.75 * rim) + np.array(color.rim) * 0.75 * rim
    pupil = smoothstep(_PUPIL + 0.025, _PUPIL - 0.025, share + 0.008 * fibres)[..., None]
    painted: FloatArray = tone * (1.0 - pupil) + np.array([9.0, 8.0, 8.0]) * pupil
    return painted


def _white(beyond: FloatArray, turn: FloatArray, rng: np.random.Generator) -> FloatArray:
    pink = smoothstep(0.2, 2.2, beyond) * (0.30 + 0.25 * np.abs(np.cos(turn)))
    tone = _WHITE * (1.0 - pink[..., None]) + _PINK * pink[..., None]
    veins = np.zeros_like(turn)
    for _ in range(_VEINS):
        start = rng.choice([0.0, np.pi]) + rng.normal(0.0, 0.75)
        depth, width = rng.uniform(0.5, 1.4), rng.uniform(0.006, 0.012)
        rows = np.flatnonzero((np.abs((turn - start + np.pi) % (2.0 * np.pi) - np.pi) < 0.25) & (beyond > depth))
        out = beyond.ravel()[rows]
        wave = 0.06 * np.sin(4.0 * out + rng.uniform(0, 6.3)) + 0.02 * np.sin(11.0 * out + rng.uniform(0, 6.3))
        off = ((turn.ravel()[rows] - start - wave + np.pi) % (2.0 * np.pi) - np.pi) * (1.0 + 0.3 * out)
        veins.ravel()[rows] += np.exp(-np.square(off / width)) * smoothstep(depth, depth + 1.5, out) * 0.3
    share = np.clip(veins, 0.0, 0.5)[..., None]
    mixed: FloatArray = tone * (1.0 - share) + _VEIN * share
    return mixed


def _around(turn: FloatArray, rng: np.random.Generator, count: int, sharp: float) -> FloatArray:
    """Noise over the angle, about -1 to 1, that closes on itself."""
    values = rng.uniform(-1.0, 1.0, count)
    place = (turn / (2.0 * np.pi) % 1.0) * count
    low = place.astype(int) % count
    part = place - np.floor(place)
    part = part * part * (3.0 - 2.0 * part) if sharp < 0.6 else part
    noise: FloatArray = values[low] * (1.0 - part) + values[(low + 1) % count] * part
    return noise
