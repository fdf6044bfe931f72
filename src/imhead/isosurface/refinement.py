"""The cells that a field's surface passes, found from coarse to fine.

1. A coarse cell is divided into eight parts. Those that the surface can reach, given the values at the cell's corners
   and a bound on the slope of the field, are divided again.
2. Edges of the last parts whose ends differ in sign are halved until a finest cell is left.
3. From each cell that the surface passes, it is followed into the neighbours that it enters, whatever the slope.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imhead.isosurface.cells import CORNERS, Lattice, Numbering, case_table, cell_cases
from imhead.types import BoolArray, FloatArray, IntArray

SLOPE_BOUND = 1.3
"""Largest slope of the field, mm per mm, that refinement assumes. It is steepest where the warp shuts the lips."""
LEVELS = 3
"""The coarsest cells are 2^LEVELS times as long as the finest."""
SEARCH_MM = 7.0
"""A component of the surface that fits between points this far apart, or two spacings if more, may be missed."""

# _RULED_OUT[d][corners]: parts ruled out by corners that differ from the parts' own corners in d axes; both as bit sets
_APART = np.array([[bin(a ^ b).count("1") for b in range(8)] for a in range(8)])
_RULED_OUT = np.zeros((4, 256), dtype=np.uint8)
for _d in range(4):
    for _corner in range(8):
        _parts = int((1 << np.flatnonzero(_APART[_corner] == _d)).sum())
        _RULED_OUT[_d, (np.arange(256) >> _corner & 1) == 1] |= _parts
# greatest distance from such a corner to a point of the part, in lengths of the cell
_FARTHEST = np.sqrt([0.75, 1.5, 2.25, 3.0])


class GridSamples:
    """Values of a field at the points of a lattice, evaluated on first use.

    Args:
        field: distinct flat indices (N,) → values (N,) in mm.
    """

    def __init__(self, lattice: Lattice, field: Callable[[IntArray], FloatArray]) -> None:
        self.lattice = lattice
        self.values: FloatArray = np.zeros(lattice.count, dtype=np.float32)
        self.known: BoolArray = np.zeros(lattice.count, dtype=bool)
        self.evaluations = 0
        self.numbering = Numbering(lattice.count)
        self._field = field

    def evaluate(self, points: IntArray) -> None:
        """Evaluate the field at those of `points` (N,) that are not known; the points may repeat."""
        missing = points[~self.known[points]]
        if not len(missing):
            return
        missing = self.numbering.distinct(missing)
        self.values[missing] = self._field(missing)
        self.known[missing] = True
        self.evaluations += len(missing)

    def forget(self, points: IntArray) -> None:
        """Mark the values at `points` (N,) as not known."""
        self.known[points] = False


def coarsest_cells(lattice: Lattice) -> IntArray:
    """Flat indices of the lowest corners of the coarsest cells."""
    step = 2**LEVELS
    first = [np.arange(0, n - 1, step) for n in lattice.shape]
    return np.ravel_multi_index(np.meshgrid(*first, indexing="ij"), lattice.shape).reshape(-1)


def touching_cells(points: IntArray, lattice: Lattice) -> IntArray:
    """Lowest corners of the coarsest cells that hold one of `points` (N,), faces included; distinct."""
    step = 2**LEVELS
    # one layer more on each axis, for points on the last face
    layers = np.array(lattice.shape) // step + 1
    strides = (int(layers[1] * layers[2]), int(layers[2]), 1)
    place = np.unravel_index(points.astype(np.int32), lattice.shape)
    cell = sum(along // step * stride for along, stride in zip(place, strides))
    # on a face a point belongs to the cell on either side
    on_face = np.stack([(along % step == 0) & (along > 0) for along in place])
    for axis, stride in enumerate(strides):
        more = np.flatnonzero(on_face[axis])
        cell = np.concatenate([cell, cell[more] - stride])
        on_face = np.concatenate([on_face, on_face[:, more]], axis=1)
    touched = np.zeros(layers, dtype=bool)
    touched.reshape(-1)[cell] = True
    return np.argwhere(touched[:-1, :-1, :-1]) * step @ lattice.strides


def refine(samples: GridSamples, cells: IntArray) -> IntArray:
    """Finest cells that the surface passes, at least one on each edge of a search cell whose ends differ in sign.

    Search cells are the parts of the coarsest `cells` that the surface can reach, halved until they are no longer than
    SEARCH_MM or two spacings. Pieces of the surface between their corners are missed here; `Surface.follow` finds those
    that belong to something larger. The result depends only on values in the coarsest cells and on their faces.
    """
    lattice = samples.lattice
    step, least = 2**LEVELS, _search_step(lattice)
    while step > least:
        corners = cells[:, None] + lattice.corners(step)
        samples.evaluate(corners.reshape(-1))
        parts = _reachable_parts(samples.values[corners], step * lattice.spacing_mm)
        kept = (parts[:, None] >> np.arange(8, dtype=np.uint8) & 1).astype(bool)
        step //= 2
        cells = (cells[:, None] + lattice.corners(step))[kept]
    samples.evaluate((cells[:, None] + lattice.corners(step)).reshape(-1))
    return _crossings(samples, cells, step)


def search_points(points: IntArray, lattice: Lattice) -> IntArray:
    """Those of `points` (N,) that can be corners of search cells."""
    return points[(lattice.coordinates(points) % _search_step(lattice) == 0).all(axis=1)]


def _search_step(lattice: Lattice) -> int:
    """Length of the search cells, in spacings."""
    step = 2**LEVELS
    while step > 2 and step * lattice.spacing_mm > SEARCH_MM:
        step //= 2
    return step


def _crossings(samples: GridSamples, cells: IntArray, step: int) -> IntArray:
    """Finest cells where the surface crosses those edges of cells `step` long whose ends differ in sign; may repeat."""
    lattice = samples.lattice
    inside = samples.values[cells[:, None] + lattice.corners(step)] <= 0.0
    starts, strides = [], []
    for axis, stride in enumerate(lattice.strides):
        near = CORNERS[:, axis] == 0
        crossed = inside[:, near] != inside[:, ~near]
        starts.append(samples.numbering.distinct((cells[:, None] + lattice.corners(step)[near])[crossed]))
        strides.append(np.full(len(starts[-1]), stride))
    start, along = np.concatenate(starts), np.concatenate(strides)
    while step > 1:
        step //= 2
        middle = start + step * along
        samples.evaluate(middle)
        start = np.where((samples.values[start] <= 0.0) != (samples.values[middle] <= 0.0), start, middle)
    # an edge on the last layer of an axis has its cells on the other side
    return start - (lattice.coordinates(start) == np.array(lattice.shape) - 1) @ lattice.strides


def _reachable_parts(values: FloatArray, length_mm: float) -> IntArray:
    """(N,) bit sets of the parts that the surface can reach, from the values (N, 8) at the corners of cells."""
    inside = np.packbits(values <= 0.0, axis=1, bitorder="little")[:, 0]
    distance = np.abs(values)
    ruled_out = np.zeros(len(values), dtype=np.uint8)
    for apart, farthest in enumerate(_FARTHEST):
        too_far = np.packbits(distance > SLOPE_BOUND * farthest * length_mm, axis=1, bitorder="little")[:, 0]
        ruled_out |= _RULED_OUT[apart, too_far]
    ruled_out[(inside != 0) & (inside != 255)] = 0  # the surface is there, however steep the field
    return ~ruled_out


class Surface:
    """The finest cells that a surface passes, and their cases."""

    def __init__(self, samples: GridSamples) -> None:
        lattice = samples.lattice
        self.samples = samples
        self.case: IntArray = np.zeros(lattice.count, dtype=np.uint8)
        """(P,) the case of each cell that the surface passes; 0 elsewhere."""
        self._seen: BoolArray = np.zeros(lattice.count, dtype=bool)
        # no cell begins at the last points of an axis, and a step back from the first points wraps around to them
        for axis in range(3):
            np.moveaxis(self._seen.reshape(lattice.shape), axis, 0)[-1] = True

    def forget_cells_at(self, points: IntArray) -> IntArray:
        """Forget the cases of all cells with one of `points` (N,) at a corner; returns those cells, distinct."""
        left: list[IntArray] = []
        for corner in self.samples.lattice.corners():
            cells = points - corner
            left.append(cells[self.case[cells] != 0])
            self.case[left[-1]] = 0
        return np.concatenate(left)

    def surely_passed(self, cells: IntArray) -> IntArray:
        """Those of the cells (N,) that the surface passes whatever their unknown values are."""
        corners = cells[:, None] + self.samples.lattice.corners()
        known, inside = self.samples.known[corners], self.samples.values[corners] <= 0.0
        return cells[(known & inside).any(axis=1) & (known & ~inside).any(axis=1)]

    def follow(self, cells: IntArray) -> IntArray:
        """Follow the surface from those of `cells` (N,) that it passes; returns the cells found, distinct.

        Cells that already have a case are skipped; `cells` may repeat.
        """
        cells = self.samples.numbering.distinct(cells[self.case[cells] == 0])
        mixed = case_table().mixed_faces
        found: list[IntArray] = []
        visited: list[IntArray] = []
        while len(cells):
            visited.append(cells)
            self._seen[cells] = True
            self.samples.evaluate((cells[:, None] + self.samples.lattice.corners()).reshape(-1))
            case = cell_cases(self.samples.values, cells, self.samples.lattice)
            passed = (case != 0) & (case != 255)
            cells, case = cells[passed], case[passed]
            self.case[cells] = case
            found.append(cells)
            ahead = [cells[mixed[case] >> face & 1 == 1] + step for face, step in enumerate(self._steps())]
            ahead = [n[(self.case[n] == 0) & ~self._seen[n]] for n in ahead]
            cells = self.samples.numbering.distinct(np.concatenate(ahead))
        for cells in visited:
            self._seen[cells] = False
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

    def _steps(self) -> list[int]:
        return [side * int(stride) for stride in self.samples.lattice.strides for side in (-1, 1)]
