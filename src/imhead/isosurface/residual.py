"""What the codes of a fit leave over, as a map of canonical space: each point moves by a sum of B-splines.

The map is smooth and far from folding, so the skin keeps its topology: walls move as a whole, and none is pierced.

Shape legend: N points.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

from imhead.conventions import MODEL_UNIT_MM
from imhead.types import FloatArray, IntArray, Residual


class ResidualMap:
    """Canonical points → the points at which the networks are asked.

    Each point is mapped by elementwise operations alone, so its result does not depend on the points beside it.
    """

    def __init__(self, residual: Residual, device: torch.device) -> None:
        self._lattices = [
            _Lattice(spacing, residual.nodes[rows, 1:].astype(np.int64), residual.values[rows], device)
            for level, spacing in enumerate(residual.spacings_mm)
            if len(rows := np.flatnonzero(residual.nodes[:, 0] == level))
        ]

    def __call__(self, x: Tensor) -> Tensor:
        """Points (…, 3) in model units, moved."""
        places = x.reshape(-1, 3) * MODEL_UNIT_MM
        displacement = torch.zeros_like(places)
        for lattice in self._lattices:
            displacement = lattice.added(displacement, places)
        return x + (displacement / MODEL_UNIT_MM).view(x.shape)


@lru_cache(maxsize=8)
def residual_map(residual: Residual, device: torch.device) -> ResidualMap:
    """The map of a residual; kept, because the fields of one head are made again and again."""
    return ResidualMap(residual, device)


class _Lattice:
    """One lattice of a residual as a table of its bounding box."""

    def __init__(self, spacing_mm: float, nodes: IntArray, values: FloatArray, device: torch.device) -> None:
        self._spacing_mm = spacing_mm
        low = nodes.min(axis=0) - 2  # a rim of empty nodes: points outside the box are taken to it
        size = nodes.max(axis=0) + 3 - low
        table = np.zeros((*size, 3), dtype=np.float32)
        table[tuple((nodes - low).T)] = values
        # three nodes along the last axis lie side by side, so that nine rows hold what moves a point
        rows = np.concatenate([np.roll(table, step, axis=2) for step in (1, 0, -1)], axis=3)
        steps = np.array([size[1] * size[2], size[2], 1])
        self._low, self._last, self._steps = (torch.from_numpy(v).to(device) for v in (low, size - 2, steps))
        self._rows = torch.from_numpy(rows.reshape(-1, 9)).to(device)
        self._offsets = [(i, j, int(np.dot((i - 1, j - 1, 0), steps))) for i, j in product(range(3), repeat=2)]
        occupied = np.zeros(size, dtype=np.float32)
        occupied[tuple((nodes - low).T)] = 1.0
        near = torch.nn.functional.max_pool3d(torch.from_numpy(occupied)[None, None], 3, stride=1, padding=1)
        self._near = (near[0, 0] > 0).ravel().to(device)

    def added(self, displacement: Tensor, points_mm: Tensor) -> Tensor:
        """A displacement (N, 3) with that of this lattice at points (N, 3), mm."""
        places = points_mm / self._spacing_mm
        nearest = torch.floor(places.detach() + 0.5)
        cell = (nearest.long() - self._low).clamp(min=1).minimum(self._last)
        at = (cell * self._steps).sum(dim=1)
        inside = ((nearest.long() - self._low) == cell).all(dim=1)
        chosen = (self._near.index_select(0, at) & inside).nonzero()[:, 0]
        if not len(chosen):
            return displacement
        before, nearest, after = _spline(places.index_select(0, chosen) - nearest.index_select(0, chosen))
        along = [[weight[:, axis : axis + 1].contiguous() for weight in (before, nearest, after)] for axis in range(3)]
        at = at.index_select(0, chosen)
        total = torch.zeros_like(self._rows[:1])
        for i, j, step in self._offsets:
            total = total + (along[0][i] * along[1][j]) * self._rows.index_select(0, at + step)
        moved = along[2][0] * total[:, :3] + along[2][1] * total[:, 3:6] + along[2][2] * total[:, 6:]
        return displacement.index_add(0, chosen, moved)


def _spline(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Quadratic B-splines of the node before, the nearest and the node after, at offsets t (N, 3) within ±1/2."""
    return 0.5 * (0.5 - t).square(), 0.75 - t.square(), 0.5 * (0.5 + t).square()
