"""What a coloured scan shows at places of a registered template: the nearest place along the normal, one layer only.

Shape legend: N places on the template, P scan points, F scan faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import igl
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from imhead.surfaces.pieces import border_edges
from imhead.surfaces.rays import Caster, first_hit, ray_caster
from imhead.surfaces.textures import halved, sampled
from imhead.surfaces.transforms import transform_directions, transform_points
from imhead.template.projection import smoothstep
from imhead.types import FloatArray, IntArray, Mesh, Scan, ScanTexture

REACH_MM = (1.5, 3.0)
"""From a registered template to the scan: distances over which the trust in a colour falls from 1 to 0."""
_NEIGHBOURS = 8
_LEAST_COSINE = 0.35  # between the normals of the template and of the scan
_RIM_MM = (1.5, 5.0)  # from the open border of a scan, where background shines in
_AT_ONCE = 1 << 18
_FINE = 1.6  # pixels of the scan's pictures for each texel; above, they are averaged first


@dataclass(frozen=True, eq=False)
class Seen:
    """What a scan shows at N places."""

    color: NDArray[np.float32]
    """(N, 3) sRGB, 0 to 255; 0 where nothing is shown."""
    weight: NDArray[np.float32]
    """(N,) how much it is to be trusted, 0 to 1."""
    point: NDArray[np.float32]
    """(N, 3) the place on the scan, head frame, mm."""


class ColoredScan:
    """A scan with colours, brought into the head frame."""

    def __init__(self, scan: Scan, scan_to_head: FloatArray) -> None:
        self.points = transform_points(scan_to_head, scan.points)
        self.faces, self.colors, self.texture = scan.faces, scan.colors, scan.texture
        normals = None if scan.normals is None else transform_directions(scan_to_head, scan.normals)
        self._spacing = float(np.median(cKDTree(self.points).query(self.points, k=2)[0][:, 1]))
        self._caster: Caster | None = None
        if scan.faces is not None and len(scan.faces):
            self._caster = ray_caster(Mesh(self.points, scan.faces))
            rim = _rim(self.points, scan.faces)
            self._rim = cKDTree(rim) if len(rim) else None
        else:
            self._tree = cKDTree(self.points)
        self._normals = normals

    def at(
        self, places: FloatArray, normals: FloatArray, reach_mm: tuple[float, float], outwards_mm: float,
        texel_mm: float,
    ) -> Seen:  # fmt: skip
        """What the scan shows at places (N, 3) with unit normals (N, 3).

        Args:
            places: head frame, mm.
            normals: of the template there.
            reach_mm: distances over which the trust falls from 1 to 0.
            outwards_mm: how far it is looked for outwards; inwards as far as the reach.
            texel_mm: distance between neighbouring places, so that finer pictures are averaged.
        """
        parts = []
        texture = self._averaged(texel_mm)
        for first in range(0, len(places), _AT_ONCE):
            rows = slice(first, first + _AT_ONCE)
            if self._caster is None:
                parts.append(self._of_cloud(places[rows], normals[rows], reach_mm, outwards_mm))
            else:
                parts.append(self._of_mesh(places[rows], normals[rows], reach_mm, outwards_mm, texture))
        return Seen(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("color", "weight", "point")))

    def _averaged(self, texel_mm: float) -> ScanTexture | None:
        texture, faces = self.texture, self.faces
        if texture is None or faces is None or not texture.pictures:
            return None
        used = np.flatnonzero(texture.picture >= 0)[:: max(1, len(faces) // 2000)]
        sizes = np.array([picture.shape[1::-1] for picture in texture.pictures])[texture.picture[used]]
        uv, solid = texture.uv[used] * sizes[:, None], self.points[faces[used]]
        pixels = np.linalg.norm(uv[:, 1] - uv[:, 0], axis=1)
        length = np.linalg.norm(solid[:, 1] - solid[:, 0], axis=1).clip(1e-9)
        per_texel = float(np.median(pixels / length)) * texel_mm if len(used) else 0.0
        times = 0
        while per_texel > _FINE:
            per_texel, times = per_texel / 2.0, times + 1
        return halved(texture, times) if times else texture

    def _of_mesh(
        self, places: FloatArray, normals: FloatArray, reach_mm: tuple[float, float], outwards_mm: float,
        texture: ScanTexture | None,
    ) -> Seen:  # fmt: skip
        assert self._caster is not None and self.faces is not None
        out = self._hit(places, normals, normals, outwards_mm)
        inner = self._hit(places, -normals, normals, reach_mm[1])
        face = np.where(out[1] <= inner[1], out[0], inner[0])
        height = np.where(out[1] <= inner[1], out[1], -inner[1])
        met = np.flatnonzero(face >= 0)
        color, weight = np.zeros((len(places), 3), dtype=np.float32), np.zeros(len(places), dtype=np.float32)
        point = places + np.where(face >= 0, height, 0.0)[:, None] * normals
        if not len(met):
            return Seen(color, weight, point.astype(np.float32))
        corners = self._caster.corners[face[met]]
        shares = igl.barycentric_coordinates(
            np.ascontiguousarray(point[met]), *(np.ascontiguousarray(corners[:, k]) for k in range(3))
        )
        shares = np.clip(np.nan_to_num(shares), 0.0, 1.0)
        shares /= shares.sum(axis=1, keepdims=True).clip(1e-9)
        own = self._on_faces(face[met], shares, texture)
        trust = 1.0 - smoothstep(*reach_mm, np.abs(height[met])) if outwards_mm <= reach_mm[1] else np.ones(len(met))
        if self._rim is not None:
            trust = trust * smoothstep(*_RIM_MM, self._rim.query(point[met])[0])
        trust = np.where(np.isnan(own).any(axis=1), 0.0, trust)
        color[met], weight[met] = np.nan_to_num(own), trust
        return Seen(color, weight, point.astype(np.float32))

    def _on_faces(self, face: IntArray, shares: FloatArray, texture: ScanTexture | None) -> NDArray[np.float32]:
        assert self.faces is not None
        own = np.full((len(face), 3), np.nan, dtype=np.float32)
        if texture is not None:
            own = sampled(texture, face, shares)
        if self.colors is not None:
            bare = np.flatnonzero(np.isnan(own[:, 0]))
            corners = self.colors[self.faces[face[bare]]].astype(np.float32)
            own[bare] = np.einsum("nk,nkc->nc", shares[bare].astype(np.float32), corners)
        return own

    def _hit(
        self, places: FloatArray, along: FloatArray, normals: FloatArray, reach_mm: float
    ) -> tuple[IntArray, FloatArray]:
        """The face that each ray hits first, -1 for none, and its distance; inf for none."""
        assert self._caster is not None
        face = first_hit(self._caster, places - 0.01 * along, along)
        met = np.maximum(face, 0)
        across = self._caster.normals[met]
        across = across / np.linalg.norm(across, axis=1, keepdims=True).clip(1e-30)
        towards = np.einsum("nc,nc->n", along, across)
        away = np.einsum("nc,nc->n", self._caster.corners[met, 0] - places, across)
        distance = np.abs(away / np.where(np.abs(towards) > 1e-6, towards, 1.0))
        # an inside-out scan has its normals the other way
        facing = np.abs(np.einsum("nc,nc->n", across, normals)) > _LEAST_COSINE
        fine = (face >= 0) & (distance <= reach_mm) & facing
        return np.where(fine, face, -1), np.where(fine, distance, np.inf)

    def _of_cloud(
        self, places: FloatArray, normals: FloatArray, reach_mm: tuple[float, float], outwards_mm: float
    ) -> Seen:
        """The mean of the nearest points whose normals agree, by their distance beside the normal."""
        assert self.colors is not None
        apart, near = self._tree.query(places, k=min(_NEIGHBOURS, len(self.points)))
        away = self.points[near] - places[:, None]
        height = np.einsum("nkc,nc->nk", away, normals)
        beside = np.sqrt(np.maximum(apart**2 - height**2, 0.0))
        # far over the surface, as hair is, a point stands for more of what lies under it
        width = np.maximum(1.2 * self._spacing, 0.15 * apart)
        share = np.exp(-0.5 * np.square(beside / width)) * (height < outwards_mm) * (height > -reach_mm[1])
        if self._normals is not None:
            share *= np.abs(np.einsum("nkc,nc->nk", self._normals[near], normals)) > _LEAST_COSINE
        if outwards_mm <= reach_mm[1]:
            share *= np.exp(-0.5 * np.square(height / reach_mm[0]))
        total = share.sum(axis=1)
        parts = share / np.maximum(total, 1e-12)[:, None]
        color = np.einsum("nk,nkc->nc", parts, self.colors[near].astype(np.float64))
        weight = smoothstep(0.05, 0.6, total)
        point = places + np.einsum("nk,nk->n", parts, height)[:, None] * normals
        return Seen(color.astype(np.float32), weight.astype(np.float32), point.astype(np.float32))


def _rim(points: FloatArray, faces: IntArray) -> FloatArray:
    """Places (n, 3) along the open border of a mesh."""
    a, b = points[border_edges(faces)].transpose(1, 0, 2)
    places: FloatArray = np.concatenate([a + share * (b - a) for share in (0.0, 0.25, 0.5, 0.75)])
    return places
