"""Handles of a closed surface, mended: a tunnel through a thin wall is closed on both sides, a thread is cut.

The surface is cut along a loop of edges around the tunnel or the thread. Each of the two borders is closed with a cap,
and cap and surroundings are faired, so that the wall is smooth on either side.

Shape legend: V vertices, F faces, n vertices of a loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from imhead.errors import InputError
from imhead.surfaces.handles import HandleSearch, count_handles, loop_length
from imhead.surfaces.normals import vertex_normals
from imhead.types import BoolArray, FloatArray, IntArray, Mesh

_TUNNEL_MM = 25.0  # longest loop around a tunnel that is closed: a hole of 8 mm
_SURE_MM = 10.0  # a loop around a tunnel as short as this is no opening of a nostril, which a hole may lead to
_THREAD_MM = 6.0  # longest loop around a thread that is cut
_RINGS = 3  # around a cap, that are faired with it
_HELD = 2  # around them, that hold them
_SURROUNDINGS = _RINGS + _HELD  # of a loop, beyond which nothing is asked of the faces
_ROOTS = 3  # places on a long loop from which a short one is looked for
_MOST_SEARCHES = 4


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
    for _ in range(_MOST_SEARCHES):
        if not left:
            break
        loops = _loops_to_cut(mesh)
        cut = _cut(mesh, loops) if loops else mesh
        fewer = _handles(cut)
        if not loops or fewer != left - len(loops):
            break
        places += [mesh.vertices[loop].mean(axis=0) for loop in loops]
        mesh, left = cut, fewer
    return Mended(mesh, np.array(places).reshape(-1, 3), left)


def _handles(mesh: Mesh) -> int | None:
    try:
        return count_handles(mesh)
    except InputError:
        return None


def _loops_to_cut(mesh: Mesh) -> list[IntArray]:
    """Loops around tunnels and threads that are short enough, the shortest of each handle; no two share a vertex."""
    search = HandleSearch(mesh)
    found = search.loops()
    long = [loop for loop, size in zip(found, _sizes(mesh, found, _SURE_MM), strict=True) if size > 1.0]
    for loop in long:
        found += search.loops_across(loop, 0.5 * _TUNNEL_MM, _ROOTS)
    sizes = _sizes(mesh, found, _TUNNEL_MM)
    short = [(loop_length(mesh.vertices[loop]), loop) for loop, size in zip(found, sizes, strict=True) if size <= 1.0]
    faces = mesh.faces[_touching(mesh.faces, len(mesh.vertices), [loop for _, loop in short])]
    chosen: list[IntArray] = []
    used = np.zeros(len(mesh.vertices), dtype=bool)
    classes: list[int] = []  # reduced: the highest bit of each is in no other
    for _, loop in sorted(short, key=lambda pair: pair[0]):
        own = search.homology(loop)
        for other in classes:
            own = min(own, own ^ other)
        if not own or used[loop].any() or _second_side(faces, loop) is None:
            continue
        classes = [*(min(other, other ^ own) for other in classes), own]
        chosen.append(loop)
        used[loop] = True
    return chosen


def _sizes(mesh: Mesh, loops: list[IntArray], tunnel_mm: float) -> list[float]:
    """Length of each loop over that of the longest that is cut: `tunnel_mm` around a tunnel, `_THREAD_MM` around a
    thread."""
    rows, part = _part(mesh, _touching(mesh.faces, len(mesh.vertices), loops))
    normals = vertex_normals(part.vertices, part.faces)[0]
    sizes: list[float] = []
    for loop in loops:
        points = mesh.vertices[loop]
        # around a tunnel the surface faces the middle of the loop, around a thread it faces away
        outwards = ((points - points.mean(axis=0)) * normals[np.searchsorted(rows, loop)]).sum()
        sizes.append(loop_length(points) / (tunnel_mm if float(outwards) < 0.0 else _THREAD_MM))
    return sizes


def _touching(faces: IntArray, count: int, loops: list[IntArray], rings: int = 0) -> IntArray:
    """Rows of the faces that touch loops of a mesh of `count` vertices, and of some rings of faces around them."""
    near = np.zeros(count, dtype=bool)
    for loop in loops:
        near[loop] = True
    first, second, third = faces.T
    rows = np.flatnonzero(near[first] | near[second] | near[third])
    for _ in range(rings):
        near[faces[rows].ravel()] = True
        rows = np.flatnonzero(near[first] | near[second] | near[third])
    return rows


def _part(mesh: Mesh, faces: IntArray) -> tuple[IntArray, Mesh]:
    """Rows of the vertices of some faces (N,) of a mesh, sorted, and these faces as a mesh."""
    rows, corners = np.unique(mesh.faces[faces], return_inverse=True)
    return rows, Mesh(mesh.vertices[rows], corners.reshape(-1, 3))


def _cut(mesh: Mesh, loops: list[IntArray]) -> Mesh:
    """As `_cut_whole`, looking only at the surroundings of the loops."""
    around = _touching(mesh.faces, len(mesh.vertices), loops, _SURROUNDINGS)
    rows, part = _part(mesh, around)
    cut = _cut_whole(part, [np.searchsorted(rows, loop) for loop in loops])
    old, added = len(mesh.vertices), cut.vertices[len(rows) :]
    vertices, faces = mesh.vertices.copy(), mesh.faces.astype(np.int64)
    vertices[rows] = cut.vertices[: len(rows)]
    own = np.concatenate([rows, old + np.arange(len(added))])[cut.faces]
    faces[around] = own[: len(around)]
    return Mesh(np.concatenate([vertices, added]), np.concatenate([faces, own[len(around) :]]))


def _cut_whole(mesh: Mesh, loops: list[IntArray]) -> Mesh:
    """The mesh cut along loops of its vertices, each (n,) with two sides, and closed on both sides of each."""
    vertices, faces, caps = mesh.vertices, mesh.faces.astype(np.int64), list[IntArray]()
    for loop in loops:
        sides = _second_side(mesh.faces, loop)
        if sides is None:
            continue
        rows, second = sides
        border = len(vertices) + np.arange(len(loop))
        copies = dict(zip(loop.tolist(), border.tolist(), strict=True))
        faces[rows[second]] = [[copies.get(vertex, vertex) for vertex in face] for face in faces[rows[second]].tolist()]
        vertices = np.concatenate([vertices, vertices[loop]])
        for side in (loop, border):
            added, cap = _cap(vertices, faces[rows], side)
            vertices, faces = np.concatenate([vertices, added]), np.concatenate([faces, cap])
            caps.append(np.unique(cap))
    # one at a time: in a joint solution each would depend on all, if only by its rounding
    for cap_vertices in caps:
        vertices = _faired(vertices, faces, cap_vertices)
    return Mesh(vertices, faces)


def _second_side(faces: IntArray, loop: IntArray) -> tuple[IntArray, BoolArray] | None:
    """(N,) rows of the faces that touch a loop (n,), and True for those on one side of it; None unless it has two sides
    there and is a loop of edges of its own."""
    if len(loop) < 3 or len(np.unique(loop)) != len(loop):
        return None
    rows = np.flatnonzero(np.isin(faces, loop).any(axis=1))
    ends = np.sort(faces[rows][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1).astype(np.int64)
    base = [int(faces.max()) + 1, 1]
    keys = ends @ base
    own = np.sort(np.stack([loop, np.roll(loop, -1)], axis=1), axis=1) @ base
    crossed = np.isin(ends, loop).any(axis=1) & ~np.isin(keys, own)
    _, edge = np.unique(keys, return_inverse=True)
    owner = np.repeat(np.arange(len(rows)), 3)
    incidence = coo_array(
        (np.ones(int(crossed.sum())), (owner[crossed], edge[crossed])), shape=(len(rows), int(edge.max()) + 1)
    ).tocsr()
    sides, label = connected_components(incidence @ incidence.T, directed=False)
    meeting = [label[owner[keys == key]] for key in own]
    parted = all(len(pair) == 2 and pair[0] != pair[1] for pair in meeting)
    return (rows, label == 1) if sides == 2 and parted else None


def _cap(vertices: FloatArray, faces: IntArray, border: IntArray) -> tuple[FloatArray, IntArray]:
    """Vertices and faces of a ring and a fan that close the open border (n,); `faces` are those that touch it."""
    following = np.roll(border, -1)
    face = faces[(faces == border[0]).any(axis=1) & (faces == following[0]).any(axis=1)][0]
    if face[(int(np.flatnonzero(face == border[0])[0]) + 1) % 3] == following[0]:
        border, following = following[::-1], border[::-1]  # a cap runs against the faces beside it
    size = len(border)
    ring = len(vertices) + np.arange(size)
    after = np.roll(ring, -1) if following[0] == border[1 % size] else np.roll(ring, 1)
    middle = vertices[border].mean(axis=0)
    apex = np.full(size, len(vertices) + size)
    cap = np.concatenate([
        np.stack([border, following, after], axis=1),
        np.stack([border, after, ring], axis=1),
        np.stack([ring, after, apex], axis=1),
    ])  # fmt: skip
    return np.concatenate([0.5 * (vertices[border] + middle), middle[None]]), cap


def _faired(vertices: FloatArray, faces: IntArray, moved: IntArray) -> FloatArray:
    """Vertices with `moved` (n,) and some rings around them on the surface of least bending, by the edges' graph."""
    free = np.zeros(len(vertices), dtype=bool)
    free[moved] = True
    for _ in range(_RINGS):
        free[faces[free[faces].any(axis=1)]] = True
    held = free.copy()
    for _ in range(_HELD):
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
