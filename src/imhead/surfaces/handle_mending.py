"""Handles of a closed surface, mended: a tunnel through a thin wall is closed on both sides, a thread is cut.

The surface is cut along a loop of edges around the tunnel or the thread. Each of the two borders is closed with a cap,
and cap and surroundings are faired, so that the wall is smooth on either side.

Shape legend: V vertices, F faces, n vertices of a loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from imhead.errors import InputError
from imhead.surfaces.handles import HandleSearch, count_handles, handle_loops, loop_length
from imhead.surfaces.normals import vertex_normals
from imhead.types import BoolArray, FloatArray, IntArray, Mesh

_TUNNEL_MM = 25.0  # longest loop around a tunnel that is closed: a hole of 8 mm
_SURE_MM = 10.0  # a loop around a tunnel as short as this is no opening of a nostril, which a hole may lead to
_THREAD_MM = 6.0  # longest loop around a thread that is cut
_RINGS = 3  # around a cap, that are faired with it
_ROOTS = 3  # places on a long loop near which a short one is looked for
_MOST_LOOPS = 2  # long loops near which one is looked for
_MOST_SEARCHES = 6  # of which the first looks at no hidden loop


@dataclass(frozen=True, eq=False)
class Mended:
    """A surface and what was mended."""

    mesh: Mesh
    """It."""
    places: FloatArray
    """(k, 3) where handles were."""
    left: int | None
    """Handles that are left, around which every loop is long; None where they cannot be counted."""


def mended(mesh: Mesh) -> Mended:
    """A closed mesh, mm, without those of its handles that are small; as it is where they cannot be counted.

    >>> import trimesh
    >>> ring = trimesh.creation.torus(20.0, 1.0, major_sections=64)
    >>> mended(Mesh(ring.vertices, ring.faces)).left
    1
    >>> ring = trimesh.creation.torus(6.0, 3.0)
    >>> mended(Mesh(ring.vertices, ring.faces)).left
    0
    """
    left, places = _handles(mesh), list[FloatArray]()
    if left is None:
        return Mended(mesh, np.zeros((0, 3)), None)
    for search in range(_MOST_SEARCHES):
        before, loops = left, handle_loops(mesh) if left else []
        cut_already = np.zeros(len(mesh.vertices), dtype=bool)
        for loop in _candidates(mesh, loops, hidden=search > 0):
            if cut_already[loop].any():
                continue
            cut = _cut(mesh, loop)
            if cut is None or _handles(cut) != left - 1:
                continue
            places.append(mesh.vertices[loop].mean(axis=0))
            mesh, left = cut, left - 1
            cut_already[loop] = True
            if not left:
                break
        if not left or (search and left == before):
            break
    return Mended(mesh, np.array(places).reshape(-1, 3), left)


def _handles(mesh: Mesh) -> int | None:
    try:
        return count_handles(mesh)
    except InputError:
        return None


def _candidates(mesh: Mesh, loops: list[IntArray], hidden: bool) -> Iterator[IntArray]:
    """Those of the loops around tunnels and threads that are surely the shortest of their handles; with `hidden`, all
    that are short enough to be mended, and those that pass near a long one, the shortest first."""
    normals = vertex_normals(mesh.vertices, mesh.faces)[0]
    found = list(loops)
    if hidden:
        search = HandleSearch(mesh)
        for loop in loops[:_MOST_LOOPS]:
            for root in loop[:: -(-len(loop) // _ROOTS)]:
                found += search.loops(int(root))
    limit = _TUNNEL_MM if hidden else _SURE_MM
    short = [(loop_length(mesh.vertices[loop]), loop) for loop in found if _is_short(mesh, normals, loop, limit)]
    yield from (loop for _, loop in sorted(short, key=lambda pair: pair[0]))


def _is_short(mesh: Mesh, normals: FloatArray, loop: IntArray, tunnel_mm: float) -> bool:
    points = mesh.vertices[loop]
    # around a tunnel the surface faces the middle of the loop, around a thread it faces away
    tunnel = float(((points - points.mean(axis=0)) * normals[loop]).sum()) < 0.0
    return loop_length(points) < (tunnel_mm if tunnel else _THREAD_MM)


def _cut(mesh: Mesh, loop: IntArray) -> Mesh | None:
    """The mesh cut along a loop of its vertices (n,) and closed on both sides; None if the loop does not part it there,
    or is no loop of its edges."""
    on_loop = np.zeros(len(mesh.vertices), dtype=bool)
    on_loop[loop] = True
    if np.count_nonzero(on_loop) != len(loop) or len(loop) < 3:
        return None
    near = np.flatnonzero(on_loop[mesh.faces].any(axis=1))
    second = _second_side(mesh.faces[near], loop, on_loop)
    if second is None:
        return None
    count = len(mesh.vertices)
    copies = np.arange(count + len(loop))
    copies[loop] = count + np.arange(len(loop))
    faces: IntArray = mesh.faces.astype(np.int64)
    faces[near[second]] = copies[faces[near[second]]]
    vertices = np.concatenate([mesh.vertices, mesh.vertices[loop]])
    for border in (loop, copies[loop]):
        vertices, faces = _capped(vertices, faces, border)
    return Mesh(vertices, faces)


def _second_side(faces: IntArray, loop: IntArray, on_loop: BoolArray) -> BoolArray | None:
    """(N,) True for faces (N, 3) on one side of the loop (n,) that they touch; None unless it has two sides."""
    ends = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1).astype(np.int64)
    keys = ends @ [len(on_loop), 1]
    own = np.sort(np.stack([loop, np.roll(loop, -1)], axis=1), axis=1) @ [len(on_loop), 1]
    crossed = on_loop[ends].any(axis=1) & ~np.isin(keys, own)
    _, edge = np.unique(keys, return_inverse=True)
    owner = np.repeat(np.arange(len(faces)), 3)
    incidence = coo_array(
        (np.ones(int(crossed.sum())), (owner[crossed], edge[crossed])), shape=(len(faces), int(edge.max()) + 1)
    ).tocsr()
    sides, label = connected_components(incidence @ incidence.T, directed=False)
    meeting = [label[owner[keys == key]] for key in own]
    parted = all(len(pair) == 2 and pair[0] != pair[1] for pair in meeting)
    return label == 1 if sides == 2 and parted else None


def _capped(vertices: FloatArray, faces: IntArray, border: IntArray) -> tuple[FloatArray, IntArray]:
    """Vertices and faces with the open border (n,) closed by a ring and a fan, and faired around it."""
    following = np.roll(border, -1)
    start, end = (faces == border[0]).any(axis=1), (faces == following[0]).any(axis=1)
    face = faces[start & end][0]
    if face[(int(np.flatnonzero(face == border[0])[0]) + 1) % 3] == following[0]:
        border, following = following[::-1], border[::-1]  # a cap runs against the faces beside it
    count, size = len(vertices), len(border)
    ring = count + np.arange(size)
    after = np.roll(ring, -1) if following[0] == border[1 % size] else np.roll(ring, 1)
    middle = vertices[border].mean(axis=0)
    added = np.concatenate([0.5 * (vertices[border] + middle), middle[None]])
    apex = np.full(size, count + size)
    cap = np.concatenate([
        np.stack([border, following, after], axis=1),
        np.stack([border, after, ring], axis=1),
        np.stack([ring, after, apex], axis=1),
    ])  # fmt: skip
    vertices, faces = np.concatenate([vertices, added]), np.concatenate([faces, cap])
    return _faired(vertices, faces, np.concatenate([border, ring, apex[:1]])), faces


def _faired(vertices: FloatArray, faces: IntArray, moved: IntArray) -> FloatArray:
    """Vertices with `moved` (n,) and some rings around them on the surface of least bending, by the edges' graph."""
    free = np.zeros(len(vertices), dtype=bool)
    free[moved] = True
    for _ in range(_RINGS):
        free[faces[free[faces].any(axis=1)]] = True
    held = free.copy()
    for _ in range(2):
        held[faces[held[faces].any(axis=1)]] = True
    rows = np.flatnonzero(held)
    local = np.full(len(vertices), -1)
    local[rows] = np.arange(len(rows))
    inner = faces[held[faces].all(axis=1)]
    ends = local[inner[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)]
    near = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(rows),) * 2).tocsr()
    near = ((near + near.T) > 0).astype(np.float64)
    laplacian = csr_array(diags_array(np.ones(len(rows))) - diags_array(1.0 / near.sum(axis=1)) @ near)
    # rows at the rim lack neighbours; they are not asked for
    asked = np.zeros(len(vertices), dtype=bool)
    asked[faces[free[faces].any(axis=1)]] = True
    asked_rows, loose = asked[rows], free[rows]
    system = laplacian[asked_rows][:, loose]
    known = laplacian[asked_rows][:, ~loose] @ vertices[rows[~loose]]
    placed = splu((system.T @ system).tocsc()).solve(-(system.T @ known))
    fair: FloatArray = vertices.copy()
    fair[rows[loose]] = placed
    return fair
