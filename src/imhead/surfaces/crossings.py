"""Self-intersections of a surface, found and smoothed away: lips that touch, lids that meet.

Shape legend: V vertices, F faces, E edges.
"""

from __future__ import annotations

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from scipy.sparse import coo_matrix

from imhead.types import FloatArray, IntArray

_ROUNDS = 16


def edges_of(faces: IntArray) -> IntArray:
    """(E, 2) edges of faces (F, 3), each once, the smaller vertex index first."""
    edges: IntArray = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    return edges


def crossing_edges(vertices: FloatArray, faces: IntArray) -> IntArray:
    """Edges (E, 2) that pass through a face with which they share no vertex.

    Args:
        vertices: (V, 3), any units.
        faces: (F, 3).
    """
    edges = edges_of(faces)
    start, along = vertices[edges[:, 0]], vertices[edges[:, 1]] - vertices[edges[:, 0]]
    scene = EmbreeScene()
    TriangleMesh(scene, vertices.astype(np.float32), faces.astype(np.int32))
    length = np.linalg.norm(along, axis=1)
    direction = along / np.maximum(length, 1e-9)[:, None]
    crossing = np.zeros(len(edges), dtype=bool)
    # rays start a little way along the edge and stop short of its end, because its own faces lie at both ends
    for end, ray in ((start, direction), (start + along, -direction)):
        origin = (end + 0.02 * length[:, None] * ray).astype(np.float32)
        hit = scene.run(origin, ray.astype(np.float32), dists=(0.96 * length).astype(np.float32), output=1)
        face = hit["primID"]
        crossed = face >= 0
        corners = faces[np.maximum(face, 0)]
        crossed &= ~(corners[:, :, None] == edges[:, None, :]).any(axis=(1, 2))
        crossing |= crossed & (hit["tfar"] < 0.96 * length)
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
        crossing = crossing_edges(moved, faces)
        if not len(crossing):
            break
    return moved
