"""A scan's colours as the picture of a skin, on the template's UVs: what was seen, and a marked guess of the rest.

    texel → its place on the registered template → the scan there ──seen──────────────► picture
    painted skin, in the scan's tone by smooth diffusion over the mesh ──not seen──────► picture
    the mirrored side, in this side's tone ──seen there only───────────────────────────► picture

`skin_guess.py` makes the guess.

Shape legend: S texels along a side, T texels on skin, V vertices, F faces.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial import cKDTree

from imhead.avatar.palette import SKINS, skin_named
from imhead.avatar.parts import Parts, groups_of_skin
from imhead.avatar.scan_colors import REACH_MM, ColoredScan
from imhead.avatar.scan_eyes import eyes_of_scan
from imhead.avatar.skin_guess import BARE_GROUPS, GUESSED, HAIR, MIRRORED, SEEN, at_vertices, filled
from imhead.avatar.skin_image import jpeg_bytes
from imhead.avatar.skin_paint import skin_picture
from imhead.conventions import srgb_to_linear
from imhead.errors import InputError
from imhead.surfaces.eyeballs import eyes_distance
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.pieces import border_edges
from imhead.template.projection import smoothstep
from imhead.template.texels import Texels, texels_of
from imhead.template.topology import LEFT_EYE, SKIN, Topology
from imhead.types import BoolArray, FloatArray, Scan, SkinImage, UvMap

__all__ = ["GUESSED", "HAIR", "HAIR_MM", "MIRRORED", "SEEN", "Baked", "Surface", "bake"]

HAIR_MM = 45.0
"""How far over the scalp hair is looked for."""
_EYE_MM = 0.6  # of the scan's surface from an eyeball, nearer than which it is no lid
_MARGIN_MM = 0.9  # rim of the lids that is painted
_BLEND_MM = 1.6  # over which what was seen gives way to a guess
_LEAST_SEEN = 0.02  # of the skin
_SURE = 0.9  # trust above which a colour counts as that of the skin, as a share of the largest
_AREAS = 64  # one of so many texels is enough for their usual size
_QUALITY = 93
_EAR_MM, _JAW_MM = 74.0, 20.0  # on the mean head: farther out is an ear, farther back the angle of the jaw
_TINT = np.array([0.5, 0.7])  # of log(red/green), log(green/blue): farther from the face's is no skin
_DARKEST, _LIGHTEST = -1.9, 1.2  # of log light


@dataclass(frozen=True, eq=False)
class Surface:
    """The template on a scan."""

    vertices: FloatArray
    """(V, 3) in the scan's pose and expression, head frame, mm."""
    eyes: FloatArray
    """(2, 5) eyeballs (surfaces/eyeballs.py)."""
    shown: BoolArray
    """(F,) faces of the skin that a scanner can see."""
    hairy: BoolArray
    """(V,) vertices under hair of the scan."""


@dataclass(frozen=True, eq=False)
class Baked:
    """The picture of a skin."""

    picture: NDArray[np.uint8]
    """(S, S, 3) sRGB, row 0 at v = 1."""
    mask: NDArray[np.uint8]
    """(S, S) where it comes from: `SEEN`, `HAIR`, `MIRRORED` or `GUESSED`."""
    tone: str
    """The nearest of the named skins."""
    eyes: str = ""
    """The nearest of the named colours of eyes, and the light on them, as `palette.eyes_text` writes them."""

    def image(self) -> SkinImage:
        """Encoded, as a head carries it."""
        mask = io.BytesIO()
        Image.fromarray(self.mask).save(mask, "PNG", compress_level=9)
        return SkinImage(jpeg_bytes(self.picture, _QUALITY), mask.getvalue(), self.tone, self.eyes)


