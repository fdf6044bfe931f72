"""Hair is told from skin, so that a beard does not become a chin.

A scanner sees hair as a rough surface outside the skin. Where hair can grow, the distances of the scan to the fitted
head scatter more from a smooth patch than they do on the bare skin of the same scan; so a noisy scan is no hair. Both
sides of a face are taken together. A patch of hair is left out of the fit, and then has to lie outside the head; hair
over the ears has to lie far outside from the start.

Shape legend: S samples of the scan, N points, V vertices of the template's skin, k neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from imhead.checkpoint import Model
from imhead.fitting.objective import Codes
from imhead.isosurface.field import HeadField
from imhead.model.fusion import wendland
from imhead.regions import CENTERS_MM, RADII_MM, REGION_COUNT, REGIONS
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.properties import vertex_areas
from imhead.surfaces.transforms import transform_directions, transform_points
from imhead.template.surface import TemplateSurface, has_template, posed_blend, template_of
from imhead.template.topology import SKIN
from imhead.types import BoolArray, FloatArray, Head, IntArray, Mesh

SeenRows = Callable[[IntArray], BoolArray]
"""Rows (n,) of samples → (n,) whether each is seen from outside."""

_MOST_SAMPLES = 20_000
_NEIGHBOURS = 24
_WIDEST_PATCH_MM = 10.0  # a sparser scan does not show roughness
_REACH_MM = 40.0
_INNER_MM = 4.0  # samples this far under the outermost one beside them lie on an inner wall
_DEEP_MM = 8.0
_ABOVE_MM = 2.0
_BESIDE_MM = 7.0  # samples nearer than this on the mean head lie at the same place
_ROUGH = (1.8, 2.2)  # roughness over that of bare skin: of a sample of hair, and of some samples of each patch of it
_LEAST_ROUGH_MM = 0.12
_SURE_SHARE = 0.25  # of a patch
_OTHER_SIDE = 0.3  # weight of the mirrored place
_SCALP_SHARE = 0.1  # of a patch of hair that is mostly over an ear
_OTHER_SHARE = 0.2  # of hair around the mirrored place of a beard
_THICK_MM = 5.0
_OUTSIDE_MM = 1.2  # median of a patch over the head that was fitted without it
_LEAST_SHOWN_CM2 = 0.5
_LEAST_NAMED_CM2 = 2.0
_LEAST_AREA_CM2 = 4.0  # of a patch
_BARE, _BEARD, _SCALP, _UNDER_HANGING = 1, 2, 3, 4


@dataclass(frozen=True, eq=False)
class Hair:
    """Where a scan shows hair."""

    samples: FloatArray
    """(S, 3) samples of the scan's outside, in the frame in which they were given."""
    patch: IntArray
    """(S,) number of the connected patch of hair on which each lies, from 1; 0 on skin."""
    region: IntArray
    """(S,) row of the region of each."""
    area_cm2: FloatArray
    """(S,) its share of the head's skin, where that is under hair."""

    @staticmethod
    def none() -> Hair:
        """No hair."""
        return Hair(np.zeros((0, 3)), np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0))

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.samples)

    def covers(self, points: FloatArray) -> BoolArray:
        """(N,) bool: points (N, 3) of the same scan, in the frame of the samples, that lie on hair."""
        if not self.patch.any():
            return np.zeros(len(points), dtype=bool)
        distance, nearest = self._tree.query(points, distance_upper_bound=_WIDEST_PATCH_MM)
        found: BoolArray = np.isfinite(distance) & (self.patch[np.minimum(nearest, len(self.samples) - 1)] > 0)
        return found

    def confirmed(self, model: Model, codes: Codes, motion: FloatArray) -> Hair:
        """The patches that lie outside a head that was fitted without them; the others are rough skin.

        Args:
            model: of the head.
            codes: of the head.
            motion: (4, 4) rigid, moves the samples into the head frame.
        """
        hair = np.flatnonzero(self.patch)
        if not len(hair):
            return self
        height = _skin_distance(model, codes, transform_points(motion, self.samples[hair]))
        patches = np.unique(self.patch[hair])
        thick = [k for k in patches if np.median(height[self.patch[hair] == k]) > _OUTSIDE_MM]
        if len(thick) == len(patches):
            return self
        return replace(self, patch=np.where(np.isin(self.patch, thick), self.patch, 0))

    def report(self) -> list[dict[str, str | float]]:
        """Region and area, cm², of the skin under hair, the largest first."""
        hair = self.patch > 0
        area = np.bincount(self.region[hair], self.area_cm2[hair], minlength=REGION_COUNT)
        shown = [k for k in np.argsort(-area) if area[k] >= _LEAST_SHOWN_CM2]
        return [{"region": REGIONS[k].name, "area_cm2": round(float(area[k]), 1)} for k in shown]

    def warnings(self) -> tuple[str, ...]:
        """One sentence on what the fit did not see; none without hair."""
        hair = self.patch > 0
        if not hair.any():
            return ()
        area = np.bincount(self.region[hair], self.area_cm2[hair], minlength=REGION_COUNT)
        by_name: dict[str, float] = {}
        for region in REGIONS:
            name = region.group.removeprefix("left_").removeprefix("right_")
            by_name[name] = by_name.get(name, 0.0) + float(area[region.index])
        ranked = sorted(by_name, key=lambda name: -by_name[name])
        shown = [name for name in ranked if by_name[name] >= max(_LEAST_NAMED_CM2, 0.03 * area.sum())] or ranked[:1]
        places = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
        return (f"hair was left out at {places}, {area.sum():.0f} cm²; the surface there is a guess",)


