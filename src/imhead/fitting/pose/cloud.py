"""The scan as the pose search sees it: cleaned points with normals, and nearest-point look-ups.

Coordinates are "scan mm": the scan's own axes about its median, scaled to millimetres by a unit hypothesis. Normals
count up to sign, so inverted or mixed normals change nothing.

Shape legend: N scan points, K template points, B poses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from imhead.errors import InputError
from imhead.surfaces.normals import plane_normals
from imhead.surfaces.sampling import even_subset
from imhead.types import BoolArray, FloatArray

__all__ = ["CleanScan", "Cloud", "Draw", "NearestPoints", "clean_scan", "exact_nearest", "grid_nearest", "make_cloud"]

NearestPoints = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Positions (3, B, K) → nearest scan points (3, B, K) and their normals (3, B, K)."""

Draw = Callable[[int], tuple[FloatArray, FloatArray | None]]
"""At most so many → points (N, 3) of a scan, its own frame and unit, and their normals (N, 3) if it has them."""

MIN_POINTS = 200
_NEIGHBOURS_OF_A_NORMAL = 10
_SPACING_MM = 3.0
_CELL_MM = 4.0
_COARSE_SPACING_MM = 5.0
_COARSE_CELL_MM = 8.0
_COARSE_CELLS = 1_500_000
_MAX_CELLS = 6_000_000
_PADDING_MM = 24.0


@dataclass(frozen=True, eq=False)
class CleanScan:
    """Finite scan points about their median, without far outliers, in the scan's own unit."""

    points: FloatArray
    """(N, 3)."""
    normals: FloatArray
    """(N, 3) unit, of either sign."""
    center: FloatArray
    """(3,) median of the raw points, which was subtracted."""
    redraw: Draw | None = None
    """Draws the raw scan anew; None if there is no more of it than `points`."""

    def extent(self) -> float:
        """Longest side of the box that holds all but 1 % of the points along each axis."""
        return float(np.max(np.quantile(self.points, 0.995, axis=0) - np.quantile(self.points, 0.005, axis=0)))

    def cloud(self, mm_per_unit: float) -> Cloud:
        """The search's cloud if one scan unit is `mm_per_unit`."""
        return make_cloud(self.points * mm_per_unit, self.normals)

    def coarse_cloud(self, mm_per_unit: float) -> Cloud:
        """A smaller one, for coarse poses."""
        return make_cloud(self.points * mm_per_unit, self.normals, _COARSE_CELL_MM, _COARSE_SPACING_MM, _COARSE_CELLS)

    def denser(self, count: int) -> tuple[FloatArray, FloatArray | None]:
        """About `count` points (N, 3) of the same surface, and their normals if the scan has them."""
        if self.redraw is None or count <= len(self.points):
            return self.points, self.normals
        points, normals = self.redraw(count)
        points = np.asarray(points, dtype=np.float64) - self.center
        # the box of the cleaned points leaves out the same far outliers
        margin = 0.05 * np.ptp(self.points, axis=0) + 1e-12
        inside = ((points > self.points.min(0) - margin) & (points < self.points.max(0) + margin)).all(1)
        return points[inside], None if normals is None else np.asarray(normals, dtype=np.float64)[inside]

    def part(self, points: FloatArray, normals: FloatArray | None) -> CleanScan | None:
        """A scan of some of the points (N, 3) about the same centre; None if they are too few for a face."""
        if len(points) < MIN_POINTS:
            return None
        return CleanScan(points, _unit_normals(points, normals, np.ones(len(points), dtype=bool)), self.center)


def clean_scan(
    points: NDArray[np.floating], normals: NDArray[np.floating] | None, redraw: Draw | None = None
) -> CleanScan:
    """Centre raw points (N, 3), drop far outliers, and complete the normals (N, 3).

    Args:
        points: of the scan.
        normals: of either sign, or None.
        redraw: draws more of the same scan, for one much larger than a head.

    Raises:
        InputError: wrong shapes, NaN, too few points, or no surface.
    """
    raw = np.asarray(points, dtype=np.float64)
    if raw.ndim != 2 or raw.shape[1] != 3:
        raise InputError(f"scan points have shape {raw.shape}; expected (N, 3)")
    if not np.isfinite(raw).all():
        raise InputError("scan points hold NaN or infinite numbers; remove them first")
    if len(raw) < MIN_POINTS:
        raise InputError(f"the scan has {len(raw)} points; a face needs at least {MIN_POINTS}, better 5000")
    center = np.median(raw, axis=0)
    centered = raw - center
    distance = np.linalg.norm(centered, axis=1)
    keep = distance <= 3.0 * np.quantile(distance, 0.95)
    gap = cKDTree(centered).query(centered, k=6)[0][:, 5]
    keep &= gap <= 10.0 * np.median(gap) + 1e-12
    if distance.max() == 0 or keep.sum() < MIN_POINTS:
        raise InputError("the scan's points lie in a heap or far apart; there is no surface to fit")
    return CleanScan(centered[keep], _unit_normals(centered[keep], normals, keep), center, redraw)


