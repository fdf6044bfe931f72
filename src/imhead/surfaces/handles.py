"""Handles of a surface: tunnels through a solid, such as a hole through the lip into the mouth. A head has none.

A closed surface of V vertices, E edges, F faces and C components with h handles has V - E + F = 2C - 2h (Euler). A
shortest-path tree of edges and a tree of faces that crosses none of its edges locate them: of the edges in neither
tree, two belong to each handle (tree-cotree decomposition: Erickson and Whittlesey 2005).

Shape legend: V vertices, F faces, E edges, h handles.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, dijkstra, minimum_spanning_tree

from imhead.errors import InputError
from imhead.types import FloatArray, IntArray, Mesh


def count_handles(mesh: Mesh) -> int:
    """Handles of a closed mesh, over all its components.

    Raises:
        InputError: an edge does not have exactly two faces, or two sheets share a vertex.

    >>> import trimesh
    >>> ring = trimesh.creation.torus(20.0, 5.0)
    >>> count_handles(Mesh(ring.vertices, ring.faces))
    1
    """
    edges = _edges_of(np.sort(_edge_keys(mesh)), len(mesh.vertices))
    used = np.zeros(len(mesh.vertices), dtype=bool)
    used[mesh.faces] = True
    components = connected_components(_graph(edges, np.ones(len(edges)), len(mesh.vertices)), directed=False)[0]
    components = int(components) - int(np.count_nonzero(~used))
    euler = int(np.count_nonzero(used)) - len(edges) + len(mesh.faces)
    if euler % 2:
        raise InputError("two sheets of the mesh share a vertex, so its handles cannot be counted")
    return components - euler // 2


def handle_places(mesh: Mesh) -> FloatArray:
    """(h, 3) places of the h handles of a closed mesh: the middle of the shorter of two loops around or along each.

    Raises:
        InputError: an edge does not have exactly two faces.
    """
    loops = handle_loops(mesh)
    # two loops belong to each handle: around it, and along it, which is usually the longer one
    return np.array([mesh.vertices[rows].mean(axis=0) for rows in loops[: len(loops) // 2]]).reshape(-1, 3)


def handle_loops(mesh: Mesh, root: int | None = None) -> list[IntArray]:
    """Loops of vertices around and along the h handles of a closed mesh, 2h of them, the shortest first.

    Args:
        mesh: the surface.
        root: vertex near which the loops are the shortest that pass it; None for any one of each component.

    Raises:
        InputError: an edge does not have exactly two faces.
    """
    return HandleSearch(mesh).loops(root)


class HandleSearch:
    """Handles of one mesh, looked for from several vertices.

    Args:
        mesh: closed.

    Raises:
        InputError: an edge does not have exactly two faces.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._edges, faces = _edges_and_faces(mesh)
        self._pairs = np.sort(faces, axis=1)
        self._length = np.linalg.norm(mesh.vertices[self._edges[:, 0]] - mesh.vertices[self._edges[:, 1]], axis=1)
        self._graph = _graph(self._edges, self._length, len(mesh.vertices))
        self._labels = connected_components(self._graph, directed=False)[1]

    def loops(self, root: int | None = None) -> list[IntArray]:
        """As `handle_loops`."""
        edges, length = self._edges, self._length
        roots = np.unique(self._labels, return_index=True)[1]
        if root is not None:
            roots[self._labels[root]] = root
        distance, before = dijkstra(
            self._graph, directed=False, indices=roots, return_predecessors=True, min_only=True
        )[:2]
        in_tree = (before[edges[:, 0]] == edges[:, 1]) | (before[edges[:, 1]] == edges[:, 0])
        rest = np.flatnonzero(~in_tree)
        # the longest loops first into the tree of faces, so that the shortest are left over
        order = np.argsort(-(distance[edges[rest]].sum(axis=1) + length[rest]))
        rank = np.empty(len(rest))
        rank[order] = np.arange(1, len(rest) + 1)
        pairs, count = self._pairs[rest], len(self._mesh.faces)
        single = order[np.unique(pairs[order] @ [count, 1], return_index=True)[1]]
        # two faces that share two edges are joined by one of them
        tree = minimum_spanning_tree(_graph(pairs[single], rank[single], count), overwrite=True)
        left = np.ones(len(rest), dtype=bool)
        left[order[tree.data.astype(np.int64) - 1]] = False
        loops = [_loop(before, int(u), int(v)) for u, v in edges[rest[left]]]
        return sorted(loops, key=lambda rows: loop_length(self._mesh.vertices[rows]))


def loop_length(points: FloatArray) -> float:
    """Length of the closed line through points (N, 3)."""
    return float(np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1).sum())


def _loop(before: IntArray, u: int, v: int) -> IntArray:
    """Vertices of the loop that an edge u-v closes in a tree of parents `before` (V,), negative at a root."""
    paths: list[list[int]] = []
    for end in (u, v):
        path = [end]
        while before[path[-1]] >= 0:
            path.append(int(before[path[-1]]))
        paths.append(path)
    shared = 0
    while shared < min(map(len, paths)) and paths[0][-1 - shared] == paths[1][-1 - shared]:
        shared += 1
    first, second = (path[: len(path) - shared + 1] for path in paths)
    return np.array([*first, *second[-2::-1]])


def _edges_and_faces(mesh: Mesh) -> tuple[IntArray, IntArray]:
    """(E, 2) vertices of each edge, the lower one first, and (E, 2) its faces.

    Raises:
        InputError: an edge does not have exactly two faces.
    """
    keys = _edge_keys(mesh)
    order = np.argsort(keys)
    return _edges_of(keys[order], len(mesh.vertices)), (order // 3).reshape(-1, 2)


def _edge_keys(mesh: Mesh) -> IntArray:
    """(3F,) a number for each side of each face, equal for the faces of an edge: lower vertex · V + higher."""
    one, other = mesh.faces.ravel(), np.roll(mesh.faces, -1, axis=1).ravel()
    keys: IntArray = np.minimum(one, other).astype(np.int64) * len(mesh.vertices) + np.maximum(one, other)
    return keys


def _edges_of(keys: IntArray, count: int) -> IntArray:
    """(E, 2) vertices of each edge of a mesh with `count` vertices, from its sorted keys.

    Raises:
        InputError: an edge does not have exactly two faces.
    """
    if not len(keys) or len(keys) % 2 or (keys[::2] != keys[1::2]).any() or (keys[1:-1:2] == keys[2::2]).any():
        raise InputError("an edge of the mesh does not have exactly two faces, so its handles cannot be counted")
    return np.stack(np.divmod(keys[::2], count), axis=1)


def _graph(pairs: IntArray, weights: FloatArray, count: int) -> coo_array:
    """(count, count) weights of the edges between pairs (E, 2)."""
    return coo_array((weights, (pairs[:, 0], pairs[:, 1])), shape=(count, count)).tocsr()