def bake(
    scan: Scan, scan_to_head: FloatArray, surface: Surface, topology: Topology, parts: Parts, size: int = 2048
) -> Baked:
    """The scan's colours on the template's UVs.

    Args:
        scan: with colours.
        scan_to_head: (4, 4) its frame and units → head frame, mm.
        surface: the template registered on it.
        topology: of the template.
        parts: of an avatar, for what is painted.
        size: texels along a side, even.

    Raises:
        InputError: the scan has no colours, or hardly any on the skin.
    """
    if not scan.colored:
        raise InputError(f"{scan.name}: has no colours; scan it with a texture, or leave the skin painted")
    texels = texels_of(UvMap(topology.uv, topology.uv_faces), size)
    skin = np.flatnonzero(topology.part[topology.faces[texels.face, 0]] < LEFT_EYE)
    texels = texels.part(skin)
    colored = ColoredScan(scan, scan_to_head)
    color, weight, hair = _seen(colored, surface, topology, texels)
    area = _texel_areas(surface.vertices, topology, texels)
    weight = weight * _like_skin(color, weight * ~hair, texels, topology, parts)
    weight = _eroded(weight, texels, size, float(np.sqrt(np.median(area[::_AREAS]))))
    if (area * weight * ~hair).sum() < _LEAST_SEEN * area.sum():
        raise InputError(f"{scan.name}: its colours show hardly any skin; check its texture")
    bare = np.where(hair, 0.0, weight)
    own = np.median(color[bare > _SURE * min(1.0, float(bare.max()))], axis=0)
    tone = _nearest_tone(own)
    painted = skin_picture(topology, parts, skin_named(tone), 0, size).reshape(-1, 3)[texels.texel].astype(np.float32)
    picture, kind = filled(color, weight, hair, painted, surface.vertices, topology, parts, texels)
    eyes = eyes_of_scan(colored, surface.eyes, own)
    return Baked(*_whole(picture, kind, texels, size), tone, eyes)


def _seen(
    colored: ColoredScan, surface: Surface, topology: Topology, texels: Texels
) -> tuple[NDArray[np.float32], NDArray[np.float32], BoolArray]:
    """Colours (T, 3), trust (T,), and whether it is hair (T,)."""
    faces = topology.faces
    normals, _ = vertex_normals(surface.vertices, faces)
    color = np.zeros((len(texels.texel), 3), dtype=np.float32)
    weight = np.zeros(len(texels.texel), dtype=np.float32)
    hairy = surface.hairy[faces].any(axis=1) & (topology.part[faces] == SKIN).all(axis=1)
    hair = np.zeros(len(weight), dtype=bool)
    texel_mm = float(np.sqrt(np.median(_texel_areas(surface.vertices, topology, texels)[::_AREAS])))
    for rows, outwards in (
        (np.flatnonzero(surface.shown[texels.face]), REACH_MM[1]), (np.flatnonzero(hairy[texels.face]), HAIR_MM),
    ):  # fmt: skip
        rows = rows[weight[rows] < 0.5]
        if not len(rows):
            continue
        some = texels.part(rows)
        place = some.between(faces, surface.vertices).astype(np.float64)
        normal = some.between(faces, normals).astype(np.float64)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-12)
        found = colored.at(place, normal, REACH_MM, outwards, texel_mm)
        trust = found.weight.astype(np.float64)
        if outwards <= REACH_MM[1]:
            trust = (
                trust
                * ~_on_eyes(found.point, surface.eyes)
                * smoothstep(0.5 * _MARGIN_MM, _MARGIN_MM, _from_rims(place, surface.vertices, topology))
            )
        better = trust > weight[rows]
        color[rows[better]], weight[rows[better]] = found.color[better], trust[better]
        hair[rows[better]] = outwards > REACH_MM[1]
    return color, weight, hair


def _like_skin(
    color: FloatArray, weight: FloatArray, texels: Texels, topology: Topology, parts: Parts
) -> NDArray[np.float32]:
    """(T,) 0 where ears, neck or shoulders have the colours of clothes or of hair that hangs over them, else 1."""
    mean, known = at_vertices(color, weight, texels, topology)
    groups = groups_of_skin(parts)
    face = known & np.isin(groups, BARE_GROUPS)
    if not face.any():
        return np.ones(len(color), dtype=np.float32)
    light = np.log(srgb_to_linear(mean / 255.0) + 2e-3)
    tint = np.stack([light[:, 0] - light[:, 1], light[:, 1] - light[:, 2], light.mean(axis=1)], axis=1)
    off = tint - np.median(tint[face], axis=0)
    spread = np.median(np.abs(off[face]), axis=0) / 0.6745
    limit = np.maximum(_TINT, 3.0 * spread[:2])
    other = (np.abs(off[:, :2]) > limit).any(axis=1) | (off[:, 2] < _DARKEST) | (off[:, 2] > _LIGHTEST)
    can_be = _can_be_covered(parts, groups)
    other &= known & can_be
    skin = topology.faces[(topology.part[topology.faces] == SKIN).all(axis=1)]
    wide = other.copy()
    wide[skin[other[skin].any(axis=1)]] = True
    wide &= can_be
    return 1.0 - texels.between(topology.faces, wide[:, None].astype(np.float64))[:, 0]


