"""The picture of a skin, painted on the template's UVs: tone, blood, lips, lids, brows. Our own painting, from a seed.

It is painted on the mean head at rest, so one picture fits every head.
Shape legend: V template vertices, P painted pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import igl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from imhead.avatar.palette import SkinTone
from imhead.avatar.parts import LASHES, Parts
from imhead.regions import CENTERS_MM, REGIONS
from imhead.template.projection import smoothstep
from imhead.template.texels import texels_of
from imhead.template.topology import MOUTH, SKIN, Topology
from imhead.types import FloatArray, IntArray, UvMap

_SMOOTH = 1024  # the colours without brows and grain are painted at this size
_LIP_SOFT_MM = 0.9
_BROW_HAIRS = 620
# region → width of a blush in mm, and its strength
_BLUSHES = {
    "nose_tip": (11.0, 0.50), "left_nostril": (8.0, 0.42), "right_nostril": (8.0, 0.42), "left_cheek": (24.0, 0.42),
    "right_cheek": (24.0, 0.42), "chin": (15.0, 0.24), "left_ear_helix": (22.0, 0.5), "right_ear_helix": (22.0, 0.5),
    "left_ear_lobe": (12.0, 0.5), "right_ear_lobe": (12.0, 0.5), "left_lower_lid": (8.0, 0.34),
    "right_lower_lid": (8.0, 0.34), "left_eye_inner": (6.0, 0.5), "right_eye_inner": (6.0, 0.5),
    "left_upper_lid": (9.0, 0.30), "right_upper_lid": (9.0, 0.30),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Canvas:
    """What lies under each painted pixel of a picture."""

    size: int
    pixel: IntArray
    """(P,) flat indices."""
    place: FloatArray
    """(P, 3) on the mean head, mm."""
    shade: FloatArray
    """(P,) share of the sky, 0 to 1."""
    inside: FloatArray
    """(P,) 1 in the mouth, 0 on the skin."""


def skin_picture(topology: Topology, parts: Parts, tone: SkinTone, seed: int, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) sRGB of the skin on the template's UVs.

    Args:
        seed: the same seed paints the same blotches and brows.
        size: 512 to 4096.
    """
    canvas = _canvas(topology, parts, min(size, _SMOOTH))
    rng = np.random.default_rng([0x5C1, seed])
    picture: FloatArray = np.zeros((canvas.size, canvas.size, 3), dtype=np.float64)
    filled = np.zeros((canvas.size, canvas.size))
    picture.reshape(-1, 3)[canvas.pixel] = _colors(canvas, parts, tone, rng)
    filled.reshape(-1)[canvas.pixel] = 1.0
    picture = _spread(picture, filled)
    coarse = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    shown = np.clip(np.asarray(coarse) * (1.0 + 0.014 * _grain(size, rng)[..., None]), 0, 255).astype(np.uint8)
    return _with_brows(shown, topology, parts, tone, rng)


