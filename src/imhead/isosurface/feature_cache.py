"""The field of one head at the same grid points again and again, while the codes of a few regions change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from imhead.conventions import MODEL_UNIT_MM
from imhead.isosurface.cells import Lattice
from imhead.isosurface.field import HeadField, united
from imhead.model.head import Pairs
from imhead.model.septum import united_with_septum
from imhead.parallel import ROWS, chunks, side_by_side
from imhead.regions import NET_COUNT, REGION_COUNT
from imhead.types import FloatArray, IntArray

_NONE, _UNKNOWN = 0, -1  # slots of a pair outside its ball, and of a pair not computed yet
_RIM = 1e-5  # model units added to the radius of an edited ball, against rounding


@dataclass(frozen=True, eq=False)
class MissingFeatures:
    """Features of the points of a chunk (n,) that the cache lacked."""

    slots: Tensor
    """(n, 39) slots of the points, _NONE where these features will go."""
    point: Tensor
    """(P,) row of the chunk."""
    region: Tensor
    """(P,) region."""
    feature: Tensor
    """(P, feature) f_j of the pair."""


class FeatureCache:
    """Outputs of the networks at grid points: canonical points and seals for good, features until their region changes.

    Values equal those of `HeadField.sdf` bit for bit, because the same features are summed in the same order.

    Args:
        field: the head's field.
        lattice: the grid.
    """

    def __init__(self, field: HeadField, lattice: Lattice) -> None:
        self._field, self._net, self._lattice = field, field.model.net, lattice
        device = field.model.device
        self._row = np.zeros(lattice.count, dtype=np.int32)  # of each grid point; 0 where it was never evaluated
        self._count = 1
        self._point = np.zeros(1, dtype=np.int64)
        self._canonical = torch.zeros(1, 3, device=device)
        self._seal = torch.zeros(1, device=device)
        self._slot = torch.zeros(1, REGION_COUNT, dtype=torch.int32, device=device)  # row of a pair's feature
        self._feature = torch.zeros(1, self._net.config.feature_size, device=device)
        self._used = 1
        self._free = torch.zeros(0, dtype=torch.int64, device=device)

    def __len__(self) -> int:
        """Number of cached points."""
        return self._count - 1

    def values(self, points: IntArray) -> FloatArray:
        """Signed distances (N,) in mm, float32, at distinct grid points (N,)."""
        new = self._row[points] == 0
        if new.any():
            self._add(points[new])
        # new points apart from cached ones, because they lack different features
        order = np.argsort(new, kind="stable")
        rows = torch.from_numpy(self._row[points[order]].astype(np.int64)).to(self._seal.device)
        parts, device = chunks(rows), self._field.model.device
        for part, found in zip(parts, side_by_side(self._missing_features, parts, device)):
            self._store(part, found)
        distance = torch.cat(list(side_by_side(self._distance, parts, device)))
        values = np.empty(len(points), dtype=np.float32)
        values[order] = (distance * MODEL_UNIT_MM).cpu().numpy()
        return united(values, self._lattice.positions_mm(points), self._field.eye_solids)

    def change(self, field: HeadField, regions: list[int]) -> IntArray:
        """Take the codes of `regions` from another field of the same z_id and z_exp; returns the points they reach."""
        keypoints = torch.cat([f.regional.keypoints[0, regions] for f in (self._field, field)])
        radius = self._net.radius[regions].repeat(2) + _RIM
        places = self._canonical[1 : self._count]

        def reaches(part: Tensor) -> Tensor:
            return self._net.in_balls(part[None], keypoints[None], radius)[0].any(dim=0)

        reached = torch.cat(list(side_by_side(reaches, chunks(places), places.device)))
        rows = reached.nonzero()[:, 0] + 1
        for region in regions:
            slots = self._slot[rows, region]
            self._free = torch.cat([self._free, slots[slots > 0].long()])
            self._slot[rows, region] = _UNKNOWN
        self._field = field
        return self._point[rows.cpu().numpy()]

    def keep(self, points: IntArray) -> None:
        """Drop all points but these (N,)."""
        rows = torch.from_numpy(self._row[points].astype(np.int64)).to(self._seal.device)
        slots = self._slot[rows]
        held = slots > 0
        self._feature = pad(self._feature[slots[held].long()], (0, 0, 1, 0))
        self._used = len(self._feature)
        self._free = self._free[:0]
        slots[held] = torch.arange(1, self._used, dtype=slots.dtype, device=slots.device)
        self._slot = pad(slots, (0, 0, 1, 0))
        self._canonical, self._seal = pad(self._canonical[rows], (0, 0, 1, 0)), pad(self._seal[rows], (1, 0))
        self._row[self._point] = 0
        self._row[points] = np.arange(1, len(points) + 1, dtype=np.int32)
        self._point = np.concatenate([[0], points])
        self._count = len(points) + 1

    def _add(self, points: IntArray) -> None:
        canonical, seal = self._field.canonical_and_seal(self._lattice.positions_mm(points))
        end = self._count + len(points)
        if end > len(self._seal):
            more = end + end // 2 - len(self._seal)
            self._point = np.concatenate([self._point, np.zeros(more, dtype=np.int64)])
            self._canonical, self._seal = pad(self._canonical, (0, 0, 0, more)), pad(self._seal, (0, more))
            self._slot = pad(self._slot, (0, 0, 0, more), value=_UNKNOWN)
        self._point[self._count : end] = points
        self._canonical[self._count : end], self._seal[self._count : end] = canonical, seal
        self._row[points] = np.arange(self._count, end, dtype=np.int32)
        self._count = end

    @torch.no_grad()
    def _missing_features(self, rows: Tensor) -> MissingFeatures:
        """Computes the features that are not known at the points of `rows` (n,)."""
        x = self._canonical.index_select(0, rows)
        slots = self._slot.index_select(0, rows)  # (n, 39)
        unknown = slots == _UNKNOWN
        regions = unknown.any(dim=0).nonzero()[:, 0]
        keypoints = self._field.regional.keypoints[0].index_select(0, regions)
        held = self._net.in_balls(x[None], keypoints[None], self._net.radius[regions])[0] & unknown.T[regions]
        which, point = held.nonzero(as_tuple=True)
        region = regions.index_select(0, which)
        counts = torch.bincount(self._net.net[region], minlength=NET_COUNT).tolist()
        offset = x.index_select(0, point) - keypoints.index_select(0, which)
        folded = [layer[0].index_select(0, region) for layer in self._field.regional.folded]
        feature = self._net.pair_features(offset, folded, Pairs(point, region, region, counts))
        return MissingFeatures(slots.masked_fill_(unknown, _NONE), point, region, feature)

    def _store(self, rows: Tensor, found: MissingFeatures) -> None:
        """Stores the features that were missing at the points of `rows` (n,)."""
        slots = self._allocate(len(found.point))
        self._feature.index_copy_(0, slots, found.feature)
        found.slots[found.point, found.region] = slots.int()
        self._slot.index_copy_(0, rows, found.slots)

    @torch.no_grad()
    def _distance(self, rows: Tensor) -> Tensor:
        """Signed distances (n,) at the points of `rows` (n,), whose features are known."""
        x = self._canonical.index_select(0, rows)
        slots = self._slot.index_select(0, rows)  # (n, 39)
        held = (slots > 0).view(-1).nonzero()[:, 0]
        point = torch.div(held, REGION_COUNT, rounding_mode="floor")
        region = held - REGION_COUNT * point
        pairs = Pairs(point, region, region, [])  # sorted by point; a point's regions are still in their order
        offset = x.index_select(0, point) - self._field.regional.keypoints[0].index_select(0, region)
        feature = self._feature.index_select(0, slots.view(-1).index_select(0, held))
        count = len(rows) + -len(rows) % ROWS
        blended = self._net.blend(feature, offset, pairs, count)
        padded = pad(x, (0, 0, 0, count - len(rows)))
        skin = self._net.fusion_net(padded, blended)
        distance = united_with_septum(skin[None], padded[None], self._field.regional.keypoints)[0, : len(rows)]
        return distance - self._seal.index_select(0, rows)

    def _allocate(self, count: int) -> Tensor:
        """Slots for `count` features, freed ones first."""
        reused = self._free[:count]
        self._free = self._free[count:]
        end = self._used + count - len(reused)
        if end > len(self._feature):
            self._feature = pad(self._feature, (0, 0, 0, end + end // 2 - len(self._feature)))
        fresh = torch.arange(self._used, end, device=self._free.device)
        self._used = end
        return torch.cat([reused, fresh])
