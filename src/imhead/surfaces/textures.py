"""Colours of places on textured faces.

Shape legend: N places, F faces.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imhead.types import FloatArray, IntArray, ScanTexture

_AT_ONCE = 1 << 19


def sampled(texture: ScanTexture, faces: IntArray, shares: FloatArray) -> NDArray[np.float32]:
    """(N, 3) sRGB, 0 to 255, between the pixels of the pictures; NaN on faces without one.

    Args:
        texture: of a mesh.
        faces: (N,) the face of each place.
        shares: (N, 3) its barycentric weights.
    """
    out = np.full((len(faces), 3), np.nan, dtype=np.float32)
    for first in range(0, len(faces), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        picture = texture.picture[faces[rows]]
        uv = np.einsum("nk,nkc->nc", shares[rows], texture.uv[faces[rows]])
        for k in np.unique(picture[picture >= 0]):
            own = np.flatnonzero(picture == k)
            out[first + own] = bilinear(texture.pictures[k], uv[own])
    return out


def bilinear(picture: NDArray[np.uint8], uv: FloatArray) -> NDArray[np.float32]:
    """(N, 3) values of a picture (H, W, 3) at UVs (N, 2), v upwards; beyond 0 to 1 it repeats."""
    high, wide = picture.shape[:2]
    with np.errstate(invalid="ignore"):
        x = (np.asarray(uv[:, 0], dtype=np.float64) * wide - 0.5) % wide
        y = ((1.0 - np.asarray(uv[:, 1], dtype=np.float64)) * high - 0.5) % high
    x, y = np.nan_to_num(x), np.nan_to_num(y)
    column, row = x.astype(np.int64), y.astype(np.int64)
    s, t = (x - column).astype(np.float32)[:, None], (y - row).astype(np.float32)[:, None]
    column, row = column % wide, row % high
    right, below = (column + 1) % wide, (row + 1) % high
    above = picture[row, column] * (1.0 - s) + picture[row, right] * s
    under = picture[below, column] * (1.0 - s) + picture[below, right] * s
    mixed: NDArray[np.float32] = above * (1.0 - t) + under * t
    return mixed


def halved(texture: ScanTexture, times: int) -> ScanTexture:
    """The texture with each picture averaged over squares of 2ⁿ pixels, n = `times`."""
    pictures = []
    for picture in texture.pictures:
        for _ in range(times):
            high, wide = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
            if min(high, wide) < 2:
                break
            even = picture[:high, :wide].astype(np.uint16)
            total = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
            picture = ((total + 2) // 4).astype(np.uint8)
        pictures.append(picture)
    return replace(texture, pictures=tuple(pictures))
