"""Marching cubes cell by cell: the triangles of a list of grid cells, with vertices named by their grid edges.

A grid point is named by its flat index, a cell by its lowest corner. A vertex of the surface is named by a key that no
edit changes: 4 · point + axis for the grid edge that leaves the point along the axis, 4 · cell + 3 for the rare vertex
in the middle of a cell. A sample of exactly zero counts as inside.

The triangles of a cell are those of scikit-image's `lewiner`. Most sign patterns have one triangulation, which is read
from scikit-image once; cells of the few patterns that depend on the values are passed to it each time.

Shape legend: P grid points, N points, cells or keys, T triangles, V vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from skimage.measure import marching_cubes

from imhead.types import BoolArray, FloatArray, IntArray

CORNERS = np.array([(k & 1, k >> 1 & 1, k >> 2) for k in range(8)])
"""(8, 3) corner k of a cell; bit 0 of k is x, bit 1 is y, bit 2 is z."""
_MIDDLE = 12  # local index of the vertex in the middle of a cell; 0 to 11 are its edges
_EDGES = [(k, axis) for axis in range(3) for k in range(8) if not CORNERS[k, axis]]
_EDGE_INDEX = {(tuple(CORNERS[k]), axis): index for index, (k, axis) in enumerate(_EDGES)}
# absolute values given to scikit-image are clipped to this range, in spacings, so that each vertex lies inside its edge
# and names it; the vertex's position is computed from the values as they are
_LEAST, _MOST = 1e-4, 10.0
_BATCH_SIDE = 32  # cells along a side of the block that scikit-image is given


@dataclass(frozen=True, eq=False)
class Lattice:
    """The points of a regular grid."""

    origin_mm: FloatArray
    """(3,) head frame, mm: the first point."""
    spacing_mm: float
    shape: tuple[int, int, int]

    @property
    def count(self) -> int:
        """Number of points."""
        return int(np.prod(self.shape))

    @cached_property
    def strides(self) -> IntArray:
        """(3,) change of a flat index per step along each axis."""
        return np.array([self.shape[1] * self.shape[2], self.shape[2], 1])

    def corners(self, step: int = 1) -> IntArray:
        """(8,) flat-index offsets from the lowest corner of a cell `step` spacings long to each of its corners."""
        return step * (CORNERS @ self.strides)

    def coordinates(self, points: IntArray) -> IntArray:
        """(N, 3) grid coordinates of flat indices (N,)."""
        return np.stack(np.unravel_index(points, self.shape), axis=1)

    def positions_mm(self, points: IntArray) -> FloatArray:
        """(N, 3) head frame, mm, of flat indices (N,)."""
        return self.coordinates(points) * self.spacing_mm + self.origin_mm


@dataclass(frozen=True, eq=False)
class CaseTable:
    """Properties of the 256 sign patterns of a cell, its cases; bit k of a case is set if corner k is inside."""

    triangles: IntArray
    """(256, most, 3) local edges of the triangles of each case that has one triangulation, padded with zeros."""
    counts: IntArray
    """(256,) number of those triangles."""
    ambiguous: BoolArray
    """(256,) True where the triangulation depends on the values."""
    mixed_faces: IntArray
    """(256,) bit 2·axis is set if the surface passes the cell's lower face on the axis, the next bit for the upper."""


@dataclass(frozen=True, eq=False)
class Triangles:
    """Triangles and the cells that they lie in."""

    keys: IntArray
    """(T, 3) vertex keys, counter-clockwise seen from outside."""
    cells: IntArray
    """(T,) cell of each triangle."""

    def where(self, chosen: BoolArray) -> Triangles:
        """Those for which `chosen` (T,) is True."""
        return Triangles(self.keys[chosen], self.cells[chosen])

    @staticmethod
    def joined(parts: list[Triangles]) -> Triangles:
        """All triangles of the parts, in order."""
        return Triangles(np.concatenate([p.keys for p in parts]), np.concatenate([p.cells for p in parts]))


