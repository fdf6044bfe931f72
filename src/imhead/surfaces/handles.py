"""Handles of a surface: tunnels through a solid, such as a hole through the lip into the mouth. A head has none.

A closed surface of V vertices, E edges, F faces and C components with h handles has V - E + F = 2C - 2h (Euler). A
shortest-path tree of edges and a tree of faces that crosses none of its edges locate them: of the edges in neither
tree, two belong to each handle (tree-cotree decomposition: Erickson and Whittlesey 2005).

Shape legend: V vertices, F faces, E edges, h handles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, dijkstra, minimum_spanning_tree

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
    used[mesh.faces.ravel()] = True
    graph = _sorted_graph(edges, np.ones(len(edges)), len(mesh.vertices))
    components = connected_components(graph, directed=False)[0]
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


def handle_loops(mesh: Mesh) -> list[IntArray]:
    """Loops of vertices around and along the h handles of a closed mesh, 2h of them, the shortest first.

    Raises:
        InputError: an edge does not have exactly two faces.
    """
    return HandleSearch(mesh).loops()


class HandleSearch:
    """Loops around the handles of one closed mesh.

    Args:
        mesh: closed.

    Raises:
        InputError: an edge does not have exactly two faces.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._vertices, self._faces = mesh.vertices, len(mesh.faces)
        self._edges, self._pairs = _edges_and_faces(mesh)
        ends = mesh.vertices[self._edges]
        self._length = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
        self._graph = _both_ways(self._edges, self._length, len(mesh.vertices))
        self._first = np.searchsorted(self._edges[:, 0], np.arange(len(mesh.vertices) + 1))
        roots = np.unique(connected_components(self._graph, directed=False)[1], return_index=True)[1]
        self._found = _generators(self._graph, roots, self._edges, self._pairs, self._length, self._faces)
        self._crossed = self._crossings()

    def loops(self) -> list[IntArray]:
        """2h loops, each as short as the vertex allows from which all are looked for; the shortest first."""
        return sorted(self._found.loops, key=lambda rows: loop_length(self._vertices[rows]))

    def loops_across(self, loop: IntArray, reach_mm: float, roots: int) -> list[IntArray]:
        """Loops on the strip of the surface within a distance of a loop (n,), looked for from some of its vertices.

        Among them are short ones that cross it, and ones that enclose no handle, whose `homology` is 0.
        """
        rows = self._within(loop, reach_mm)
        local = np.full(len(self._vertices), -1)
        local[rows] = np.arange(len(rows))
        near = _ranges(self._first[rows], self._first[rows + 1])  # edges whose lower vertex is in the strip
        near = near[local[self._edges[near, 1]] >= 0]
        # a face is whole in the strip if its three edges are; all faces outside are one
        _, face, sides = np.unique(self._pairs[near], return_inverse=True, return_counts=True)
        whole, count = sides == 3, int(np.count_nonzero(sides == 3))
        number = np.where(whole, np.cumsum(whole) - 1, count)
        face = face.reshape(-1, 2)
        inner = whole[face].any(axis=1)
        near, pairs = near[inner], np.sort(number[face[inner]], axis=1)
        edges, length = local[self._edges[near]], self._length[near]
        graph = _both_ways(edges, length, len(rows))
        labels = connected_components(graph, directed=False)[1]
        used = np.unique(edges)
        start = used[np.unique(labels[used], return_index=True)[1]]
        found: list[IntArray] = []
        for vertex in local[loop[:: -(-len(loop) // roots)]]:
            origins = np.where(labels[start] == labels[vertex], vertex, start)
            found += _generators(graph, origins, edges, pairs, length, count + 1).loops
        return [rows[each] for each in found]

    def _within(self, loop: IntArray, reach_mm: float) -> IntArray:
        """Vertices (N,) within a distance of a loop (n,) along edges, sorted."""
        low, high = self._vertices[loop].min(axis=0) - reach_mm, self._vertices[loop].max(axis=0) + reach_mm
        # no path of that length leaves the box
        boxed = np.flatnonzero(((self._vertices >= low) & (self._vertices <= high)).all(axis=1))
        part = self._graph[boxed][:, boxed]
        distance = dijkstra(part, indices=np.searchsorted(boxed, loop), min_only=True, limit=reach_mm)
        near: IntArray = boxed[np.isfinite(distance)]
        return near

    def homology(self, loop: IntArray) -> int:
        """Class of a loop (n,) over Z₂, a bit for each of the 2h loops. Loops that share no vertex leave each component
        whole when the surface is cut along them if their classes are independent: no sum of some of them is 0."""
        low, high = np.sort(np.stack([loop, np.roll(loop, -1)]), axis=0)
        bits = 0
        for key in (low.astype(np.int64) * len(self._vertices) + high).tolist():
            bits ^= self._crossed.get(key, 0)
        return bits

    def _crossings(self) -> dict[int, int]:
        """Key of an edge → bits of the closed strips of faces that cross it: the k-th crosses the edge that the k-th
        loop closes, and goes back through the tree of faces."""
        crossed: dict[int, int] = {}
        tree, in_tree = self._found.face_tree, self._found.in_face_tree
        keys = self._pairs[in_tree] @ [self._faces, 1]
        order = np.argsort(keys)
        before: IntArray | None = None
        for bit, edge in enumerate(self._found.closing.tolist()):
            first, last = self._pairs[edge].tolist()
            if before is None or before[first] < 0:
                root = first
                before = breadth_first_order(tree, root, directed=False)[1]
            paths = [_path(before, face) for face in (first, last)]
            steps = np.concatenate([np.sort(np.stack([path[:-1], path[1:]], axis=1), axis=1) for path in paths])
            passed = in_tree[order[np.searchsorted(keys, steps @ [self._faces, 1], sorter=order)]]
            for row in [edge, *passed.tolist()]:
                low, high = self._edges[row].tolist()
                key = low * len(self._vertices) + high
                crossed[key] = crossed.get(key, 0) ^ (1 << bit)
        return crossed


@dataclass(frozen=True, eq=False)
class _Found:
    """Loops that generate all others, and the trees that they come from."""

    loops: list[IntArray]
    """Vertices of each."""
    closing: IntArray
    """Row of the edge that closes each loop."""
    face_tree: csr_array
    """Faces joined in a tree."""
    in_face_tree: IntArray
    """Rows of the edges that it crosses."""


def _generators(
    graph: csr_array, roots: IntArray, edges: IntArray, pairs: IntArray, length: FloatArray, faces: int
) -> _Found:
    """Loops that generate all others: one for each edge in neither a tree of shortest paths nor a tree of faces.

    Args:
        graph: (V, V) length of each edge, both ways.
        roots: a vertex of each component.
        edges: (E, 2) vertices.
        pairs: (E, 2) faces, the lower one first.
        length: (E,).
        faces: how many there are.
    """
    distance, before = dijkstra(graph, indices=roots, return_predecessors=True, min_only=True)[:2]
    in_tree = (before[edges[:, 0]] == edges[:, 1]) | (before[edges[:, 1]] == edges[:, 0])
    rest = np.flatnonzero(~in_tree)
    # the longest loops first into the tree of faces, so that the shortest are left over
    order = np.argsort(-(distance[edges[rest]].sum(axis=1) + length[rest]))
    rank = np.empty(len(rest))
    rank[order] = np.arange(1, len(rest) + 1)
    across = pairs[rest]
    single = order[np.unique(across[order] @ [faces, 1], return_index=True)[1]]
    # two faces that share two edges are joined by one of them
    tree = minimum_spanning_tree(_graph(across[single], rank[single], faces), overwrite=True)
    in_face_tree = order[tree.data.astype(np.int64) - 1]
    left = np.ones(len(rest), dtype=bool)
    left[in_face_tree] = False
    closing = rest[left]
    return _Found([_loop(before, int(u), int(v)) for u, v in edges[closing]], closing, tree, rest[in_face_tree])


def loop_length(points: FloatArray) -> float:
    """Length of the closed line through points (N, 3)."""
    return float(np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1).sum())


def _loop(before: IntArray, u: int, v: int) -> IntArray:
    """Vertices of the loop that an edge u-v closes in a tree of parents `before` (V,), negative at a root."""
    paths = [_path(before, end) for end in (u, v)]
    shared = 0
    while shared < min(map(len, paths)) and paths[0][-1 - shared] == paths[1][-1 - shared]:
        shared += 1
    first, second = (path[: len(path) - shared + 1] for path in paths)
    return np.array([*first, *second[-2::-1]])


def _path(before: IntArray, end: int) -> list[int]:
    """From an end to the root of a tree of parents, negative at a root."""
    path = [end]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return path


def _edges_and_faces(mesh: Mesh) -> tuple[IntArray, IntArray]:
    """(E, 2) vertices of each edge and (E, 2) its faces, the lower one first.

    Raises:
        InputError: an edge does not have exactly two faces.
    """
    keys = _edge_keys(mesh)
    order = np.argsort(keys)
    pairs = (order % len(mesh.faces)).reshape(-1, 2)
    return _edges_of(keys[order], len(mesh.vertices)), np.sort(pairs, axis=1)


def _edge_keys(mesh: Mesh) -> IntArray:
    """(3F,) a number for each side, of all faces the first and so on, equal for the faces of an edge: lower vertex · V
    + higher."""
    corners = mesh.faces.T.astype(np.int64, order="C")
    one, other = corners.ravel(), corners[[1, 2, 0]].ravel()
    keys: IntArray = np.minimum(one, other) * len(mesh.vertices) + np.maximum(one, other)
    return keys


def _edges_of(keys: IntArray, count: int) -> IntArray:
    """(E, 2) vertices of each edge of a mesh with `count` vertices, from its sorted keys.

    Raises:
        InputError: an edge does not have exactly two faces.
    """
    if not len(keys) or len(keys) % 2 or (keys[::2] != keys[1::2]).any() or (keys[1:-1:2] == keys[2::2]).any():
        raise InputError("an edge of the mesh does not have exactly two faces, so its handles cannot be counted")
    return np.stack(np.divmod(keys[::2], count), axis=1)


def _graph(pairs: IntArray, weights: FloatArray | IntArray, count: int) -> csr_array:
    """(count, count) weights of the edges between pairs (E, 2)."""
    return coo_array((weights, (pairs[:, 0], pairs[:, 1])), shape=(count, count)).tocsr()


def _sorted_graph(edges: IntArray, weights: FloatArray, count: int) -> csr_array:
    """(count, count) weights of edges (E, 2) that are sorted and different, one way."""
    first = np.searchsorted(edges[:, 0], np.arange(count + 1))
    return csr_array((weights, np.ascontiguousarray(edges[:, 1]), first), shape=(count, count))


def _ranges(first: IntArray, end: IntArray) -> IntArray:
    """The whole numbers from each first (N,) to before each end (N,), one range after the other."""
    size = end - first
    return np.repeat(first - np.cumsum(size) + size, size) + np.arange(int(size.sum()))


def _both_ways(pairs: IntArray, weights: FloatArray, count: int) -> csr_array:
    """As `_graph`, symmetric."""
    return _graph(np.concatenate([pairs, pairs[:, ::-1]]), np.concatenate([weights, weights]), count)
