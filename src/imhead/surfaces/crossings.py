"""Where a surface passes through itself, and a way out of it: lips that touch, lids that meet."""

from __future__ import annotations

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from scipy.sparse import coo_matrix

from imhead.types import FloatArray, IntArray

_ROUNDS = 16


def edges_of(faces: IntArray) -> IntArray:
    """(E, 2) edges of faces (F, 3), each once, the smaller vertex first."""
    edges: IntArray = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    return edges


def crossing_edges(vertices: FloatArray, faces: IntArray) -> IntArray:
    """Edges (E, 2) that pass through a face which they do not touch: where a surface crosses itself."""
    edges = edges_of(faces)
    start, way = vertices[edges[:, 0]], vertices[edges[:, 1]] - vertices[edges[:, 0]]
    scene = EmbreeScene()
    TriangleMesh(scene, vertices.astype(np.float32), faces.astype(np.int32))
    length = np.linalg.norm(way, axis=1)
    direction = way / np.maximum(length, 1e-9)[:, None]
    crossing = np.zeros(len(edges), dtype=bool)
    # its own faces lie at both ends: from both sides, the first face beyond them counts
    for origin, along in ((start, direction), (start + way, -direction)):
        begin = (origin + 0.02 * length[:, None] * along).astype(np.float32)
        hit = scene.run(begin, along.astype(np.float32), dists=(0.96 * length).astype(np.float32), output=1)
        met = hit["primID"]
        apart = met >= 0
        corners = faces[np.maximum(met, 0)]
        apart &= ~(corners[:, :, None] == edges[:, None, :]).any(axis=(1, 2))
        crossing |= apart & (hit["tfar"] < 0.96 * length)
    return edges[crossing]


def untangled(vertices: FloatArray, faces: IntArray) -> FloatArray:
    """Vertices (V, 3) of a surface that no longer passes through itself, as far as a few rounds of smoothing bring it.

    Only what crosses, and one ring around it, is moved: halfway to the mean of its neighbours in each round.

    Args:
        faces: (F, 3) of the sheets that must not cross.
    """
    crossing = crossing_edges(vertices, faces)
    if not len(crossing):
        return vertices
    edges = edges_of(faces)
    both = np.concatenate([edges, edges[:, ::-1]])
    near = coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), (len(vertices), len(vertices))).tocsr()
    count = np.maximum(np.asarray(near.sum(axis=1)).ravel(), 1.0)[:, None]
    moved = vertices.copy()
    for _ in range(_ROUNDS):
        marked = np.zeros(len(vertices))
        marked[crossing] = 1.0
        moving = np.flatnonzero(marked + near @ marked)
        moved[moving] = 0.5 * moved[moving] + 0.5 * ((near @ moved) / count)[moving]
        crossing = crossing_edges(moved, faces)
        if not len(crossing):
            break
    return moved