def _can_be_covered(parts: Parts, groups: NDArray[np.str_]) -> BoolArray:
    """(V,) ears, the back of the jaw, neck and shoulders: where clothes or long hair may lie on the skin."""
    x, z = np.abs(parts.skin[:, 0]), parts.skin[:, 2]
    ears = np.isin(groups, ("left_ear", "right_ear")) & (x > _EAR_MM)
    return np.asarray(np.isin(groups, ("neck", "shoulder")) | ears | ((groups == "jaw") & (z < _JAW_MM)))


def _on_eyes(points: FloatArray, eyes: FloatArray) -> BoolArray:
    """(N,) bool: places of the scan on an eyeball."""
    return np.asarray(np.abs(eyes_distance(points.astype(np.float64), eyes)) < _EYE_MM)


def _from_rims(places: FloatArray, vertices: FloatArray, topology: Topology) -> FloatArray:
    """(N,) distance to the rims of the lids, mm: the open borders of the skin around the eyeballs."""
    skin = topology.faces[(topology.part[topology.faces] < LEFT_EYE).all(axis=1)]
    border = np.unique(border_edges(skin))
    balls = vertices[topology.part >= LEFT_EYE]
    near = border[cKDTree(balls).query(vertices[border])[0] < 6.0]
    if not len(near):
        return np.full(len(places), np.inf)
    return np.asarray(cKDTree(vertices[near]).query(places, distance_upper_bound=5.0)[0])


def _eroded(weight: FloatArray, texels: Texels, size: int, texel_mm: float) -> NDArray[np.float32]:
    """Trust that falls to 0 over some mm before the border of what was seen, so that a guess blends in."""
    sheet = np.ones((size, size), dtype=np.float32)  # beside the charts nothing ends
    sheet.reshape(-1)[texels.texel] = weight
    away = distance_transform_edt(sheet > 0.3) * texel_mm
    soft = gaussian_filter(sheet, 1.0) * np.clip(away / _BLEND_MM, 0.0, 1.0)
    return np.minimum(soft.reshape(-1)[texels.texel], 1.0).astype(np.float32)


def _texel_areas(vertices: FloatArray, topology: Topology, texels: Texels) -> FloatArray:
    """(T,) mm² of surface under each texel."""
    a, b, c = (vertices[topology.faces[:, k]] for k in range(3))
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    p, q, r = (topology.uv[topology.uv_faces[:, k]] for k in range(3))
    flat = 0.5 * np.abs((q - p)[:, 0] * (r - p)[:, 1] - (q - p)[:, 1] * (r - p)[:, 0]) * texels.size**2
    found: FloatArray = (area / np.maximum(flat, 1e-9))[texels.face]
    return found


def _nearest_tone(color: FloatArray) -> str:
    """The named skin that is nearest to a colour (3,)."""
    return min(SKINS, key=lambda name: float(np.linalg.norm(np.array(SKINS[name].skin) - color)))


def _whole(
    color: FloatArray, kind: NDArray[np.uint8], texels: Texels, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Picture (S, S, 3) and mask (S, S); beside the charts the colours of their rims go on, so that no seam shows."""
    inside = np.zeros(size * size, dtype=bool)
    inside[texels.texel] = True
    picture, mask = np.zeros((size * size, 3), dtype=np.uint8), np.zeros(size * size, dtype=np.uint8)
    picture[texels.texel], mask[texels.texel] = np.round(color).astype(np.uint8), kind
    nearest = distance_transform_edt(~inside.reshape(size, size), return_distances=False, return_indices=True)
    return picture.reshape(size, size, 3)[tuple(nearest)], mask.reshape(size, size)