@dataclass(frozen=True, eq=False)
class _SkinPlaces:
    """What is known of the template's skin before any fit."""

    vertices: IntArray
    """(V,) rows of the template's vertices."""
    kind: IntArray
    """(V,) `_BARE` skin to compare with, skin that bears `_BEARD` or `_SCALP`, ears `_UNDER_HANGING` hair, or 0."""
    region: IntArray
    """(V,) the region with the most influence."""


def find_hair(
    model: Model,
    samples: FloatArray,
    directions: FloatArray | None,
    seen: SeenRows | None,
    codes: Codes,
    motion: FloatArray,
) -> Hair:
    """Where a scan shows hair; none for a model without template.

    Args:
        model: of the head.
        samples: (S, 3) points of the scan in random order, mm.
        directions: (S, 3) normals there, of any length, all outwards or all inwards; None for a scan without.
        seen: whether samples are seen from outside the scan; None for a scan without faces.
        codes: of the head as far as it is fitted.
        motion: (4, 4) rigid, moves samples into the head frame.
    """
    if not has_template(model):
        return Hair.none()
    template = template_of(model)
    skin = _skin_places(template)
    posed, normals = _posed(template, model, codes)
    placed = transform_points(motion, samples)
    away, nearest = cKDTree(posed[skin.vertices]).query(placed, distance_upper_bound=_REACH_MM)
    near = np.flatnonzero(np.isfinite(away))
    # lips, eyes and nostrils are rough too: they say nothing of the skin beside them
    judged = skin.kind[nearest[near]] > 0
    rows = near[judged][:_MOST_SAMPLES]
    if len(rows) <= _NEIGHBOURS:
        return Hair.none()
    normal = normals[skin.vertices[nearest[rows]]]
    height = _skin_distance(model, codes, placed[rows])
    kept = outermost(template.mean[skin.vertices[nearest[rows]]], height)
    if directions is not None:
        cosine = (transform_directions(motion, directions[rows]) * normal).sum(axis=1)
        # of an inside-out scan all point inwards; the majority decides on the sign
        kept &= (-cosine if cosine.sum() < 0 else cosine) > 0.0
    # two walls of a mesh are as rough as hair; only what is seen counts
    for more in (True, True, False):
        of = rows[kept]
        patch = _patches(template, skin, nearest[of], placed[of], normal[kept], height[kept])
        hair = np.flatnonzero(kept)[patch > 0]
        hidden = hair[:0] if seen is None or not more else hair[~seen(rows[hair])]
        if not len(hidden):
            break
        kept[hidden] = False
    area = _hidden_area(Mesh(posed, template.faces), skin, nearest[of], patch > 0)
    total = np.bincount(patch, area, minlength=1)
    patch = np.where(total[patch] > _LEAST_AREA_CM2, patch, 0)
    bare = near[~judged]
    none = np.zeros(len(bare), dtype=np.int64)
    every = np.concatenate([of, bare])
    return Hair(
        samples[every], np.concatenate([patch, none]), skin.region[nearest[every]], np.concatenate([area, none])
    )


