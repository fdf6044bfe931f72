"""No face turns over and no sheets cross: where a displacement would do so, it is taken back.

Shape legend: V vertices, F faces.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import coo_matrix
from scipy.spatial import cKDTree

from imhead.surfaces.crossings import crossing_edges, edges_of
from imhead.surfaces.properties import face_cross
from imhead.types import BoolArray, FloatArray, IntArray

_ROUNDS = 12
_KEPT = 0.6  # share of the displacement that a round leaves
_TURNED = 0.0  # cosine of a face's turn below which it has turned over
_RINGS = 2
_BESIDE_MM = 2.0


def sound(
    start: FloatArray, moved: FloatArray, faces: IntArray, finish: Callable[[FloatArray], FloatArray]
) -> tuple[FloatArray, int]:
    """Vertices (V, 3) that cross and turn no more than the start does, and how many still do.

    Args:
        start: (V, 3).
        moved: (V, 3) where the vertices should go.
        faces: (F, 3) that must not cross.
        finish: what is done with vertices last, such as laying lids on eyeballs.
    """
    step = moved - start
    share = np.ones(len(start))
    edges = edges_of(faces)
    before = _unsound(start, start, faces, edges)
    both = np.concatenate([edges, edges[:, ::-1]])
    around = coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), (len(start), len(start))).tocsr()
    count = np.maximum(np.asarray(around.sum(axis=1)).ravel(), 1.0)
    result = finish(moved)
    bad = _unsound(start, result, faces, edges) & ~before
    for round_number in range(_ROUNDS):
        if not bad.any():
            break
        # the sheet that is crossed may be no neighbour on the mesh
        near = (cKDTree(start[bad]).query(start)[0] < _BESIDE_MM).astype(np.float64)
        for _ in range(_RINGS):
            near = np.maximum(near, (around @ near > 0.0).astype(np.float64))
        share[near > 0.0] *= _KEPT if round_number < _ROUNDS - 2 else 0.0
        eased = np.minimum(share, (around @ share) / count)  # no step at the edge of what was taken back
        result = finish(start + eased[:, None] * step)
        bad = _unsound(start, result, faces, edges) & ~before
    return result, int(bad.sum())


def _unsound(start: FloatArray, vertices: FloatArray, faces: IntArray, edges: IntArray) -> BoolArray:
    """(V,) bool: vertices of crossing edges, and of faces that have turned over since the start."""
    marked = np.zeros(len(vertices), dtype=bool)
    marked[crossing_edges(vertices, faces, edges)] = True
    before, after = face_cross(start, faces), face_cross(vertices, faces)
    size = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    turned = np.einsum("fc,fc->f", before, after) < _TURNED * size
    marked[faces[turned]] = True
    return marked