def _grain(size: int, rng: np.random.Generator) -> FloatArray:
    """(size, size) fine noise of the skin, about -1 to 1; a tile, repeated."""
    tile = rng.normal(size=(512, 512)).astype(np.float32)
    mixed = gaussian_filter(tile, 0.8, mode="wrap") * 3.0 + gaussian_filter(tile[::-1], 2.5, mode="wrap") * 9.0
    repeats = -(-size // 512)
    grain: FloatArray = np.tile(mixed, (repeats, repeats))[:size, :size]
    return grain


def _colors(canvas: _Canvas, parts: Parts, tone: SkinTone, rng: np.random.Generator) -> FloatArray:
    """(P, 3) colours of the pixels."""
    p = canvas.place
    skin, blood, lips = (np.array(color, dtype=float) for color in (tone.skin, tone.blood, tone.lips))
    blotch = _noise(p, rng, (26.0, 11.0, 4.5))
    color = np.tile(skin, (len(p), 1)) * (1.0 + 0.013 * blotch[:, None])
    redness = 0.06 * np.clip(_noise(p, rng, (17.0, 7.0)), -1.0, 1.0)
    centers = {region.name: CENTERS_MM[region.index] for region in REGIONS}
    for name, (width, strength) in _BLUSHES.items():
        redness += strength * np.exp(-0.5 * np.square(np.linalg.norm(p - centers[name], axis=1) / width))
    color = _mix(color, blood, np.clip(redness, 0.0, 0.75))
    # freckles and pigment: small dark spots on cheeks and nose
    spots = np.clip(_noise(p, rng, (2.6, 1.7)) - 0.9, 0.0, 1.0) * np.exp(-np.square((p[:, 1] - 5.0) / 40.0))
    color *= 1.0 - 0.16 * tone.freckles * (spots * (p[:, 2] > 30.0))[:, None] * [0.7, 1.0, 1.15]
    # sockets are a little darker and cooler
    for side in (1.0, -1.0):
        socket = np.exp(-np.square((p - [side * 31.0, 27.0, 82.0]) / [19.0, 11.0, 16.0]).sum(axis=1))
        color *= 1.0 - socket[:, None] * [0.10, 0.13, 0.11]
    color = _lids(color, p, parts, tone)
    lip = _lip_share(p, parts) * (1.0 - canvas.inside)
    stripes = 1.0 + 0.022 * np.sin(p[:, 0] * 3.1 + 3.0 * _noise(p, rng, (4.0, 2.0)))
    color = _mix(color, lips * (1.0 + 0.04 * blotch[:, None]) * stripes[:, None], 0.88 * lip)
    cover = 1.0 - 0.55 * (1.0 - canvas.shade) * (1.0 - lip) * (1.0 - canvas.inside)
    color *= cover[:, None] ** [0.9, 1.1, 1.15]
    # the mouth: wet pink behind the lips, dark towards the throat
    depth = np.clip((p[:, 2] - 35.0) / 50.0, 0.0, 1.0)[:, None]
    lining = np.array([58.0, 18.0, 18.0]) * (1.0 - depth) + (0.45 * lips + [70.0, 26.0, 26.0]) * depth
    return _mix(color, lining, canvas.inside)


def _lids(color: FloatArray, p: FloatArray, parts: Parts, tone: SkinTone) -> FloatArray:
    """Colours with wet, pink margins and the shadow of the lashes' roots."""
    near = np.flatnonzero((np.abs(np.abs(p[:, 0]) - 33.0) < 24.0) & (np.abs(p[:, 1] - 29.0) < 20.0) & (p[:, 2] > 60.0))
    roots = parts.lid_root[parts.lid_piece == LASHES]
    tears = parts.lids[parts.lid_piece != LASHES]
    from_lash = cKDTree(roots).query(p[near])[0]
    from_tear = cKDTree(tears).query(p[near])[0]
    margin = np.clip(1.3 - from_tear / 1.3, 0.0, 1.0)
    pink = 0.6 * np.array(tone.blood) + 0.4 * np.array(tone.lips)
    painted = _mix(color[near], pink, 0.75 * margin)
    upper = 1.0 / (1.0 + np.exp(-(p[near, 1] - 28.5) / 1.2))
    lash = np.exp(-np.square(from_lash / 0.75)) * (0.35 + 0.45 * upper)
    painted = _mix(painted, 0.45 * np.array(tone.brows) + 6.0, lash)
    out = color.copy()
    out[near] = painted
    return out


def _lip_share(p: FloatArray, parts: Parts) -> FloatArray:
    """(P,) 1 on the red of the lips, 0 outside, soft at its border."""
    near = np.flatnonzero((np.abs(p[:, 0]) < 40.0) & (p[:, 1] < -15.0) & (p[:, 1] > -75.0) & (p[:, 2] > 55.0))
    outline = _closed_curve(parts.marks[48:60, :2], 12)
    start, end = outline, np.roll(outline, -1, axis=0)
    distance = np.full(len(near), np.inf)
    inside = np.zeros(len(near), dtype=bool)
    x, y = p[near, 0], p[near, 1]
    for (ax, ay), (bx, by) in zip(start, end):
        share = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0.0, 1.0)
        distance = np.minimum(distance, np.hypot(x - ax - share * (bx - ax), y - ay - share * (by - ay)))
        inside ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * (bx - ax) / np.where(by == ay, 1e-9, by - ay))
    signed = np.where(inside, distance, -distance)
    out = np.zeros(len(p))
    out[near] = smoothstep(-_LIP_SOFT_MM, _LIP_SOFT_MM, signed)
    return out


def _closed_curve(points: FloatArray, steps: int) -> FloatArray:
    """A smooth closed curve (n · steps, 2) through points (n, 2)."""
    before, after, second = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0), np.roll(points, -2, axis=0)
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (values[:, None] for values in (before, points, after, second))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    flat: FloatArray = curve.reshape(-1, points.shape[1])
    return flat


