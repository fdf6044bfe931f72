"""The template's lids: smooth along their margins, on the eyeballs, and shut where a blink shuts them.

The field does not show the margin of a lid, so the codes place it, each vertex by itself; and each vertex has its own
clearance to the eyeball. Seen close, both leave a ragged line. Here the lids are a smooth displacement of the mean
head's lids in the same expression, read from the skin around them.

Shape legend: V template vertices, n of them near an eye.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra

from imhead.regions import CENTERS_MM, RADII_MM, REGIONS
from imhead.surfaces.crossings import edges_of
from imhead.surfaces.eyeballs import eye_centers, eyes_distance, near_eyes
from imhead.template.projection import smoothstep
from imhead.types import BoolArray, FloatArray, IntArray

OnEyes = Callable[[FloatArray], FloatArray]
"""Vertices (V, 3) → the same with every lid vertex at its clearance from the eyeballs."""

SHUT = 0.9
"""Weight of a blink from which on the eye is shut."""
_NEAR_MM = 10.0  # distance from the eyeballs of the vertices that are read
_FADE_MM = (6.0, 2.0)  # over which the smooth displacement takes over
_SKIN_REACH_MM, _EVEN_REACH_MM = 6.0, 3.0  # radii along the surface of what a vertex is averaged with
_LOOSE_SHARE = 0.1  # weight of a vertex that no projection places, beside the skin's 1
_TILT = 0.3  # over the mean weight: damps the slope of a vertex whose neighbours lie in a row, per mm²
_TURNS = 6  # of smoothing and clearance
_MARGIN_MM = 1.0  # distance from the eyeball of a lid's skin near the margin
_AZIMUTHS = np.linspace(-1.3, 1.3, 131)  # columns of an eye, radians
_COLUMN, _COLUMN_REACH = 0.06, 0.2  # width over which the gap between the lids is averaged, and where that ends
_GROUP_REACH = 1.1  # radii within which a group of regions may move a vertex, on any head
_STILL = 0.02  # share of the blink's longest way below which skin stays
_LEAST_WAY = 0.15  # of the margin, towards the corners, beside its longest


@dataclass(frozen=True, eq=False)
class Blink:
    """What shuts one eye. Lids are seen from the eyeball's centre, in C columns of azimuth."""

    upper: IntArray
    """(u, 2) edges of the upper lid near its margin."""
    lower: IntArray
    """(l, 2) of the lower lid."""
    offsets: FloatArray
    """(V, 3) the blink's shape, mm."""
    rows: IntArray
    """(r,) vertices that turn down about the eyeball."""
    share: FloatArray
    """(r,) of the way of the margin below them."""

    @classmethod
    def of(cls, mean: FloatArray, edges: IntArray, skin: IntArray, offsets: FloatArray, eye: FloatArray) -> Blink:
        """The blink of one eye.

        Args:
            mean: (V, 3) vertices of the mean head, mm.
            edges: (e, 2) of both lids near their margins.
            skin: (s,) vertices of the skin on its side.
            offsets: (V, 3) as above.
            eye: (4,) its centre and radius.
        """
        ends = np.unique(edges)
        azimuth, height = _angles(mean - eye[:3])
        corners = ends[[azimuth[ends].argmin(), azimuth[ends].argmax()]] if len(ends) else skin[:1]
        above = height > np.interp(azimuth, azimuth[corners], height[corners])
        upper, lower = edges[above[edges].all(axis=1)], edges[~above[edges].any(axis=1)]
        if not (len(upper) and len(lower)):  # a mesh without lids
            return cls(upper, lower, offsets, skin[:0], np.zeros(0))
        way = np.maximum(-offsets[:, 1], 0.0)
        way = way / max(float(way[ends].max()), 1e-6)
        of_margin = np.nan_to_num(_margin(azimuth, height, upper, -1.0, way))
        share = np.minimum(way[skin] / np.maximum(np.interp(azimuth[skin], _AZIMUTHS, of_margin), _LEAST_WAY), 1.0)
        share *= smoothstep(_STILL, 2.0 * _STILL, way[skin])
        share *= np.linalg.norm(mean[skin] - eye[:3], axis=1) < 2.0 * eye[3]
        moving = share > 0.0
        return cls(upper, lower, offsets, skin[moving], share[moving])

    def closed(self, vertices: FloatArray, weight: float, center: FloatArray) -> FloatArray:
        """Vertices (V, 3), mm, with the upper lid turned until the gap is as wide as the blink leaves it.

        That is half the open eye's at half of `SHUT`, and nothing from `SHUT` on.
        """
        if weight < _STILL or not len(self.rows):
            return vertices
        azimuth, height = _angles(vertices[self.rows] - center)
        wanted = max(1.0 - weight / SHUT, 0.0) * self._gap(vertices - weight * self.offsets, center)
        turn = self.share * np.interp(azimuth, _AZIMUTHS, _averaged(wanted - self._gap(vertices, center)))
        moved = vertices.copy()
        length = np.hypot(*(vertices[self.rows, 1:] - center[1:]).T)
        moved[self.rows, 1] = center[1] + length * np.sin(height + turn)
        moved[self.rows, 2] = center[2] + length * np.cos(height + turn)
        return moved

    def _gap(self, vertices: FloatArray, center: FloatArray) -> FloatArray:
        """Angle (C,) between the margins in each column, radians; 0 beyond the corners."""
        azimuth, height = _angles(vertices - center)
        upper = _margin(azimuth, height, self.upper, -1.0, height)
        lower = _margin(azimuth, height, self.lower, 1.0, height)
        return np.nan_to_num(upper - lower)


