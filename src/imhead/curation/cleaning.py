"""Cleaning: points of a raw scan that are no surface are masked. The file itself stays as it is.

Shape legend: N points, F faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from imhead.curation.config import CleaningConfig
from imhead.errors import InputError
from imhead.surfaces.normals import plane_normals
from imhead.surfaces.properties import face_cross
from imhead.types import BoolArray, FloatArray, IntArray, Scan

_NEIGHBOURS = 12
_LEAST_POINTS = 100


@dataclass(frozen=True, eq=False)
class Cleaning:
    """What of a scan was masked."""

    stray: BoolArray
    """(N,) points of stray pieces, or of no face of a mesh."""
    spikes: BoolArray
    """(N,) points far above their neighbours."""
    torn: BoolArray
    """(F,) faces that bridge what is apart; no faces of a cloud."""

    @property
    def masked(self) -> BoolArray:
        """(N,) points that are left out."""
        return self.stray | self.spikes

    def report(self) -> dict[str, int]:
        """Counts."""
        return {"stray": int(self.stray.sum()), "spikes": int(self.spikes.sum()), "torn_faces": int(self.torn.sum())}


def cleaned(scan: Scan, config: CleaningConfig = CleaningConfig()) -> tuple[Scan, Cleaning]:
    """The scan without what is no surface, in its order, and what was masked.

    Raises:
        InputError: hardly a point is left.
    """
    found = find_dirt(scan, config)
    kept = ~found.masked
    if int(kept.sum()) < _LEAST_POINTS:
        raise InputError(f"{scan.name}: {int(kept.sum())} points are left after cleaning; there is no surface to fit")
    faces = None
    if scan.faces is not None:
        faces = scan.faces[~found.torn]
        faces = (np.cumsum(kept) - 1)[faces[kept[faces].all(axis=1)]]
        if not len(faces):
            raise InputError(f"{scan.name}: no face is left after cleaning; there is no surface to fit")
    normals = None if scan.normals is None else scan.normals[kept]
    # colours are left behind: no fit looks at them
    return Scan(scan.name, scan.points[kept], normals, faces, scan.warnings), found


def find_dirt(scan: Scan, config: CleaningConfig = CleaningConfig()) -> Cleaning:
    """What of a scan is no surface."""
    torn = np.zeros(0, dtype=bool) if scan.faces is None else _torn(scan.points, scan.faces, config)
    spikes = _spikes(scan.points, config)
    if scan.faces is not None:
        used = scan.faces[~torn & ~spikes[scan.faces].any(axis=1)]
        pairs = used[:, [0, 1, 1, 2]].reshape(-1, 2)
    else:
        pairs = _near_pairs(scan.points, config)
    return Cleaning(_stray(pairs, len(scan.points), config.piece_share) & ~spikes, spikes, torn)


def _torn(points: FloatArray, faces: IntArray, config: CleaningConfig) -> BoolArray:
    corners = points[faces]
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    area = 0.5 * np.linalg.norm(face_cross(points, faces), axis=1)
    mean = float(edges.mean())
    torn: BoolArray = (edges.max(axis=1) > config.stretch * mean) | (area > config.stretch * mean**2)
    # the area of a torn face is that of a gap, so it counts as a usual face at most
    share = float(np.minimum(area, mean**2)[torn].sum() / max(np.minimum(area, mean**2).sum(), 1e-300))
    return torn if share < config.stretched_share else np.zeros(len(faces), dtype=bool)


def _spikes(points: FloatArray, config: CleaningConfig) -> BoolArray:
    if len(points) <= _NEIGHBOURS + 1:
        return np.zeros(len(points), dtype=bool)
    centred = points - points.mean(axis=0)
    distance, near = cKDTree(centred).query(centred, k=_NEIGHBOURS + 1)
    normals = plane_normals(centred, _NEIGHBOURS + 1)
    # a spike tilts its own plane, so its neighbours' planes judge it; the median of them does not follow one
    away = centred[:, None] - centred[near[:, 1:]]
    height = np.median(np.abs(np.einsum("nkc,nkc->nk", away, normals[near[:, 1:]])), axis=1)
    spacing = float(np.median(distance[:, 1]))
    sigma = 1.4826 * float(np.median(height))
    found: BoolArray = (height > config.spike * sigma) & (height > config.spike_spacing * spacing)
    return found


def _near_pairs(points: FloatArray, config: CleaningConfig) -> IntArray:
    count = min(_NEIGHBOURS + 1, len(points))
    distance, near = cKDTree(points).query(points, k=count)
    if count < 2:
        return np.zeros((0, 2), dtype=np.int64)
    reach = config.piece_gap * float(np.median(distance[:, 1]))
    rows = np.broadcast_to(np.arange(len(points))[:, None], near.shape)
    pairs: IntArray = np.stack([rows, near], axis=2)[distance < reach]
    return pairs


def _stray(pairs: IntArray, count: int, share: float) -> BoolArray:
    links = coo_matrix((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), (count, count))
    _, piece = connected_components(links, directed=False)
    size = np.bincount(piece)
    stray: BoolArray = size[piece] < share * count
    return stray
