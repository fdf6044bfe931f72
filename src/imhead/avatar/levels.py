"""Levels of detail: parts with fewer vertices, and the same shapes, joints and pictures.

A part is simplified at rest, on the mean head, so that a level has the same vertices on every head. The vertices of a
level are some of the part's own, with everything that they have there.

Shape legend: V vertices and F faces of a part, N and M of its level.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import igl
import numpy as np
from scipy.spatial import cKDTree

from imhead.io.glb_scene_writer import Part
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.pieces import piece_of_vertices
from imhead.types import FloatArray, IntArray, MorphTargets, UvMap

SKIN_VERTICES = (None, 5000, 1500)
"""About how many vertices the skin has at each level; None for all."""
_SHARE = (1.0, 0.4, 0.15)  # of the vertices of the other parts
_LEAST_FACES = 24
_FINE_MM, _FINER = 20.0, 0.6  # around eyes and mouth the mesh is simplified as if it were larger
_SIDE_MM, _PIECE_MM = 3.0, 1e3
_FARTHEST = 4.0  # times the usual distance in the UVs between the corners of a face


@dataclass(frozen=True, eq=False)
class Level:
    """A simplified mesh."""

    kept: IntArray
    """(N,) its vertices among the whole mesh's."""
    faces: IntArray
    """(M, 3)."""
    uv: UvMap | None
    """UVs of the faces; None where the whole mesh has none."""


def simplified(part: Part, rest: FloatArray, level: int, fine: FloatArray | None = None) -> Part:
    """A part at a level of detail, 0 to 2.

    Args:
        part: on one head.
        rest: (V, 3) its vertices on the mean head; the same array gives the same level.
        level: 0 leaves it as it is.
        fine: (n, 3) places around which more is kept.
    """
    if not level:
        return part
    count = SKIN_VERTICES[level] if part.name == "skin" else None
    faces = round(len(part.faces) * (_SHARE[level] if count is None else count / len(part.vertices)))
    for center in () if fine is None else fine:
        away = rest - center
        near = np.exp(-0.5 * np.square(away).sum(axis=1, keepdims=True) / _FINE_MM**2)
        rest = rest + _FINER * near * away
    found = _level(_Whole(rest, part.faces, part.uv), max(faces, _LEAST_FACES))
    kept, shapes = found.kept, part.shapes
    if shapes is not None:
        shapes = MorphTargets(shapes.names, shapes.offsets[:, kept], shapes.weights)
    return replace(
        part,
        vertices=part.vertices[kept],
        faces=found.faces,
        uv=found.uv,
        shapes=shapes,
        colors=None if part.colors is None else part.colors[kept],
        joints=None if part.joints is None else part.joints[kept],
        weights=None if part.weights is None else part.weights[kept],
    )


@dataclass(frozen=True)
class _Whole:
    """A whole mesh, equal to another if its numbers are."""

    vertices: FloatArray
    faces: IntArray
    uv: UvMap | None

    def __hash__(self) -> int:
        return hash((self.vertices.tobytes(), self.faces.tobytes()))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Whole)
            and np.array_equal(self.vertices, other.vertices)
            and np.array_equal(self.faces, other.faces)
            and (self.uv is None) == (other.uv is None)
        )


@lru_cache(maxsize=32)
def _level(whole: _Whole, faces: int) -> Level:
    points, corners = np.asfortranarray(whole.vertices), np.asfortranarray(whole.faces.astype(np.int32))
    places, fewer, birth, origin = igl.qslim(points, corners, faces)
    nearest = _own_vertices(whole, places, fewer, origin)
    # two places may have one vertex in common; what lies between them is no face any more
    solid = nearest[fewer]
    real = (solid[:, 0] != solid[:, 1]) & (solid[:, 1] != solid[:, 2]) & (solid[:, 2] != solid[:, 0])
    kept, inverse = np.unique(solid[real], return_inverse=True)
    flat = None if whole.uv is None else _flat(whole, solid[real], birth[real])
    return Level(kept, inverse.reshape(-1, 3), flat)


def _own_vertices(whole: _Whole, places: FloatArray, faces: IntArray, origin: IntArray) -> IntArray:
    """The vertex (N,) of the whole mesh that is nearest to each place (N, 3), on the same piece and the same side."""
    piece = piece_of_vertices(np.concatenate([whole.faces[:, :2], whole.faces[:, 1:]]), len(whole.vertices))
    used = np.unique(whole.faces)
    normals, _ = vertex_normals(whole.vertices, whole.faces)
    own, _ = vertex_normals(places, faces)
    # lips and lids touch, but face each other
    table = np.column_stack([whole.vertices, _SIDE_MM * normals, _PIECE_MM * piece])[used]
    wanted = np.column_stack([places, _SIDE_MM * own, _PIECE_MM * piece[origin]])
    return np.asarray(used[cKDTree(table).query(wanted)[1]])


def _flat(whole: _Whole, faces: IntArray, birth: IntArray) -> UvMap:
    """UVs of faces (M, 3) of the whole mesh's vertices: of a vertex on a seam, that on the side of the face.

    Args:
        whole: mesh with UVs.
        faces: (M, 3).
        birth: (M,) a face of the whole mesh that each came from.
    """
    assert whole.uv is not None
    uv = whole.uv
    pairs = np.unique(np.column_stack([whole.faces.ravel(), uv.faces.ravel()]), axis=0)
    first = np.searchsorted(pairs[:, 0], np.arange(len(whole.vertices) + 1))
    middle = uv.uv[uv.faces[birth]].mean(axis=1)
    row = np.repeat(np.arange(len(faces)), 3)
    vertex, best = faces.ravel(), np.zeros(3 * len(faces), dtype=np.int64)
    apart = np.full(len(best), np.inf)
    for k in range(int(np.diff(first).max())):
        has = first[vertex] + k < first[vertex + 1]
        index = pairs[np.minimum(first[vertex] + k, len(pairs) - 1), 1]
        away = np.where(has, np.linalg.norm(uv.uv[index] - middle[row], axis=1), np.inf)
        best, apart = np.where(away < apart, index, best), np.minimum(apart, away)
    # a face over a seam has corners whose UVs lie on the other side: they take the nearest on this side
    solid = whole.vertices[faces]
    reach = np.linalg.norm(solid - solid.mean(axis=1, keepdims=True), axis=2).max(axis=1)
    scale = np.median(apart) / np.median(reach)
    limit = _FARTHEST * scale * np.maximum(reach, np.median(reach))
    place = np.zeros((len(uv.uv), 3))
    place[pairs[:, 1]] = whole.vertices[pairs[:, 0]]
    for corner in np.flatnonzero(apart > limit[row]):
        near = np.flatnonzero(np.linalg.norm(uv.uv - middle[row[corner]], axis=1) < limit[row[corner]])
        if len(near):
            best[corner] = near[np.linalg.norm(place[near] - whole.vertices[vertex[corner]], axis=1).argmin()]
    kept, inverse = np.unique(best, return_inverse=True)
    return UvMap(uv.uv[kept], inverse.reshape(-1, 3))