@dataclass(frozen=True, eq=False)
class LidMargins:
    """The lids of a template."""

    near: IntArray
    """(n,) vertices."""
    share: FloatArray
    """(n, 1) of the smooth displacement, 1 at the margins."""
    from_skin: csr_array
    """(n, n) displacements → smooth ones, read from the skin that the projection places."""
    evenly: csr_array
    """(n, n) the same over fewer vertices, all of the same weight."""
    blinks: tuple[Blink, Blink]
    """Left and right."""

    @property
    def rows(self) -> IntArray:
        """Every vertex that `faired` may move."""
        return np.unique(np.concatenate([self.near, *(blink.rows for blink in self.blinks)]))

    @classmethod
    def of(
        cls, mean: FloatArray, faces: IntArray, projected: FloatArray, blinks: FloatArray, eyes: FloatArray
    ) -> LidMargins:
        """The lids of a template.

        Args:
            mean: (V, 3) vertices of the mean head, mm.
            faces: (F, 3) of the skin.
            projected: (V,) share of its way to the zero set that the projection takes a vertex.
            blinks: (2, V, 3) shapes of the left and the right blink, mm.
            eyes: (2, 5) eyeballs of the mean head.
        """
        skin = np.unique(faces)
        away = np.full(len(mean), np.inf)
        rows = skin[near_eyes(mean[skin], eyes, _NEAR_MM)]
        away[rows] = eyes_distance(mean[rows], eyes)
        near = np.flatnonzero(away < _NEAR_MM)
        paths = _paths(mean, faces, near)
        share = smoothstep(*_FADE_MM, away[near])
        weight = np.maximum(projected[near], _LOOSE_SHARE)
        from_skin = _local_planes(mean[near], paths, weight, share > 0.0, _SKIN_REACH_MM)
        evenly = _local_planes(mean[near], paths, np.ones(len(near)), share > 0.0, _EVEN_REACH_MM)
        edges = edges_of(faces)
        edges = edges[(away[edges] < _MARGIN_MM).all(axis=1)]
        left, right = (
            Blink.of(
                mean, edges[(flip * mean[edges, 0] > 0.0).all(axis=1)], skin[flip * mean[skin, 0] > 0.0], shape, eye
            )
            for flip, shape, eye in zip((1.0, -1.0), blinks, np.c_[eye_centers(eyes), eyes[:, 3]])
        )
        return cls(near, share[:, None], from_skin, evenly, (left, right))

    def faired(
        self, vertices: FloatArray, reference: FloatArray, weights: FloatArray, centers: FloatArray, on_eyes: OnEyes
    ) -> FloatArray:
        """Vertices (V, 3) of a head, its lids smooth, at their clearance from the eyeballs and as shut as they blink.

        Args:
            reference: (V, 3) the mean head in the same expression, mm.
            weights: (2,) of the left and the right blink.
            centers: (2, 3) of the eyeballs.
            on_eyes: moves lids to their clearance.
        """
        smooth = self.smoothed(vertices.astype(np.float64), reference, self.from_skin)
        for blink, weight, center in zip(self.blinks, weights, centers):
            closed = blink.closed(smooth, float(weight), center)
            smooth, reference = closed, reference + (closed - smooth)
        for _ in range(_TURNS):
            smooth = self.smoothed(on_eyes(smooth), reference, self.evenly)
        return on_eyes(smooth)

    def smoothed(self, vertices: FloatArray, reference: FloatArray, average: csr_array) -> FloatArray:
        """Vertices (V, 3) whose displacement from a reference (V, 3) is averaged by `from_skin` or `evenly`."""
        displacement = vertices[self.near] - reference[self.near]
        moved = vertices.copy()
        moved[self.near] += self.share * (average @ displacement - displacement)
        return moved


