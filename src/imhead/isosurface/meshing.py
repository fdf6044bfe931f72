"""Coarse-to-fine marching cubes: the surface of a field without evaluating it at every grid point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.errors import InputError
from imhead.isosurface.cells import Lattice, all_cases, triangles_of, vertices_of
from imhead.isosurface.refinement import LEVELS, GridSamples, Surface, coarsest_cells, refine
from imhead.isosurface.splicing import in_largest_component
from imhead.types import DistanceField, FloatArray, IntArray, Mesh

NO_SURFACE = "this head has no surface inside the bounds; its codes are far from any head"


@dataclass(frozen=True, eq=False)
class Grid:
    """Samples of a field on a regular grid over the common bounds."""

    origin_mm: FloatArray
    """(3,) head frame, mm: the first point."""
    spacing_mm: float
    """Distance between neighbouring points, mm."""
    values: FloatArray
    """(X, Y, Z) float32, mm."""


def grid_layout(resolution: int) -> tuple[float, tuple[int, int, int]]:
    """Spacing in mm and samples per axis, for `resolution` cells along the longest side of the bounds.

    Raises:
        InputError: a resolution outside 16 to 1024.
    """
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
    """The field at every grid point: slow and obvious, the reference that `extract_mesh` is tested against."""
    spacing, shape = grid_layout(resolution)
    points = np.indices(shape).reshape(3, -1).T * spacing + BOUNDS_MIN_MM
    return Grid(BOUNDS_MIN_MM, spacing, field(points).reshape(shape).astype(np.float32))


def surface_of(grid: Grid) -> Mesh:
    """Marching cubes of a grid, head frame, mm, faces counter-clockwise seen from outside.

    Raises:
        InputError: the field has no zero set in the bounds.
    """
    lattice = Lattice(grid.origin_mm, grid.spacing_mm, grid.values.shape)
    case = all_cases(grid.values).reshape(-1)
    cells = np.flatnonzero((case != 0) & (case != 255))
    return _mesh_of(grid.values.reshape(-1), cells, case[cells], lattice)


def largest_component(mesh: Mesh) -> Mesh:
    """The component with the most faces; drops specks and sealed voids, such as the mouth behind closed lips."""
    chosen = mesh.faces[in_largest_component(mesh.faces, len(mesh.vertices))]
    kept = np.zeros(len(mesh.vertices), dtype=bool)
    kept[chosen] = True
    return Mesh(mesh.vertices[kept], (np.cumsum(kept) - 1)[chosen])


def extract_mesh(field: DistanceField, resolution: int = 256) -> Mesh:
    """The surface of a head's field as one closed component, head frame, mm.

    It equals the largest component of the dense grid's surface if refinement finds one cell of that: from there the
    surface is followed, however steep the field. Components thinner than 7 mm, or than two spacings if longer, may be
    missed.

    Raises:
        InputError: a resolution out of range, or no zero set in the bounds.
    """
    surface, cells = surface_in(field, lattice_of(resolution))
    samples = surface.samples
    return largest_component(_mesh_of(samples.values, cells, surface.case[cells], samples.lattice))


def surface_in(field: DistanceField, lattice: Lattice) -> tuple[Surface, IntArray]:
    """The surface that refinement finds in a field, and the cells (N,) that it passes, ascending."""
    samples = GridSamples(lattice, lambda points: field(lattice.positions_mm(points)))
    surface = Surface(samples)
    return surface, np.sort(surface.follow(refine(samples, coarsest_cells(lattice))))


def _mesh_of(values: FloatArray, cells: IntArray, case: IntArray, lattice: Lattice) -> Mesh:
    if not len(cells):
        raise InputError(NO_SURFACE)
    keys, faces = np.unique(triangles_of(values, cells, case, lattice).keys, return_inverse=True)
    return Mesh(vertices_of(values, keys, lattice), faces.reshape(-1, 3))