@dataclass(frozen=True, eq=False)
class Patch:
    """Triangles whose vertices are numbered."""

    keys: IntArray
    """(N,) vertex keys, each once."""
    faces: IntArray
    """(T, 3) rows of `keys`, counter-clockwise seen from outside."""
    cells: IntArray
    """(T,) cell of each face."""


class Numbering:
    """Distinct values and look-ups among integers below `count`, without sorting.

    The scratch array of length `count` is never cleared; its stale entries are recognised by comparison.
    """

    def __init__(self, count: int) -> None:
        self._number = np.zeros(count, dtype=np.int32)

    def distinct(self, values: IntArray) -> IntArray:
        """The distinct values of (N,), in order of their last appearance."""
        turn = np.arange(len(values), dtype=np.int32)
        self._number[values] = turn  # the last of several equal values wins
        return values[self._number[values] == turn]

    def find(self, values: IntArray, among: IntArray) -> IntArray:
        """(N,) row of each of `values` (N,) in `among` (M,), whose values are distinct; -1 where there is none."""
        if not len(among):
            return np.full(len(values), -1)
        self._number[among] = np.arange(len(among), dtype=np.int32)
        row = self._number[values]
        row[row >= len(among)] = 0
        return np.where(among[row] == values, row, -1)

    def patch(self, triangles: Triangles) -> Patch:
        """The triangles with their vertices numbered."""
        keys = self.distinct(triangles.keys.reshape(-1))
        self._number[keys] = np.arange(len(keys), dtype=np.int32)
        return Patch(keys, self._number[triangles.keys], triangles.cells)


@cache
def case_table() -> CaseTable:
    """The table of all cases, read from scikit-image once."""
    inside = (np.arange(256)[:, None] >> np.arange(8)) & 1
    of_face = [np.flatnonzero(CORNERS[:, axis] == side) for axis in range(3) for side in (0, 1)]
    ambiguous = np.isin(np.arange(256), [*(1 << k | 128 >> k for k in range(4))])
    ambiguous |= ambiguous[::-1]
    mixed = np.zeros(256, dtype=np.int64)
    for face, corners in enumerate(of_face):
        a, b, c, d = (inside[:, k] for k in corners)
        ambiguous |= (a == d) & (b == c) & (a != b)
        mixed |= ((a != b) | (a != c) | (a != d)).astype(np.int64) << face
    found, owner = _lewiner_triangles(np.where(inside == 1, -1.0, 1.0))
    counts: IntArray = np.bincount(owner, minlength=256)
    triangles = np.zeros((256, int(counts.max()), 3), dtype=np.int64)
    for case in np.flatnonzero(~ambiguous):
        triangles[case, : counts[case]] = found[owner == case]
    return CaseTable(triangles, counts, ambiguous, mixed.astype(np.uint8))


def cell_cases(values: FloatArray, cells: IntArray, lattice: Lattice) -> IntArray:
    """(N,) uint8 cases of cells (N,), from the values (P,) at all grid points."""
    case = np.zeros(len(cells), dtype=np.uint8)
    for k, corner in enumerate(lattice.corners()):
        case |= (values[cells + corner] <= 0.0).view(np.uint8) << np.uint8(k)
    return case


def all_cases(values: FloatArray) -> IntArray:
    """(X, Y, Z) uint8 cases of all cells of a dense grid; 0 at the last points of an axis, where no cell begins."""
    inside = (values <= 0.0).view(np.uint8)
    for axis in range(3):
        after = np.moveaxis(inside, axis, 0)
        after[:-1] |= after[1:] << np.uint8(1 << axis)
    for axis in range(3):
        np.moveaxis(inside, axis, 0)[-1] = 0
    return inside


def triangles_of(values: FloatArray, cells: IntArray, case: IntArray, lattice: Lattice) -> Triangles:
    """The triangles of cells (N,) with cases (N,), from the values (P,) at all grid points."""
    table = case_table()
    ambiguous = table.ambiguous[case]
    plain, kind = cells[~ambiguous], case[~ambiguous]
    counts = table.counts[kind]
    owner = np.repeat(np.arange(len(plain)), counts)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    local: IntArray = table.triangles[kind[owner], nth]
    of_cell: IntArray = plain[owner]
    if ambiguous.any():
        others = cells[ambiguous]
        more, which = _lewiner_triangles(values[others[:, None] + lattice.corners()] / lattice.spacing_mm)
        local, of_cell = np.concatenate([local, more]), np.concatenate([of_cell, others[which]])
    steps = np.array([4 * int(CORNERS[k] @ lattice.strides) + axis for k, axis in _EDGES] + [3])
    return Triangles(4 * of_cell[:, None] + steps[local], of_cell)