def _paths(mean: FloatArray, faces: IntArray, near: IntArray) -> FloatArray:
    """(n, n) lengths of the shortest paths from vertices near the eyes to those they may read, mm; others infinite."""
    rows = np.full(len(mean), -1)
    rows[near] = np.arange(len(near))
    edges = rows[edges_of(faces)]
    edges = edges[(edges >= 0).all(axis=1)]
    length = np.linalg.norm(mean[near[edges[:, 0]]] - mean[near[edges[:, 1]]], axis=1)
    graph = coo_array((length, edges.T), shape=(len(near), len(near))).tocsr()
    paths: FloatArray = dijkstra(graph, directed=False, limit=_SKIN_REACH_MM)
    # a vertex that a group cannot move is not averaged with one that it can: an edit of the nose ends where it ended
    for group in {region.group for region in REGIONS}:
        of_group = [region.index for region in REGIONS if region.group == group]
        away = np.linalg.norm(mean[near][:, None] - CENTERS_MM[of_group], axis=2)
        held = (away < _GROUP_REACH * RADII_MM[of_group]).any(axis=1)
        paths[np.ix_(~held, held)] = np.inf
    return paths


def _local_planes(
    places: FloatArray, paths: FloatArray, weight: FloatArray, chosen: BoolArray, reach_mm: float
) -> csr_array:
    """(n, n) values at places → those of the weighted least-squares plane through the values within reach.

    Values at places that are not `chosen` (n,) stay.
    """
    averages = np.eye(len(places))
    for row in np.flatnonzero(chosen):
        near = np.flatnonzero(paths[row] < reach_mm)
        kernel = weight[near] * np.square(1.0 - np.square(paths[row, near] / reach_mm))
        design = np.column_stack([np.ones(len(near)), places[near] - places[row]])
        normal = design.T @ (kernel[:, None] * design)
        normal[1:, 1:] += _TILT * kernel.sum() * np.eye(3)
        averages[row] = 0.0
        averages[row, near] = np.linalg.solve(normal, design.T * kernel)[0]
    return csr_array(averages)


def _angles(away: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Azimuth and height (N,), radians, of vectors (N, 3) from an eye's centre."""
    return np.arctan2(away[:, 0], away[:, 2]), np.arctan2(away[:, 1], away[:, 2])


def _margin(azimuth: FloatArray, height: FloatArray, edges: IntArray, side: float, values: FloatArray) -> FloatArray:
    """(C,) values (V,) at the end of a lid with edges (e, 2), below (side -1) or above (1), in each column, or NaN."""
    first, last = azimuth[edges].T
    along = (_AZIMUTHS[:, None] - first) / np.where(first == last, 1.0, last - first)
    crossed = (along >= 0.0) & (along <= 1.0) & (first != last)
    at = side * (height[edges[:, 0]] + along * (height[edges[:, 1]] - height[edges[:, 0]]))
    outermost = np.where(crossed, at, -np.inf).argmax(axis=1)
    one, other = values[edges[outermost]].T
    there = along[np.arange(len(_AZIMUTHS)), outermost]
    found: FloatArray = np.where(crossed.any(axis=1), one + there * (other - one), np.nan)
    return found


def _averaged(values: FloatArray) -> FloatArray:
    """Values (C,) of the columns, averaged over neighbouring ones."""
    away = np.abs(_AZIMUTHS[:, None] - _AZIMUTHS)
    weight = np.exp(-0.5 * np.square(away / _COLUMN)) * (away < _COLUMN_REACH)
    mean: FloatArray = (weight @ values) / weight.sum(axis=1)
    return mean
