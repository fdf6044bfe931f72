"""Triangles of divided and undivided cells, joined without a gap."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from imhead.isosurface.cells import triangles_of, vertices_of
from imhead.isosurface.division import ACROSS, PARTS, DividedCells, face_corners, finer_lattice, finer_triangles
from imhead.isosurface.refinement import Surface
from imhead.types import FloatArray, IntArray, Mesh


def joined(surface: Surface, divided: DividedCells) -> Mesh:
    """The mesh of the divided cells and of the others, closed along their seam.

    Where the coarse surface has a vertex on an edge of the grid, the finer triangles use it instead of their own.
    """
    samples, lattice = surface.samples, surface.samples.lattice
    finer = finer_lattice(lattice)
    whole = np.setdiff1d(np.flatnonzero(surface.case), divided.cells, assume_unique=True)
    coarse = triangles_of(samples.values, whole, surface.case[whole], lattice).keys
    coarse_keys = np.unique(coarse)
    fine, fine_keys, fine_places = finer_triangles(divided, lattice)
    # the coarse vertex on a grid edge stands in for the vertex of the finer edge there
    start, axis = finer.coordinates(fine_keys >> 2), fine_keys & 3
    across = np.array([[1, 2, 0], [0, 2, 1], [0, 1, 2]])[np.minimum(axis, 2)]
    first, second = (np.take_along_axis(start, across[:, k : k + 1], axis=1)[:, 0] % PARTS for k in (0, 1))
    on_edge = (axis < 3) & (first == 0) & (second == 0)
    above = 4 * np.ravel_multi_index(tuple((start // PARTS).T), lattice.shape) + axis
    on_edge &= np.isin(above, coarse_keys)
    row = np.full(len(fine_keys), -1)
    row[on_edge] = np.searchsorted(coarse_keys, above[on_edge])
    row[~on_edge] = len(coarse_keys) + np.arange(np.count_nonzero(~on_edge))
    vertices = np.concatenate([vertices_of(samples.values, coarse_keys, lattice), fine_places[~on_edge]])
    # finer vertices inside a face of the coarse grid, and that face
    on_face = (axis < 3) & ((first == 0) != (second == 0))
    across_face = np.where(first == 0, across[:, 0], across[:, 1])
    face = 4 * np.ravel_multi_index(tuple((start // PARTS).T), lattice.shape) + across_face
    lines = _lines(*_rim(surface, divided, coarse_keys), vertices, face[on_face], row[on_face])
    faces, middles = _split(np.searchsorted(coarse_keys, coarse), vertices, lines)
    return Mesh(np.concatenate([vertices, middles]), np.concatenate([faces, row[fine]]))


def _rim(surface: Surface, divided: DividedCells, coarse_keys: IntArray) -> tuple[IntArray, IntArray]:
    """Faces (R,) between divided and undivided cells crossed by one coarse edge; rows (R, 2) of its vertices."""
    lattice = surface.samples.lattice
    inside = np.zeros(lattice.count, dtype=bool)
    inside[divided.cells] = True
    faces, ends = [], []
    for axis, side in ACROSS:
        beyond = divided.cells + side * lattice.strides[axis]
        cells = divided.cells[~inside[beyond] & (surface.case[beyond] != 0)]
        corners = face_corners(axis, side)
        signs = surface.case[cells, None] >> corners & 1
        crossed = signs != np.roll(signs, -1, axis=1)
        once = crossed.sum(axis=1) == 2
        cells, crossed = cells[once], crossed[once]
        # the key of an edge: its lower corner and the axis along which its corners differ
        around = np.stack([corners, np.roll(corners, -1)])
        along = np.log2(around[0] ^ around[1]).astype(np.int64)
        keys = 4 * (cells[:, None] + lattice.corners()[around.min(axis=0)]) + along
        ends.append(np.sort(np.searchsorted(coarse_keys, keys[crossed].reshape(-1, 2)), axis=1))
        faces.append(4 * (cells + (side > 0) * lattice.strides[axis]) + axis)
    return np.concatenate(faces), np.concatenate(ends)


def _lines(
    rim: IntArray, ends: IntArray, vertices: FloatArray, face: IntArray, row: IntArray
) -> dict[tuple[int, int], list[int]]:
    """For each face of the rim (R,) the vertices `row` (N,) inside it, in order from one end (R, 2) to the other."""
    if not len(rim):
        return {}
    order = np.argsort(rim)
    rim, ends = rim[order], ends[order]
    which = np.minimum(np.searchsorted(rim, face), len(rim) - 1)
    on_rim = rim[which] == face
    which, row = which[on_rim], row[on_rim]
    first, last = vertices[ends[which, 0]], vertices[ends[which, 1]]
    # on an interpolated face the line is monotone along both axes, so the projection orders it
    order = np.lexsort((((vertices[row] - first) * (last - first)).sum(axis=1), which))
    which, row = which[order], row[order]
    begins = np.flatnonzero(np.diff(which, prepend=-1))
    lines = [line.tolist() for line in np.split(row, begins[1:])]
    return {(a, b): line for (a, b), line in zip(ends[which[begins]].tolist(), lines)}


def _split(
    triangles: IntArray, vertices: FloatArray, lines: dict[tuple[int, int], list[int]]
) -> tuple[IntArray, FloatArray]:
    """The triangles (T, 3), divided at the vertices of `lines` along their edges, and the vertices (M, 3) this adds."""
    edges = np.sort(np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2), axis=2)
    known = np.array(list(lines), dtype=np.int64).reshape(-1, 2)
    touched = np.isin(edges @ [len(vertices), 1], known @ [len(vertices), 1]).any(axis=1)
    added: list[list[int]] = []
    middles: list[FloatArray] = []
    for a, b, c in triangles[touched].tolist():
        sides = [[u, *_between(lines, u, v)] for u, v in ((a, b), (b, c), (c, a))]
        long = [k for k in range(3) if len(sides[k]) > 1]
        around = sides[long[0]] + sides[(long[0] + 1) % 3] + sides[(long[0] + 2) % 3]
        if len(long) == 1:  # a fan from the corner opposite the divided side
            apex = around.pop()
        else:
            apex = len(vertices) + len(middles)
            middles.append(vertices[[a, b, c]].mean(axis=0))
            around.append(around[0])
        added += [[u, v, apex] for u, v in pairwise(around)]
    rest = triangles[~touched]
    return np.concatenate([rest, np.array(added, dtype=np.int64).reshape(-1, 3)]), np.array(middles).reshape(-1, 3)


def _between(lines: dict[tuple[int, int], list[int]], start: int, end: int) -> list[int]:
    return lines.get((start, end), []) if start < end else lines.get((end, start), [])[::-1]
