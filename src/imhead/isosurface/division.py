"""Cells of a surface that are divided into finer ones, and the field at their samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imhead.isosurface.cells import Lattice, cell_cases, triangles_of, vertex_steps
from imhead.isosurface.refinement import Surface
from imhead.types import BoolArray, DistanceField, FloatArray, IntArray

PARTS = 4
"""Finer cells along the side of a cell that is divided."""
REACH = 4
"""Number of cells in a row into which a finer surface is followed where the coarse one does not pass."""
_SIDE = PARTS + 1  # samples along the side of a divided cell
AROUND = np.array([d for d in np.ndindex(3, 3, 3) if d != (1, 1, 1)]) - 1
"""(26, 3) steps to the neighbours of a cell. Steps off the lattice lead to the last points of an axis."""
ACROSS = [(axis, side) for axis in range(3) for side in (-1, 1)]
"""The six faces of a cell: the axis normal to each, and its side."""


@dataclass(frozen=True, eq=False)
class DividedCells:
    """Divided cells and the field at their samples; s = PARTS + 1 samples along a side."""

    cells: IntArray
    """(N,) ascending."""
    samples: IntArray
    """(N, s, s, s) flat indices in the finer lattice."""
    values: FloatArray
    """(N, s, s, s) mm."""


def divide(field: DistanceField, surface: Surface, cells: IntArray) -> DividedCells:
    """The cells (N,), divided, with those into which the finer surface continues.

    A sample shared with an undivided cell is interpolated from that cell's corners if the coarse surface passes the
    cell, or if the finer surface is followed no further: there it ends.
    """
    lattice = surface.samples.lattice
    inside, closed = np.zeros(lattice.count, dtype=bool), np.zeros(lattice.count, dtype=bool)
    finer = finer_lattice(lattice)
    known: tuple[IntArray, FloatArray] = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
    for turn in range(REACH + 2):
        inside[cells] = True
        while len(more := _across_ambiguous_faces(surface, inside)):
            inside[more] = True
        every = np.flatnonzero(inside)
        points = _points(finer, lattice, every)
        interpolated = _is_interpolated(surface, every, inside, closed)
        interpolated[:, ::PARTS, ::PARTS, ::PARTS] = True
        asked = points[~interpolated]
        known = _with_values_at(known, np.sort(asked), lambda new: field(finer.positions_mm(new)))
        values = _interpolated(surface.samples.values[every[:, None] + lattice.corners()])
        values[~interpolated] = known[1][np.searchsorted(known[0], asked)]
        divided = DividedCells(every, points, values)
        beyond = _entered_cells(surface, divided, inside)
        if not len(beyond):
            return divided
        # no cell begins at the last points of an axis
        ends = (lattice.coordinates(beyond) == np.array(lattice.shape) - 1).any(axis=1)
        cells = beyond[~ends] if turn < REACH else beyond[:0]
        surface.follow(cells)
        closed[np.setdiff1d(beyond, cells)] = True
    return divided


def _points(finer: Lattice, lattice: Lattice, cells: IntArray) -> IntArray:
    """(N, s, s, s) flat indices in the finer lattice of the samples of cells (N,)."""
    along = PARTS * lattice.coordinates(cells)[:, None] + np.arange(_SIDE)[None, :, None]
    x, y, z = (along[..., k] * stride for k, stride in enumerate(finer.strides))
    points: IntArray = x[:, :, None, None] + y[:, None, :, None] + z[:, None, None, :]
    return points


def _interpolated(corners: FloatArray) -> FloatArray:
    """(N, s, s, s) float32 trilinear interpolation of the values (N, 8) at the corners of cells."""
    values = corners.reshape(-1, 2, 2, 2).transpose(0, 3, 2, 1).astype(np.float64)  # corner bits run from x
    share = np.arange(_SIDE) / PARTS
    for _ in range(3):  # each step interpolates the first axis and moves it to the end
        values = values[:, 0, ..., None] * (1.0 - share) + values[:, 1, ..., None] * share
    return values.astype(np.float32)


def _with_values_at(
    known: tuple[IntArray, FloatArray], wanted: IntArray, ask: Callable[[IntArray], FloatArray]
) -> tuple[IntArray, FloatArray]:
    """Known points (K,), ascending, and their values (K,), extended by those of `wanted` (N,), ascending."""
    points, values = known
    wanted = wanted[np.append(True, wanted[1:] != wanted[:-1])[: len(wanted)]]
    row = np.searchsorted(points, wanted)
    new = np.ones(len(wanted), dtype=bool)
    within = row < len(points)
    new[within] = points[row[within]] != wanted[within]
    return np.insert(points, row[new], wanted[new]), np.insert(values, row[new], ask(wanted[new]))


def finer_lattice(lattice: Lattice) -> Lattice:
    """The lattice with PARTS cells along each cell of another."""
    x, y, z = (PARTS * (n - 1) + 1 for n in lattice.shape)
    return Lattice(lattice.origin_mm, lattice.spacing_mm / PARTS, (x, y, z))


def _is_interpolated(surface: Surface, cells: IntArray, inside: BoolArray, closed: BoolArray) -> BoolArray:
    """(N, s, s, s) True for samples of divided cells (N,) shared with an undivided one that is passed or closed."""
    interpolated = np.zeros((len(cells), _SIDE, _SIDE, _SIDE), dtype=bool)
    for step in AROUND:
        beyond = cells + step @ surface.samples.lattice.strides
        undivided = ~inside[beyond] & ((surface.case[beyond] != 0) | closed[beyond])
        x, y, z = (slice(None) if s == 0 else slice(0, 1) if s < 0 else slice(PARTS, None) for s in step)
        interpolated[undivided, x, y, z] = True
    return interpolated


def _entered_cells(surface: Surface, divided: DividedCells, inside: BoolArray) -> IntArray:
    """Undivided cells into which the finer surface continues, but the coarse one does not."""
    lattice, found = surface.samples.lattice, []
    for axis, side in ACROSS:
        signs = np.take(divided.values, 0 if side < 0 else PARTS, axis=axis + 1).reshape(-1, _SIDE * _SIDE) <= 0.0
        beyond = (divided.cells + side * lattice.strides[axis]) % lattice.count
        on = signs.any(axis=1) & ~signs.all(axis=1) & ~inside[beyond] & (surface.case[beyond] == 0)
        found.append(beyond[on])
    return np.unique(np.concatenate(found))


def finer_triangles(divided: DividedCells, lattice: Lattice) -> tuple[IntArray, IntArray, FloatArray]:
    """Triangles of the divided cells: faces (T, 3), and keys (V,) and positions (V, 3) in mm of their vertices."""
    finer = finer_lattice(lattice)
    stacked = Lattice(np.zeros(3), 1.0, (_SIDE * len(divided.cells), _SIDE, _SIDE))
    values = divided.values.reshape(-1)
    lowest = np.indices((PARTS,) * 3).reshape(3, -1).T @ stacked.strides
    cells = (np.arange(len(divided.cells))[:, None] * _SIDE**3 + lowest).reshape(-1)
    case = cell_cases(values, cells, stacked)
    passed = (case != 0) & (case != 255)
    stacked_keys = triangles_of(values, cells[passed], case[passed], stacked).keys
    keys = 4 * divided.samples.reshape(-1)[stacked_keys >> 2] + (stacked_keys & 3)
    keys, first, faces = np.unique(keys, return_index=True, return_inverse=True)
    steps = finer.coordinates(keys >> 2) + vertex_steps(values, stacked_keys.reshape(-1)[first], stacked)
    return faces.reshape(-1, 3), keys, steps * finer.spacing_mm + finer.origin_mm


def face_corners(axis: int, side: int) -> IntArray:
    """(4,) corners of a cell on one of its faces, in order around it."""
    others = [k for k in range(3) if k != axis]
    around = []
    for first, second in ((0, 0), (1, 0), (1, 1), (0, 1)):
        bits = [0, 0, 0]
        bits[axis], bits[others[0]], bits[others[1]] = int(side > 0), first, second
        around.append(bits[0] | bits[1] << 1 | bits[2] << 2)
    return np.array(around)


def _across_ambiguous_faces(surface: Surface, chosen: BoolArray) -> IntArray:
    """Cells that are not chosen (P,), but share a face with a chosen one on which two edges of the surface lie."""
    cells, strides = np.flatnonzero(chosen), surface.samples.lattice.strides
    found = []
    for axis, side in ACROSS:
        inside = surface.case[cells, None] >> face_corners(axis, side) & 1
        ambiguous = (inside[:, 0] == inside[:, 2]) & (inside[:, 1] == inside[:, 3]) & (inside[:, 0] != inside[:, 1])
        beyond = cells[ambiguous] + side * strides[axis]
        found.append(beyond[~chosen[beyond] & (surface.case[beyond] != 0)])
    return np.concatenate(found)
