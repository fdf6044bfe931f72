"""The septum between the nostrils, a solid of its own.

It is thinner than what a network tells apart: where two deep nostrils come close, their cavities would run together.
So a plate as thick as the mean head's septum is united with the skin. It stands between the two nostrils' keypoints and
lies in both of their balls, so an edit that leaves both nostrils leaves it.

Lengths are model units unless named otherwise. B heads, N points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imhead.conventions import MODEL_UNIT_MM
from imhead.regions import REGIONS

_LEFT, _RIGHT = (next(r.index for r in REGIONS if r.name == f"{side}_nostril") for side in ("left", "right"))
_PLACE_MM = (10.0, -2.5)  # of the plate's middle above and before that of the two keypoints
_HALF_MM = (8.0, 13.0)  # half axes of the plate: upwards and forwards
_HALF_THICKNESS_MM = 1.0
_FILLET_MM = 0.8  # of the smooth union
_REACH_MM, _STEEPNESS = 1.0, 4.0


def united_with_septum(distance: Tensor, x: Tensor, keypoints: Tensor) -> Tensor:
    """Distances (B, N) to the union of skin and septum, from those to the skin, at canonical points (B, N, 3).

    Args:
        distance: (B, N) to the skin.
        x: (B, N, 3) canonical points.
        keypoints: (B, 39, 3) centres of the regions' balls.
    """
    plate = septum_distance(x, keypoints)
    # farther off it grows steeply, so that it counts nowhere outside the balls of the nostrils
    beyond = (plate * MODEL_UNIT_MM - _REACH_MM).clamp(min=0.0)
    plate = plate + _STEEPNESS * beyond * beyond / MODEL_UNIT_MM
    fillet = _FILLET_MM / MODEL_UNIT_MM
    overlap = (fillet - (distance - plate).abs()).clamp(min=0.0)
    return torch.minimum(distance, plate) - overlap * overlap * (0.25 / fillet)


def septum_distance(x: Tensor, keypoints: Tensor) -> Tensor:
    """Distances (B, N) to the septum at canonical points (B, N, 3), for keypoints (B, 39, 3); negative inside."""
    left, right = keypoints[:, _LEFT], keypoints[:, _RIGHT]
    across = torch.nn.functional.normalize(left - right, dim=-1)
    ahead = torch.zeros_like(across)
    ahead[:, 2] = 1.0
    ahead = torch.nn.functional.normalize(ahead - across * across[:, 2:], dim=-1)
    up = torch.linalg.cross(ahead, across)
    middle = 0.5 * (left + right) + (_PLACE_MM[0] * up + _PLACE_MM[1] * ahead) / MODEL_UNIT_MM
    away = x - middle[:, None]
    sideways = (away * across[:, None]).sum(dim=-1)
    above = (away * up[:, None]).sum(dim=-1) * (MODEL_UNIT_MM / _HALF_MM[0])
    before = (away * ahead[:, None]).sum(dim=-1) * (MODEL_UNIT_MM / _HALF_MM[1])
    beyond = ((above * above + before * before).sqrt() - 1.0).clamp(min=0.0) * (min(_HALF_MM) / MODEL_UNIT_MM)
    return (sideways * sideways + beyond * beyond).sqrt() - _HALF_THICKNESS_MM / MODEL_UNIT_MM
