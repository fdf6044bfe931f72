"""The texels of a picture on a mesh's UVs: which face lies under each, and where in it.

Shape legend: S texels along a side, T texels that a face covers, F faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.surfaces.rays import first_hit, ray_caster
from imhead.types import FloatArray, IntArray, Mesh, UvMap


@dataclass(frozen=True, eq=False)
class Texels:
    """What lies under the texels of a square picture, row 0 at v = 1."""

    size: int
    """Texels along a side."""
    texel: IntArray
    """(T,) flat numbers of the texels that a face covers."""
    face: IntArray
    """(T,) int32, the face under each."""
    shares: FloatArray
    """(T, 3) float32, barycentric weights of the face's corners."""

    def between(self, corners: IntArray, values: FloatArray) -> FloatArray:
        """(T, C) values at the texels, between those at vertices (V, C), of a mesh with corners (F, 3)."""
        out = np.zeros((len(self.face), values.shape[1]), dtype=np.float32)
        held = values.astype(np.float32)
        for k in range(3):
            out += self.shares[:, k, None] * held[corners[self.face, k]]
        return out

    def part(self, rows: IntArray) -> Texels:
        """Some of the texels, by their rows (n,)."""
        return Texels(self.size, self.texel[rows], self.face[rows], self.shares[rows])


def texels_of(uv: UvMap, size: int) -> Texels:
    """The texels of a picture of `size` × `size` on a mesh's UVs."""
    face = texel_faces(uv, size)
    texel = np.flatnonzero(face >= 0)
    row, column = np.divmod(texel, size)
    middle = np.column_stack([(column + 0.5) / size, 1.0 - (row + 0.5) / size])
    shares = flat_barycentric(middle, uv.uv[uv.faces[face[texel]]])
    return Texels(size, texel, face[texel].astype(np.int32), shares.astype(np.float32))


def texel_faces(uv: UvMap, size: int) -> IntArray:
    """(S²,) the face whose UV triangle holds the middle of each texel, row by row from v = 1; -1 for none."""
    flat = Mesh(np.column_stack([uv.uv, np.zeros(len(uv.uv))]), uv.faces)
    middle = (np.arange(size) + 0.5) / size
    across, down = np.meshgrid(middle, 1.0 - middle)
    origins = np.column_stack([across.ravel(), down.ravel(), np.ones(size * size)])
    return first_hit(ray_caster(flat), origins, np.broadcast_to([0.0, 0.0, -1.0], origins.shape))


def flat_barycentric(points: FloatArray, triangles: FloatArray) -> FloatArray:
    """(T, 3) barycentric weights of points (T, 2) in triangles (T, 3, 2)."""
    a, b, c = (triangles[:, k] for k in range(3))
    one, other, along = b - a, c - a, points - a
    size = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    size = np.where(np.abs(size) > 1e-30, size, 1.0)
    second = (along[:, 0] * other[:, 1] - along[:, 1] * other[:, 0]) / size
    third = (one[:, 0] * along[:, 1] - one[:, 1] * along[:, 0]) / size
    return np.stack([1.0 - second - third, second, third], axis=1)
