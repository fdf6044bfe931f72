"""Marching cubes on a coarse-to-fine narrow band: the surface of a field, without a dense grid of evaluations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes

from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.errors import InputError
from imhead.types import FloatArray, IntArray, Mesh

Field = Callable[[FloatArray], FloatArray]

SLOPE_BOUND = 1.3
"""Steepest change of the field, mm per mm, that the band allows for. The warp that shuts the lips is the steepest."""
_LEVELS = 3  # the coarsest cells are 2^3 times as long as the finest


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
    step = 2**_LEVELS
    cells = [int(np.ceil(side / spacing / step)) * step for side in extent]
    return spacing, (cells[0] + 1, cells[1] + 1, cells[2] + 1)


def dense_grid(field: Field, resolution: int) -> Grid:
    """The slow, obvious grid: the field everywhere. The reference for `band_grid`."""
    spacing, shape = grid_layout(resolution)
    points = np.indices(shape).reshape(3, -1).T * spacing + BOUNDS_MIN_MM
    return Grid(BOUNDS_MIN_MM, spacing, field(points).reshape(shape).astype(np.float32), len(points))


def band_grid(field: Field, resolution: int) -> Grid:
    """The field near its zero set only: coarse samples first, then the halves of cells that may hold the surface.

    A cell is refined if a corner is nearer to zero than the slope bound times the cell's diagonal, or signs differ.
    """
    spacing, shape = grid_layout(resolution)
    step = 2**_LEVELS
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
    if not (grid.values.min() < 0.0 < grid.values.max()):
        raise InputError("this head has no surface inside the bounds; its codes are far from any head")
    vertices, faces, _, _ = marching_cubes(grid.values, 0.0, gradient_direction="descent")
    return Mesh(vertices * grid.spacing_mm + grid.origin_mm, faces)


def largest_component(mesh: Mesh) -> Mesh:
    """The component with the most faces: drops sealed voids, such as the mouth behind closed lips, and specks."""
    edges = mesh.faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    count = len(mesh.vertices)
    graph = coo_matrix((np.ones(len(edges), dtype=bool), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    kept = label == np.bincount(label[mesh.faces[:, 0]]).argmax()
    renumber = np.cumsum(kept) - 1
    return Mesh(mesh.vertices[kept], renumber[mesh.faces[kept[mesh.faces[:, 0]]]])


def extract_mesh(field: Field, resolution: int = 256) -> Mesh:
    """The surface of a head's field; one closed component."""
    return largest_component(surface_of(band_grid(field, resolution)))
