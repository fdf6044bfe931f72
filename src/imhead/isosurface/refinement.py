"""Where a field's surface lies, coarse to fine: which cells may hold it, and the cells that it really passes.

Three rules find cells. A coarse cell hands on those of its eight parts that the surface can reach, given the values at
its corners and the steepest slope a field may have. An edge of the last parts whose ends differ in sign is halved until
a finest cell is left. And from a cell that the surface passes it is followed into the neighbours that it enters,
whatever the slope.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imhead.isosurface.cells import CORNERS, Lattice, Numbering, cases, cases_of
from imhead.types import BoolArray, FloatArray, IntArray

SLOPE_BOUND = 1.3
"""Steepest change of the field, mm per mm, that refinement allows for. The warp that shuts the lips is the steepest."""
LEVELS = 3
"""The coarsest cells are 2^LEVELS times as long as the finest."""
SEARCH_MM = 7.0
"""A component of the surface that fits between points so far apart may be missed, where two spacings are less."""

# _RULED_OUT[d][corners]: the parts that corners rule out whose own corner differs from them in d axes; both as bits
_APART = np.array([[bin(a ^ b).count("1") for b in range(8)] for a in range(8)])
_RULED_OUT = np.zeros((4, 256), dtype=np.uint8)
for _d in range(4):
    for _corner in range(8):
        _parts = int((1 << np.flatnonzero(_APART[_corner] == _d)).sum())
        _RULED_OUT[_d, (np.arange(256) >> _corner & 1) == 1] |= _parts
# the farthest that a point of a part can be from such a corner, in lengths of the cell
_FARTHEST = np.sqrt([0.75, 1.5, 2.25, 3.0])


class Samples:
    """Values of a field at the points of a lattice; the field is asked for a value when it is first needed.

    Args:
        ask: flat indices (N,), each once → values (N,) in mm.
    """

    def __init__(self, lattice: Lattice, ask: Callable[[IntArray], FloatArray]) -> None:
        self.lattice = lattice
        self.values: FloatArray = np.zeros(lattice.count, dtype=np.float32)
        self.known: BoolArray = np.zeros(lattice.count, dtype=bool)
        self.evaluations = 0
        self.numbering = Numbering(lattice.count)
        self._ask = ask

    def need(self, points: IntArray) -> None:
        """See to it that the values at `points` (N,) are known; the points may repeat."""
        missing = points[~self.known[points]]
        if not len(missing):
            return
        missing = self.numbering.distinct(missing)
        self.values[missing] = self._ask(missing)
        self.known[missing] = True
        self.evaluations += len(missing)

    def forget(self, points: IntArray) -> None:
        """The values at `points` (N,) count no longer."""
        self.known[points] = False


def coarsest_cells(lattice: Lattice) -> IntArray:
    """Flat indices of the lowest corners of the coarsest cells."""
    step = 2**LEVELS
    first = [np.arange(0, n - 1, step) for n in lattice.shape]
    return np.ravel_multi_index(np.meshgrid(*first, indexing="ij"), lattice.shape).reshape(-1)


def touching_cells(points: IntArray, lattice: Lattice) -> IntArray:
    """Lowest corners of the coarsest cells that hold `points` (N,), on their faces too; each once."""
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


def refine(samples: Samples, cells: IntArray) -> IntArray:
    """Finest cells that the surface passes, at least one on each edge of a search cell whose ends differ in sign.

    Search cells are the parts of the coarsest `cells` that the surface can reach, halved until they are not longer
    than SEARCH_MM or two spacings. What fits between their corners is left out: `Surface.follow` finds it where it
    belongs to something larger. No value depends on anything outside the coarsest cells, their faces included.
    """
    lattice = samples.lattice
    step, least = 2**LEVELS, _search_step(lattice)
    while step > least:
        corners = cells[:, None] + lattice.corners(step)
        samples.need(corners.reshape(-1))
        parts = _reachable_parts(samples.values[corners], step * lattice.spacing_mm)
        kept = (parts[:, None] >> np.arange(8, dtype=np.uint8) & 1).astype(bool)
        step //= 2
        cells = (cells[:, None] + lattice.corners(step))[kept]
    samples.need((cells[:, None] + lattice.corners(step)).reshape(-1))
    return _crossings(samples, cells, step)


def search_points(points: IntArray, lattice: Lattice) -> IntArray:
    """Those of `points` (N,) at which `refine` asks for values before it has found a search cell."""
    return points[(lattice.coordinates(points) % _search_step(lattice) == 0).all(axis=1)]


def _search_step(lattice: Lattice) -> int:
    """Length of the search cells, in spacings."""
    step = 2**LEVELS
    while step > 2 and step * lattice.spacing_mm > SEARCH_MM:
        step //= 2
    return step


def _crossings(samples: Samples, cells: IntArray, step: int) -> IntArray:
    """Finest cells at the crossings of those edges of cells `step` long whose ends differ in sign; may repeat."""
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
        samples.need(middle)
        start = np.where((samples.values[start] <= 0.0) != (samples.values[middle] <= 0.0), start, middle)
    # an edge on the last layer of an axis has its cells on the other side
    return start - (lattice.coordinates(start) == np.array(lattice.shape) - 1) @ lattice.strides


def _reachable_parts(values: FloatArray, length_mm: float) -> IntArray:
    """(N,) bits of the parts that the surface can reach, from the values (N, 8) at a cell's corners."""
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

    def __init__(self, samples: Samples) -> None:
        lattice = samples.lattice
        self.samples = samples
        self.case: IntArray = np.zeros(lattice.count, dtype=np.uint8)
        """(P,) the case of each cell that the surface passes; 0 elsewhere."""
        self._seen: BoolArray = np.zeros(lattice.count, dtype=bool)
        # no cell begins at the last points of an axis, and a step off the first ones comes round to them
        for axis in range(3):
            np.moveaxis(self._seen.reshape(lattice.shape), axis, 0)[-1] = True

    def leave(self, points: IntArray) -> IntArray:
        """Forget the cases of all cells with one of `points` (N,) at a corner; those cells, each once."""
        left: list[IntArray] = []
        for corner in self.samples.lattice.corners():
            cells = points - corner
            left.append(cells[self.case[cells] != 0])
            self.case[left[-1]] = 0
        return np.concatenate(left)

    def bound(self, cells: IntArray) -> IntArray:
        """Those of the cells (N,) that the surface passes whatever the values that are not known."""
        corners = cells[:, None] + self.samples.lattice.corners()
        known, inside = self.samples.known[corners], self.samples.values[corners] <= 0.0
        return cells[(known & inside).any(axis=1) & (known & ~inside).any(axis=1)]

    def follow(self, cells: IntArray) -> IntArray:
        """Look at cells (N,) and follow the surface from those it passes; the cells found, each once.

        Cells that already have a case are neither looked at nor followed; `cells` may repeat.
        """
        cells = self.samples.numbering.distinct(cells[self.case[cells] == 0])
        mixed = cases().mixed_faces
        found: list[IntArray] = []
        looked_at: list[IntArray] = []
        while len(cells):
            looked_at.append(cells)
            self._seen[cells] = True
            self.samples.need((cells[:, None] + self.samples.lattice.corners()).reshape(-1))
            case = cases_of(self.samples.values, cells, self.samples.lattice)
            passed = (case != 0) & (case != 255)
            cells, case = cells[passed], case[passed]
            self.case[cells] = case
            found.append(cells)
            ahead = [cells[mixed[case] >> face & 1 == 1] + step for face, step in enumerate(self._steps())]
            ahead = [n[(self.case[n] == 0) & ~self._seen[n]] for n in ahead]
            cells = self.samples.numbering.distinct(np.concatenate(ahead))
        for cells in looked_at:
            self._seen[cells] = False
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

    def _steps(self) -> list[int]:
        return [side * int(stride) for stride in self.samples.lattice.strides for side in (-1, 1)]
