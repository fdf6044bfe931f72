"""The open border of a mesh, and its connected pieces.

Shape legend: V vertices, F faces.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from imhead.types import IntArray


def border_edges(faces: IntArray) -> IntArray:
    """Edges (n, 2) that only one of the faces (F, 3) has, smaller vertex first, each once, in rising order."""
    ends = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    edges, count = np.unique(np.sort(ends, axis=1), axis=0, return_counts=True)
    border: IntArray = edges[count == 1]
    return border


def piece_of_vertices(edges: IntArray, count: int) -> IntArray:
    """(V,) the number of the connected piece of each of `count` vertices, which are joined by edges (n, 2)."""
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