def _unit_normals(points: FloatArray, normals: NDArray[np.floating] | None, keep: BoolArray) -> FloatArray:
    """Unit normals of the kept points; those that are missing or have no direction come from a plane fit."""
    if normals is None:
        return plane_normals(points, _NEIGHBOURS_OF_A_NORMAL)
    given = np.asarray(normals, dtype=np.float64)
    if given.shape != (len(keep), 3):
        raise InputError(f"scan normals have shape {given.shape}; expected {(len(keep), 3)}")
    given = given[keep]
    length = np.linalg.norm(given, axis=1)
    bad = ~(length > 1e-12) | ~np.isfinite(length)
    if bad.any():
        given = np.where(bad[:, None], plane_normals(points, _NEIGHBOURS_OF_A_NORMAL), given)
        length = np.linalg.norm(given, axis=1)
    unit: FloatArray = given / length[:, None]
    return unit


@dataclass(frozen=True, eq=False)
class Cloud:
    """A scan in mm, thinned to an even spacing, with a grid of nearest points."""

    points: FloatArray
    """(N, 3) scan mm."""
    normals: FloatArray
    """(N, 3) unit, of either sign."""
    spacing_mm: float
    """Median distance between neighbours."""
    grid_origin: Tensor
    """(3,) centre of the first cell."""
    grid_cell_mm: float
    """Edge of a cell."""
    grid_shape: tuple[int, int, int]
    """Cells along each axis."""
    grid_nearest: Tensor
    """(cells,) int32, row of a point nearest to the cell."""
    planes: Tensor
    """(6, N) float32, planes of points and normals."""


def make_cloud(
    points: FloatArray,
    normals: FloatArray | None,
    cell_mm: float = _CELL_MM,
    spacing_mm: float = _SPACING_MM,
    most_cells: int = _MAX_CELLS,
) -> Cloud:
    """Thin points (N, 3) in scan mm to `spacing_mm`, and index them by a grid of cells of at least `cell_mm`.

    Unit normals (N, 3) that are not given are those of local planes.
    """
    keep = even_subset(points, spacing_mm)
    points = points[keep]
    normals = plane_normals(points, _NEIGHBOURS_OF_A_NORMAL) if normals is None else normals[keep]
    gaps, _ = cKDTree(points).query(points, k=2)
    origin = points.min(0) - _PADDING_MM
    span = np.ptp(points, axis=0) + 2 * _PADDING_MM
    cell = max(cell_mm, float((span.prod() / most_cells) ** (1 / 3)))
    shape = np.ceil(span / cell).astype(int) + 1
    cells = np.rint((points - origin) / cell).astype(int)
    owner = np.full(shape, -1, dtype=np.int64)
    owner[cells[:, 0], cells[:, 1], cells[:, 2]] = np.arange(len(points))
    nearest = ndimage.distance_transform_edt(owner < 0, return_distances=False, return_indices=True)
    table = owner[nearest[0], nearest[1], nearest[2]].ravel().astype(np.int32)
    return Cloud(
        points, normals, float(np.median(gaps[:, 1])), torch.from_numpy(origin.astype(np.float32)), cell,
        (int(shape[0]), int(shape[1]), int(shape[2])), torch.from_numpy(table), _planes(points, normals),
    )  # fmt: skip


def _planes(points: FloatArray, normals: FloatArray) -> Tensor:
    """(6, N) float32 of points and normals (N, 3)."""
    return torch.from_numpy(np.concatenate([points.T, normals.T]).astype(np.float32))


def grid_nearest(cloud: Cloud) -> NearestPoints:
    """Approximate nearest points by one grid look-up: fast, for all but the last refinement."""
    last = torch.tensor(cloud.grid_shape, dtype=torch.float32)[:, None, None] - 1.0
    _, ny, nz = cloud.grid_shape
    origin = cloud.grid_origin[:, None, None]

    def look_up(positions: Tensor) -> tuple[Tensor, Tensor]:
        x, y, z = ((positions - origin) / cloud.grid_cell_mm).round_().clamp_(min=0).minimum(last)
        flat = (x * ny + y) * nz + z  # below 2**24, so exact in single precision
        row = cloud.grid_nearest.index_select(0, flat.view(-1).int())
        found = cloud.planes.index_select(1, row).view(6, *positions.shape[1:])
        return found[:3], found[3:]

    return look_up


def exact_nearest(points: FloatArray, normals: FloatArray) -> NearestPoints:
    """Exact nearest points of (N, 3), for the last refinement, where the thinned cloud would be too coarse."""
    tree = cKDTree(points)
    table = _planes(points, normals)

    def look_up(positions: Tensor) -> tuple[Tensor, Tensor]:
        _, row = tree.query(positions.reshape(3, -1).T.double().numpy())
        found = table.index_select(1, torch.from_numpy(row)).view(6, *positions.shape[1:])
        return found[:3], found[3:]

    return look_up