def _patches(
    template: TemplateSurface,
    skin: _SkinPlaces,
    place: IntArray,
    points: FloatArray,
    normals: FloatArray,
    height: FloatArray,
) -> IntArray:
    """(S,) number, from 1, of the patch of hair on which each sample lies; 0 on skin.

    Args:
        template: of the model.
        skin: of the template.
        place: (S,) row of the skin's vertex nearest to each sample.
        points: (S, 3) samples in the head frame, mm.
        normals: (S, 3) unit normals of the head there.
        height: (S,) signed distance of each to the head, mm.
    """
    kind = skin.kind[place]
    bare = (kind == _BARE) & (np.abs(height) < _INNER_MM)
    if len(points) <= _NEIGHBOURS or not bare.any():
        return np.zeros(len(points), dtype=np.int64)
    distance, neighbours = cKDTree(points).query(points, k=_NEIGHBOURS)
    rough = np.median(patch_roughness(points, normals, height, neighbours)[neighbours], axis=1)
    ratio = rough / max(float(np.median(rough[bare])), _LEAST_ROUGH_MM / _ROUGH[0])
    mean = template.mean[skin.vertices[place]]
    ratio = both_sides(mean, ratio)
    far = np.median(height[neighbours], axis=1) > _THICK_MM
    thick_scalp = (kind == _SCALP) & far
    bearing = (kind == _BEARD) | (kind == _SCALP) | (kind == _UNDER_HANGING) & far
    likely = bearing & (ratio > _ROUGH[0]) & (distance[:, -1] < _WIDEST_PATCH_MM) | thick_scalp
    # a sample among hair is hair
    likely = bearing & (likely[neighbours].mean(axis=1) > 0.5)
    patch = _sure_patches(likely, (ratio > _ROUGH[1]) | thick_scalp, neighbours)
    # hair over an ear hangs from the scalp
    size = np.maximum(np.bincount(patch), 1)
    ear, scalp = (np.bincount(patch[kind == k], minlength=len(size)) / size for k in (_UNDER_HANGING, _SCALP))
    patch = np.where(((ear > 0.5) & (scalp < _SCALP_SHARE))[patch], 0, patch)
    return np.where((kind != _BEARD) | _on_both_sides(mean, patch > 0), patch, 0)


def outermost(mean_mm: FloatArray, height: FloatArray) -> BoolArray:
    """(N,) bool: points that do not lie inside the head and 4 mm or more under another one at the same place.

    Args:
        mean_mm: (N, 3) places on the mean head.
        height: (N,) signed distances to the head, mm.
    """
    place = np.unique(np.floor(mean_mm / _BESIDE_MM).astype(np.int64), axis=0, return_inverse=True)[1].reshape(-1)
    highest = np.full(place.max(initial=0) + 1, -np.inf)
    np.maximum.at(highest, place, height)
    outer: BoolArray = (height > highest[place] - _INNER_MM) & (height > -_DEEP_MM) | (height > _ABOVE_MM)
    return outer


def patch_roughness(points: FloatArray, normals: FloatArray, height: FloatArray, neighbours: IntArray) -> FloatArray:
    """(N,) standard deviation of the heights (N,) around each point from a quadratic patch through its neighbours.

    Args:
        points: (N, 3).
        normals: (N, 3) unit, roughly those of the surface.
        neighbours: (N, k) rows of the points around each, at least seven.
    """
    across = np.cross(normals, np.eye(3)[np.abs(normals).argmin(axis=1)])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    along = np.cross(normals, across)
    away = points[neighbours] - points[:, None]
    size = np.maximum(np.linalg.norm(away, axis=2).max(axis=1), 1e-9)[:, None]
    u, v = (np.einsum("nkc,nc->nk", away, axis) / size for axis in (across, along))
    basis = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1)
    values = height[neighbours] - height[neighbours].mean(axis=1, keepdims=True)
    normal = np.einsum("nki,nkj->nij", basis, basis)
    normal[:, range(6), range(6)] += 1e-6
    factors = np.linalg.solve(normal, np.einsum("nki,nk->ni", basis, values)[..., None])[..., 0]
    left = values - np.einsum("nki,ni->nk", basis, factors)
    rough: FloatArray = np.sqrt((left**2).sum(axis=1) / (neighbours.shape[1] - 6))
    return rough


def both_sides(mean_mm: FloatArray, ratio: FloatArray) -> FloatArray:
    """Roughness (N,) of both sides together, a weighted geometric mean: hair on one makes it likelier on the other.

    A side that is not seen counts as bare: a view of one side has to show more.

    Args:
        mean_mm: (N, 3) places on the mean head.
        ratio: (N,) roughness there, over that of bare skin.
    """
    distance, other = cKDTree(mean_mm).query(mean_mm * [-1.0, 1.0, 1.0])
    mirrored = np.where(distance < _BESIDE_MM, np.maximum(ratio[other], 1e-6), 1.0)
    joined: FloatArray = np.maximum(ratio, 1e-6) ** (1.0 - _OTHER_SIDE) * mirrored**_OTHER_SIDE
    return joined


def _sure_patches(likely: BoolArray, sure: BoolArray, neighbours: IntArray) -> IntArray:
    """(N,) number, from 1, of the connected patch of likely samples on which each lies; 0 where too few are sure."""
    count, k = neighbours.shape
    start, end = np.repeat(np.arange(count), k), neighbours.reshape(-1)
    joined = likely[start] & likely[end]
    graph = coo_matrix((np.ones(joined.sum()), (start[joined], end[joined])), shape=(count, count))
    patch = connected_components(graph, directed=False)[1]
    size = np.maximum(np.bincount(patch[likely], minlength=patch.max() + 1), 1)
    share = np.bincount(patch[likely & sure], minlength=patch.max() + 1) / size
    kept = likely & (share[patch] > _SURE_SHARE)
    return np.where(kept, patch + 1, 0)


