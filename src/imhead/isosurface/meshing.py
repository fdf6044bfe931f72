"""Marching cubes on a coarse-to-fine narrow band: the surface of a field, without a dense grid of evaluations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.errors import InputError
from imhead.isosurface.cells import Lattice, all_cases, triangles_of, vertices_of
from imhead.isosurface.refinement import LEVELS, SLOPE_BOUND, Samples, Surface, coarsest_cells, refine
from imhead.isosurface.splicing import largest
from imhead.types import DistanceField, FloatArray, IntArray, Mesh

__all__ = [
    "NO_SURFACE", "SLOPE_BOUND", "DistanceField", "Grid", "band_grid", "dense_grid", "extract_mesh", "grid_layout",
    "largest_component", "lattice_of", "surface_in", "surface_of",
]  # fmt: skip


NO_SURFACE = "this head has no surface inside the bounds; its codes are far from any head"


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid of field samples over the common bounds."""

    origin_mm: FloatArray
    spacing_mm: float
    values: FloatArray
    """(X, Y, Z) float32, mm. Away from the surface, values of the nearest coarser sample: only their sign counts."""
    evaluations: int
    """Points at which the field was asked."""


def grid_layout(resolution: int) -> tuple[float, tuple[int, int, int]]:
    """Spacing in mm and samples per axis, for `resolution` cells along the longest side of the bounds."""
    if not 16 <= resolution <= 1024:
        raise InputError(f"resolution {resolution} is outside 16 to 1024 cells")
    extent = BOUNDS_MAX_MM - BOUNDS_MIN_MM
    spacing = float(extent.max()) / resolution
    step = 2**LEVELS
    cells = [int(np.ceil(side / spacing / step)) * step for side in extent]
    return spacing, (cells[0] + 1, cells[1] + 1, cells[2] + 1)


def lattice_of(resolution: int) -> Lattice:
    """The grid over the common bounds, for `resolution` cells along their longest side."""
    return Lattice(BOUNDS_MIN_MM, *grid_layout(resolution))


def dense_grid(field: DistanceField, resolution: int) -> Grid:
    """The slow, obvious grid: the field everywhere. The reference for `band_grid`."""
    spacing, shape = grid_layout(resolution)
    points = np.indices(shape).reshape(3, -1).T * spacing + BOUNDS_MIN_MM
    return Grid(BOUNDS_MIN_MM, spacing, field(points).reshape(shape).astype(np.float32), len(points))


def band_grid(field: DistanceField, resolution: int) -> Grid:
    """The field near its zero set only: coarse samples first, then the halves of cells that may hold the surface.

    A cell is refined if a corner is nearer to zero than the slope bound times the cell's diagonal, or signs differ.
    """
    spacing, shape = grid_layout(resolution)
    step = 2**LEVELS
    coarse_shape = tuple((n - 1) // step + 1 for n in shape)
    index = np.indices(coarse_shape).reshape(3, -1).T * step
    values = field(index * spacing + BOUNDS_MIN_MM).reshape(coarse_shape).astype(np.float32)
    evaluations = values.size
    while step > 1:
        cells = _cells_near_zero(values, SLOPE_BOUND * np.sqrt(3.0) * step * spacing)
        step //= 2
        fine = np.repeat(np.repeat(np.repeat(values, 2, 0), 2, 1), 2, 2)[:-1, :-1, :-1]
        wanted = np.zeros(fine.shape, dtype=bool)
        for corner in np.ndindex(3, 3, 3):
            wanted[tuple((2 * cells + corner).T)] = True
        wanted[::2, ::2, ::2] = False  # known from the coarser level
        rows = np.argwhere(wanted)
        fine[tuple(rows.T)] = field(rows * (step * spacing) + BOUNDS_MIN_MM)
        evaluations += len(rows)
        values = fine
    return Grid(BOUNDS_MIN_MM, spacing, values, evaluations)


def _cells_near_zero(values: FloatArray, band: float) -> IntArray:
    corners = [
        values[x : values.shape[0] - 1 + x, y : values.shape[1] - 1 + y, z : values.shape[2] - 1 + z]
        for x, y, z in np.ndindex(2, 2, 2)
    ]
    low, high = corners[0].copy(), corners[0].copy()
    nearest = np.abs(corners[0])
    for corner in corners[1:]:
        np.minimum(low, corner, out=low)
        np.maximum(high, corner, out=high)
        np.minimum(nearest, np.abs(corner), out=nearest)
    return np.argwhere(((low < 0) & (high >= 0)) | (nearest < band / 2))


def surface_of(grid: Grid) -> Mesh:
    """Marching cubes of a grid, head frame, mm, faces counter-clockwise from outside.

    Raises:
        InputError: the field has no zero set in the bounds.
    """
    lattice = Lattice(grid.origin_mm, grid.spacing_mm, grid.values.shape)
    case = all_cases(grid.values).reshape(-1)
    cells = np.flatnonzero((case != 0) & (case != 255))
    return _mesh_of(grid.values.reshape(-1), cells, case[cells], lattice)


def largest_component(mesh: Mesh) -> Mesh:
    """The component with the most faces: drops sealed voids, such as the mouth behind closed lips, and specks."""
    chosen = mesh.faces[largest(mesh.faces, len(mesh.vertices))]
    kept = np.zeros(len(mesh.vertices), dtype=bool)
    kept[chosen] = True
    return Mesh(mesh.vertices[kept], (np.cumsum(kept) - 1)[chosen])


def extract_mesh(field: DistanceField, resolution: int = 256) -> Mesh:
    """The surface of a head's field; one closed component.

    It is the largest component of the dense grid's surface, whole and exact if refinement finds one cell of it: from
    there it is followed, however steep the field. Voids and specks thinner than 7 mm, or than two spacings where those
    are longer, are not looked for.
    """
    surface, cells = surface_in(field, lattice_of(resolution))
    samples = surface.samples
    return largest_component(_mesh_of(samples.values, cells, surface.case[cells], samples.lattice))


def surface_in(field: DistanceField, lattice: Lattice) -> tuple[Surface, IntArray]:
    """The surface of a field as far as refinement finds it, and the cells (N,) that it passes, ascending."""
    samples = Samples(lattice, lambda points: field(lattice.places_mm(points)))
    surface = Surface(samples)
    return surface, np.sort(surface.follow(refine(samples, coarsest_cells(lattice))))


def _mesh_of(values: FloatArray, cells: IntArray, case: IntArray, lattice: Lattice) -> Mesh:
    if not len(cells):
        raise InputError(NO_SURFACE)
    keys, faces = np.unique(triangles_of(values, cells, case, lattice).keys, return_inverse=True)
    return Mesh(vertices_of(values, keys, lattice), faces.reshape(-1, 3))
