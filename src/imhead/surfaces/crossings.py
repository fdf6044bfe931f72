"""Self-intersections of a surface, found and smoothed away: lips that touch, lids that meet.

Shape legend: V vertices, F faces, E edges.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.spatial import cKDTree

from imhead.surfaces.ray_tree import ray_tree
from imhead.types import FloatArray, IntArray

_ROUNDS = 16
_SLACK = 1.01


def edges_of(faces: IntArray) -> IntArray:
    """(E, 2) edges of faces (F, 3), each once, the smaller vertex index first."""
    if not len(faces):
        return np.zeros((0, 2), dtype=faces.dtype)
    pairs = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    count = int(pairs.max()) + 1
    # one number for each pair is much quicker to sort than rows
    edges: IntArray = np.stack(np.divmod(np.unique(pairs[:, 0].astype(np.int64) * count + pairs[:, 1]), count), axis=1)
    return edges


def crossing_edges(vertices: FloatArray, faces: IntArray, edges: IntArray | None = None) -> IntArray:
    """Edges (E, 2) that pass through a face with which they share no vertex.

    Args:
        vertices: (V, 3), any units.
        faces: (F, 3).
        edges: `edges_of` the faces, where it is known.
    """
    edges = edges_of(faces) if edges is None else edges
    start, along = vertices[edges[:, 0]], vertices[edges[:, 1]] - vertices[edges[:, 0]]
    tree = ray_tree(vertices, faces)
    length = np.linalg.norm(along, axis=1)
    direction = along / np.maximum(length, 1e-9)[:, None]
    crossing = np.zeros(len(edges), dtype=bool)
    # rays start a little way along the edge and stop short of its end, because its own faces lie at both ends
    for end, ray in ((start, direction), (start + along, -direction)):
        hit = tree.first(end + 0.02 * length[:, None] * ray, ray, 0.96 * length)
        crossed = hit.face >= 0
        corners = faces[np.maximum(hit.face, 0)]
        crossed &= ~(corners[:, :, None] == edges[:, None, :]).any(axis=(1, 2))
        crossing |= crossed & (hit.distance < 0.96 * length)
    return edges[crossing]


def untangled(vertices: FloatArray, faces: IntArray) -> FloatArray:
    """Vertices (V, 3) after smoothing that takes self-intersections apart; some may be left after 16 rounds.

    Each round moves the vertices of crossing edges, and one ring around them, halfway to the mean of their neighbours.

    Args:
        vertices: (V, 3), any units.
        faces: (F, 3) of the sheets that must not cross.
    """
    crossing = crossing_edges(vertices, faces)
    if not len(crossing):
        return vertices
    edges = edges_of(faces)
    both = np.concatenate([edges, edges[:, ::-1]])
    neighbours = coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), (len(vertices), len(vertices))).tocsr()
    count = np.maximum(np.asarray(neighbours.sum(axis=1)).ravel(), 1.0)[:, None]
    moved = vertices.copy()
    for _ in range(_ROUNDS):
        marked = np.zeros(len(vertices))
        marked[crossing] = 1.0
        moving = np.flatnonzero(marked + neighbours @ marked)
        moved[moving] = 0.5 * moved[moving] + 0.5 * ((neighbours @ moved) / count)[moving]
        crossing = crossing_edges(moved, _around(moved, faces, moving))
        if not len(crossing):
            break
    return moved


def _around(vertices: FloatArray, faces: IntArray, moving: IntArray) -> IntArray:
    """The faces at the moving vertices, and those near enough to cross one of them: no others can begin to cross."""
    mask = np.zeros(len(vertices), dtype=bool)
    mask[moving] = True
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    center = (a + b + c) / 3.0
    squared = np.maximum(((a - center) ** 2).sum(axis=1), ((b - center) ** 2).sum(axis=1))
    radius = np.sqrt(np.maximum(squared, ((c - center) ** 2).sum(axis=1)))
    at = mask[faces].any(axis=1)
    reach = _SLACK * float(radius[at].max(initial=0.0) + radius.max(initial=0.0))
    near: IntArray = faces[np.isfinite(cKDTree(center[at]).query(center, distance_upper_bound=reach)[0])]
    return near