def _on_both_sides(mean_mm: FloatArray, hair: BoolArray) -> BoolArray:
    """(N,) bool: whether the mirrored place, if it is seen, lies on hair, or in its neighbourhood."""
    tree = cKDTree(mean_mm)
    distance, others = tree.query(mean_mm * [-1.0, 1.0, 1.0], k=_NEIGHBOURS)
    found: BoolArray = (distance[:, 0] > _BESIDE_MM) | (hair[others].mean(axis=1) > _OTHER_SHARE)
    return found


def _hidden_area(head: Mesh, skin: _SkinPlaces, place: IntArray, hair: BoolArray) -> FloatArray:
    """(S,) area of the skin, cm², under each sample of hair; 0 under the others.

    Args:
        place: (S,) row of the skin's vertex nearest to each sample.
        hair: (S,) which samples are hair.
    """
    vertices = head.vertices[skin.vertices]
    samples = np.bincount(place, minlength=len(vertices))
    seen = np.flatnonzero(samples)
    distance, nearest = cKDTree(vertices[seen]).query(vertices)
    near = (distance < _BESIDE_MM) & (skin.kind > _BARE)
    area = vertex_areas(head)[skin.vertices] / 100.0
    shown = np.bincount(seen[nearest[near]], area[near], minlength=len(vertices))
    each: FloatArray = np.where(hair, shown[place] / samples[place], 0.0)
    return each


def _skin_distance(model: Model, codes: Codes, points: FloatArray) -> FloatArray:
    """(N,) signed distance of head-frame points (N, 3) to the skin of a head, mm."""
    with torch.no_grad():
        z_exp = model.net.warp.code(codes.weights[None])[0].cpu().numpy()
    head = Head(model.name, model.hash, codes.z_id.cpu().numpy(), z_exp, codes.offsets.cpu().numpy())
    return HeadField(model, head).skin_sdf(points).astype(np.float64)


def _posed(template: TemplateSurface, model: Model, codes: Codes) -> tuple[FloatArray, FloatArray]:
    """The template's vertices (V, 3) on a head, mm, and their unit normals (V, 3)."""
    with torch.no_grad():
        z = (model.net.decnet(codes.z_id[None])[0] + codes.offsets).cpu().numpy()
    vertices = posed_blend(template, model, z, codes.weights.double().cpu().numpy())
    return vertices, vertex_normals(vertices, template.faces)[0]


@lru_cache(maxsize=4)
def _skin_places(template: TemplateSurface) -> _SkinPlaces:
    vertices = np.flatnonzero((template.part == SKIN) & (template.on_surface > 0.5))
    mean = template.mean[vertices]
    distance = np.linalg.norm(mean[:, None] - CENTERS_MM, axis=2) / RADII_MM
    region = wendland(torch.from_numpy(distance)).numpy().argmax(axis=1)
    return _SkinPlaces(vertices, _kinds(mean), region)


def _kinds(mean: FloatArray) -> IntArray:
    """(V,) what places (V, 3) of the mean head, mm, are to hair."""
    x, y, z = np.abs(mean[:, 0]), mean[:, 1], mean[:, 2]
    line = 20.0 - 0.65 * (z - 10.0)  # upper edge of a beard, from the sideburns to the corners of the mouth
    before_ear = np.where(y > -35.0, 16.0, 8.0)
    lips = ((x / 27.0) ** 1.6 + (np.abs(y + 40.3) / 11.0) ** 1.6 < 1.0) & (z > 75.0)
    upper_lip = (x < 30.0) & (y > -42.0) & (y < -20.0) & (z > 84.0)
    beard = (y < line) & (y > -95.0) & (z > before_ear) & (x < 85.0) | upper_lip
    ear = (x > 66.0) & (z < 6.0) & (z > -36.0) & (y > -30.0) & (y < 38.0)
    scalp = (y > 95.0) | ((z < 35.0) & (y > 45.0)) | ((z < -36.0) & (y > -40.0))
    forehead = (y > 60.0) & (y < 95.0) & (z > 35.0)
    cheeks = (x > 24.0) & (x < 62.0) & (y < 14.0) & (y > line + 8.0) & (z > 50.0)
    bridge = (x < 8.0) & (y > 5.0) & (y < 30.0) & (z > 90.0)
    kind = np.zeros(len(mean), dtype=np.int64)
    kind[ear] = _UNDER_HANGING
    kind[scalp] = _SCALP
    kind[beard & ~lips] = _BEARD
    kind[forehead | cheeks | bridge] = _BARE
    return kind