def vertices_of(values: FloatArray, keys: IntArray, lattice: Lattice) -> FloatArray:
    """(N, 3) head frame, mm: positions of the vertices with keys (N,), from the values (P,) at all grid points."""
    places = lattice.coordinates(keys >> 2) + vertex_steps(values, keys, lattice)
    return places * lattice.spacing_mm + lattice.origin_mm


def vertex_steps(values: FloatArray, keys: IntArray, lattice: Lattice) -> FloatArray:
    """(N, 3) in spacings: from the grid point of each key (N,) to its vertex."""
    point, axis = keys >> 2, keys & 3
    steps = np.zeros((len(keys), 3))
    rows = np.flatnonzero(axis < 3)
    start = values[point[rows]].astype(np.float64)
    end = values[point[rows] + lattice.strides[axis[rows]]]
    steps[rows, axis[rows]] = start / (start - end)
    rows = np.flatnonzero(axis == 3)
    if len(rows):
        # the mean of the corners, weighted by the inverse of their distances
        weight = 1.0 / np.maximum(np.abs(values[point[rows, None] + lattice.corners()]), 1e-6).astype(np.float64)
        steps[rows] = weight @ CORNERS / weight.sum(axis=1, keepdims=True)
    return steps


def _lewiner_triangles(corner_values: FloatArray) -> tuple[IntArray, IntArray]:
    """scikit-image's triangles of cells (N, 8) whose corner values are in spacings, each cell on its own.

    Returns:
        (T, 3) local edges, (T,) row of each triangle's cell.
    """
    size = np.clip(np.abs(corner_values), _LEAST, _MOST)
    corner_values = np.where(corner_values <= 0.0, -size, size).astype(np.float32)
    local, owner = [np.zeros((0, 3), dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    batch = _BATCH_SIDE**3
    for first in range(0, len(corner_values), batch):
        part = corner_values[first : first + batch]
        vertices, faces = _march_apart(part)
        side = int(np.ceil(len(part) ** (1 / 3)))
        cell = np.minimum((vertices / 2).astype(np.int64), side - 1)
        offset = vertices - 2 * cell
        row = np.ravel_multi_index(tuple(cell.T), (side, side, side))
        whole = (offset == 0.0) | (offset == 1.0)
        edges = np.full(len(vertices), _MIDDLE)
        for (corner, axis), edge in _EDGE_INDEX.items():
            others = [k for k in range(3) if k != axis]
            on = ~whole[:, axis] & (offset[:, others] == np.array(corner)[others]).all(axis=1)
            edges[on] = edge
        local.append(edges[faces])
        owner.append(first + row[faces[:, 0]])
    return np.concatenate(local), np.concatenate(owner)


def _march_apart(part: FloatArray) -> tuple[FloatArray, IntArray]:
    """Marching cubes of cells (N, 8) laid out in a block without touching: cell (i, j, k) begins at (2i, 2j, 2k)."""
    side = int(np.ceil(len(part) ** (1 / 3)))
    stacked = np.ones((side**3, 2, 2, 2), dtype=np.float32)
    stacked[: len(part)] = part.reshape(-1, 2, 2, 2).transpose(0, 3, 2, 1)  # corner bits run from x, arrays end with z
    block = stacked.reshape(side, side, side, 2, 2, 2).transpose(0, 3, 1, 4, 2, 5).reshape(3 * (2 * side,))
    mask = np.zeros(block.shape, dtype=bool)
    mask[1::2, 1::2, 1::2] = True  # a cell is masked by its highest corner
    vertices, faces, _, _ = marching_cubes(block, 0.0, gradient_direction="descent", mask=mask)
    return vertices.astype(np.float64), faces.astype(np.int64)