def _with_brows(
    picture: NDArray[np.uint8], topology: Topology, parts: Parts, tone: SkinTone, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The picture with a brow of single hairs over each eye."""
    size, fine = len(picture), 4
    roots, tips, darks = [], [], []
    for first, side in ((17, -1.0), (22, 1.0)):
        curve = parts.marks[first : first + 5]
        curve = curve if side > 0 else curve[::-1]  # from the nose outwards
        along = rng.uniform(0.0, 1.0, _BROW_HAIRS)
        place = np.stack([np.interp(along * 4.0, np.arange(5), curve[:, axis]) for axis in range(3)], axis=1)
        half = np.interp(along, [0.0, 0.15, 0.5, 0.8, 1.0], [2.4, 3.6, 3.3, 2.0, 0.9])
        place[:, 0] -= side * 2.5 * (1.0 - along) ** 2  # the marks begin a little outside the brow's head
        place[:, 1] += half * (rng.beta(2.2, 2.2, _BROW_HAIRS) - 0.5) * 2.0 - np.interp(
            along, [0.0, 0.5, 1.0], [3.0, 1.6, 1.5]
        )
        rise = np.interp(along, [0.0, 0.12, 0.35, 0.65, 1.0], [70.0, 50.0, 24.0, -2.0, -26.0])
        rise = rise + rng.normal(0.0, 10.0, _BROW_HAIRS)
        length = rng.uniform(3.0, 6.2, _BROW_HAIRS) * np.interp(along, [0.0, 0.2, 0.8, 1.0], [0.65, 1.0, 0.9, 0.6])
        angle = np.radians(rise)
        roots.append(place)
        tips.append(
            place + length[:, None] * np.stack([side * np.cos(angle), np.sin(angle), -0.25 * np.cos(angle)], axis=1)
        )
        # the brow's head is thin
        darks.append(rng.uniform(90.0, 215.0, _BROW_HAIRS) * np.interp(along, [0.0, 0.22, 1.0], [0.4, 1.0, 0.9]))
    a, b = (_to_uv(topology, parts, np.concatenate(ends)) * size for ends in (roots, tips))
    both = np.concatenate([a, b])
    low, high = np.floor(both.min(axis=0)) - 4, np.ceil(both.max(axis=0)) + 4
    width, height_px = (high - low).astype(int)
    cover = Image.new("L", (width * fine, height_px * fine))
    pen = ImageDraw.Draw(cover)
    for (ax, ay), (bx, by), dark in zip((a - low) * fine, (b - low) * fine, np.concatenate(darks)):
        if np.hypot(bx - ax, by - ay) < 0.03 * size * fine:  # not across a seam
            pen.line(
                [(ax, height_px * fine - ay), (bx, height_px * fine - by)],
                fill=int(dark),
                width=max(1, round(size * fine / 4000)),
            )
    share = np.asarray(cover.resize((width, height_px), Image.Resampling.BOX), dtype=float) / 255.0
    rows = slice(size - int(high[1]), size - int(low[1]))
    columns = slice(int(low[0]), int(high[0]))
    soft = gaussian_filter(share, size / 700)  # skin between the hairs is darker too
    painted = _mix(picture[rows, columns].astype(float).reshape(-1, 3), np.array(tone.brows), (0.6 * soft).ravel())
    painted = _mix(painted, np.array(tone.brows), np.minimum(1.25 * share, 0.95).ravel())
    out = picture.copy()
    out[rows, columns] = painted.reshape(*share.shape, 3).round().astype(np.uint8)
    return out


def _to_uv(topology: Topology, parts: Parts, points: FloatArray) -> FloatArray:
    """UVs (n, 2) of the places on the skin nearest to points (n, 3)."""
    skin = (topology.part[topology.faces] == SKIN).all(axis=1)
    faces, uv_faces = topology.faces[skin], topology.uv_faces[skin]
    _, face, nearest = igl.point_mesh_squared_distance(points, parts.skin, faces)
    a, b, c = (parts.skin[faces[face, k]] for k in range(3))
    weights = igl.barycentric_coordinates(nearest, a, b, c)
    uv: FloatArray = np.einsum("nk,nkc->nc", weights, topology.uv[uv_faces[face]])
    return uv


@lru_cache(maxsize=2)
def _canvas(topology: Topology, parts: Parts, size: int) -> _Canvas:
    """The canvas of a size; topologies and parts are told apart by their identity."""
    texels = texels_of(UvMap(topology.uv, topology.uv_faces), size)
    table = np.column_stack([parts.skin, parts.shade, topology.part == MOUTH])
    values = texels.between(topology.faces, table)
    return _Canvas(size, texels.texel, values[:, :3], values[:, 3], values[:, 4])


def _noise(p: FloatArray, rng: np.random.Generator, widths: tuple[float, ...]) -> FloatArray:
    """Smooth noise (P,) of about unit size in space, a sum over `widths` in mm."""
    total = np.zeros(len(p))
    for width in widths:
        # waves of random directions: smooth, without a grid, and cheap
        waves = rng.normal(size=(10, 3)) / width
        phase = rng.uniform(0.0, 2.0 * np.pi, 10)
        total += np.sin(p @ waves.T + phase).sum(axis=1) * np.sqrt(0.2)
    scaled: FloatArray = total / np.sqrt(len(widths))
    return scaled


def _mix(color: FloatArray, other: FloatArray, share: FloatArray) -> FloatArray:
    mixed: FloatArray = color * (1.0 - share[:, None]) + other * share[:, None]
    return mixed


def _spread(picture: FloatArray, filled: FloatArray) -> FloatArray:
    """The picture with its colours carried past the borders of the UVs, so that no background shows at a seam."""
    spread, weight = picture.copy(), filled
    known = filled > 0
    for width in (1.5, 5.0, 24.0):
        near = gaussian_filter(weight, width)
        soft = np.stack([gaussian_filter(picture[..., k] * filled, width) for k in range(3)], axis=-1)
        fresh = ~known & (near > 1e-3)
        spread[fresh] = soft[fresh] / near[fresh][:, None]
        known |= fresh
    spread[~known] = picture[filled > 0].mean(axis=0)
    return spread
