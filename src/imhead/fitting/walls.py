"""Thin walls that a fit must not pierce, such as lips, nose wings and ears, and shut lips that it must not part.

A scan shows one side of a wall and nothing of the other. Region offsets that follow it can push the far side through
the near one, and the surface gets a hole. So the middles of the walls are checked after the offsets are fitted; where
one came out of the head, the offsets are fitted again with the middles near it held inside.

Shape legend: M pairs of opposite vertices of the template, K of their middles that are held.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from imhead.checkpoint import Model
from imhead.conventions import MODEL_UNIT_MM
from imhead.fitting.config import FitConfig
from imhead.fitting.gauss_newton import HeadPlaces
from imhead.fitting.objective import Codes
from imhead.template.sheets import Sheets, opposite_sheets
from imhead.template.surface import posed_blend, template_of
from imhead.types import BoolArray, FloatArray

_TORN_MM = 0.02  # depth below which a place counts as torn
_PARTED_MM = 0.1  # outside the head by this much, shut lips count as parted
_NEIGHBOURHOOD_MM = 10.0


@dataclass(frozen=True, eq=False)
class ThinPlaces:
    """Middles of walls and of shut lips, of which some are held."""

    sheets: Sheets
    """M pairs."""
    checked: BoolArray
    """(M,) places that lay inside the head before its offsets were free: walls, and lips that were shut."""
    held: BoolArray
    """(M,) places that a step holds inside the head."""

    @staticmethod
    def none() -> ThinPlaces:
        """No places: nothing is checked and nothing held."""
        rows = np.zeros(0, dtype=np.int64)
        return ThinPlaces(Sheets(rows, rows, rows.astype(bool)), rows.astype(bool), rows.astype(bool))

    def to_hold(self, model: Model, codes: Codes, config: FitConfig) -> HeadPlaces | None:
        """The places to hold and the depth that each keeps; None where none is held."""
        if not self.held.any():
            return None
        places, thickness = _middles(model, codes, self.sheets)
        depth = np.minimum(config.wall_share * thickness, config.wall_depth_mm)
        depth = np.where(self.sheets.wall, depth, config.lip_depth_mm)
        count = int(self.held.sum())
        return HeadPlaces(
            _like(codes.z_id, places[self.held]),
            _like(codes.z_id, depth[self.held]),
            codes.z_id.new_full((count,), config.wall_weight),
            torch.ones(count, dtype=torch.bool, device=codes.z_id.device),
        )

    def with_torn(self, model: Model, codes: Codes) -> ThinPlaces | None:
        """These places, with those near a newly torn place held too; None if no new place is torn."""
        if not self.checked.any():
            return None
        places, _ = _middles(model, codes, self.sheets)
        limit = np.where(self.sheets.wall, -_TORN_MM, _PARTED_MM)
        torn = self.checked & ~self.held & (_sdf_mm(model, codes, places) > limit)
        if not torn.any():
            return None
        near = cKDTree(places[torn]).query(places)[0] < _NEIGHBOURHOOD_MM
        return replace(self, held=self.held | (self.checked & near))


def thin_places(model: Model, codes: Codes) -> ThinPlaces:
    """The thin places of a head before its offsets are free, none of them held; no place without a template."""
    sheets = opposite_sheets(model)
    if sheets is None:
        return ThinPlaces.none()
    places, _ = _middles(model, codes, sheets)
    inside = _sdf_mm(model, codes, places) < -_TORN_MM
    return ThinPlaces(sheets, inside, np.zeros(len(places), dtype=bool))


def _middles(model: Model, codes: Codes, sheets: Sheets) -> tuple[FloatArray, FloatArray]:
    """Middles (M, 3), head frame, mm, and distances (M,) of the pairs, by the template's linear blend."""
    template = template_of(model)
    with torch.no_grad():
        z = (model.net.decnet(codes.z_id[None])[0] + codes.offsets).cpu().numpy()
    vertices = posed_blend(template, model, z, codes.weights.double().cpu().numpy())
    near, far = vertices[sheets.near], vertices[sheets.far]
    return 0.5 * (near + far), np.linalg.norm(near - far, axis=1)


def _sdf_mm(model: Model, codes: Codes, places: FloatArray) -> FloatArray:
    with torch.no_grad():
        z_exp = model.net.warp.code(codes.weights[None])
        x = _like(codes.z_id, places / MODEL_UNIT_MM)[None]
        distance = model.net(x, codes.z_id[None], z_exp, codes.offsets[None])[0]
    return np.asarray(distance.cpu().numpy() * MODEL_UNIT_MM)


def _like(tensor: Tensor, array: FloatArray) -> Tensor:
    """The array with the type and on the device of a tensor."""
    return torch.from_numpy(array).to(tensor)
