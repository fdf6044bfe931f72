"""The signed distance field of one head, in millimetres; what is constant per head is computed once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, MODEL_UNIT_MM
from imhead.errors import InputError
from imhead.isosurface.residual import residual_map
from imhead.model.head import Regional
from imhead.model.septum import united_with_septum
from imhead.parallel import ROWS, chunks, side_by_side
from imhead.surfaces.eyeballs import eyes_distance, eyes_gradient, near_eyes
from imhead.types import Ball, FloatArray, Head

_EYE_REACH_MM = 25.0  # farther from the bounding box of an eyeball, the skin is nearer
_FILL_MM = 1.2  # by which an eyeball fills the line where shut lids meet: the warp is smooth and leaves a gap there
_SHUT = (0.7, 1.0)  # weight of a blink over which the fill grows
_INVERSE_STEPS = 8  # of the residual's map, which is close to the identity
_FLATTENED = 0.7  # share of the cornea's bulge that a shut lid takes away
_FILLET_MM = np.float32(1.2)  # of the smooth union: it reaches where the two distances differ by less
LEAST_SLOPE = 0.2
"""Gradients shorter than this say little about where the surface is."""


@dataclass(frozen=True, eq=False)
class LinearField:
    """A head's skin at N observed points, with its derivatives."""

    places: FloatArray
    """(N, 3) where the networks are asked, mm."""
    distance: FloatArray
    """(N,) signed, mm."""
    by_point: FloatArray
    """(N, 3) gradient by the observed point."""
    by_place: FloatArray
    """(N, 3) gradient by the place."""


class HeadField:
    """The signed distance field of one head, with its own expression or another.

    Args:
        z_exp: expression code (64,) instead of the head's own.
    """

    def __init__(self, model: Model, head: Head, z_exp: FloatArray | None = None) -> None:
        self.model = model
        net, device = model.net, model.device
        self._z_id = torch.tensor(head.z_id, device=device)[None]
        self._z_exp = torch.tensor(head.z_exp if z_exp is None else z_exp, dtype=torch.float32, device=device)[None]
        self.eyes = eyes_of(model, head, head.z_exp if z_exp is None else z_exp)
        """(2, 5) its eyeballs, mm."""
        self.eye_solids = _filled(model, self.eyes, head.z_exp if z_exp is None else z_exp)
        """(2, 5) the solids that are united with the skin: the eyeballs, larger by a fill behind lids that are shut."""
        self._residual = None if head.residual is None else residual_map(head.residual, device)
        with torch.no_grad():
            self.regional: Regional = net.regional(self._z_id, torch.tensor(head.offsets, device=device)[None])
            self._warp = net.warp.fuse(self._z_id, self._z_exp)

    def canonical(self, points_mm: FloatArray) -> FloatArray:
        """Observed points (N, 3) → where the networks are asked (N, 3), both mm: canonical, after the residual."""
        return self._map(points_mm, lambda x: self._unwarped(x)[0] * MODEL_UNIT_MM)

    def canonical_and_seal(self, points_mm: FloatArray) -> tuple[Tensor, Tensor]:
        """`canonical` of points (N, 3) in mm, and seals (N,), both in model units on the model's device."""
        with_seals = torch.no_grad()(lambda x: self._unwarped(x[None]))
        parts = side_by_side(with_seals, self._chunks(points_mm), self.model.device)
        canonical, seal = (torch.cat(part, dim=1)[0, : len(points_mm)] for part in zip(*parts))
        return canonical, seal

    def sdf(self, points_mm: FloatArray) -> FloatArray:
        """Signed distance (N,) in mm at observed points (N, 3) in mm to skin and eyeballs; float32, negative inside."""
        return united(self.skin_sdf(points_mm), points_mm, self.eye_solids)

    def skin_sdf(self, points_mm: FloatArray) -> FloatArray:
        """`sdf` without the eyeballs; inside them it means nothing."""
        return self._map(points_mm, lambda x: self._distance(x) * MODEL_UNIT_MM)

    def canonical_sdf(self, points_mm: FloatArray) -> FloatArray:
        """Signed distance (N,) in mm at canonical points (N, 3) in mm: the skin before expression and seal."""
        return self._map(points_mm, lambda x: self._canonical_distance(self._displaced(x)) * MODEL_UNIT_MM)

    def before_residual(self, places_mm: FloatArray) -> FloatArray:
        """Canonical points (N, 3) that the residual moves to places (N, 3) where the networks are asked, both mm."""
        points: FloatArray = places_mm
        if self._residual is not None:
            for _ in range(_INVERSE_STEPS):
                points = places_mm - (self._map(points, lambda x: self._displaced(x) * MODEL_UNIT_MM) - points)
        return points

    def linearized(self, points_mm: FloatArray) -> LinearField:
        """The skin's field at observed points (N, 3) in mm, with its derivatives."""

        @torch.enable_grad()  # threads do not inherit the caller's gradient mode
        def linear_at(part: Tensor) -> list[FloatArray]:
            """The fields of `LinearField` for the points (n, 3) of a chunk."""
            x = part[None].requires_grad_(True)
            places, seal = self._unwarped(x)
            distance = self._canonical_distance(places) - seal
            by_point, by_place = torch.autograd.grad(distance.sum(), [x, places])
            mm = [places * MODEL_UNIT_MM, distance * MODEL_UNIT_MM, by_point, by_place]
            return [value.detach()[0].double().cpu().numpy() for value in mm]

        parts = side_by_side(linear_at, self._chunks(points_mm), self.model.device)
        return LinearField(*(np.concatenate(part)[: len(points_mm)] for part in zip(*parts)))

    def gradient(self, points_mm: FloatArray) -> FloatArray:
        """Gradient (N, 3) of the field at observed points (N, 3) in mm; on the surface it points outwards."""

        @torch.enable_grad()  # threads do not inherit the caller's gradient mode
        def slope_at(part: Tensor) -> FloatArray:
            """(n, 3) at the points (n, 3) of a chunk."""
            x = part[None].requires_grad_(True)
            slope: FloatArray = torch.autograd.grad(self._distance(x).sum(), x)[0][0].cpu().numpy()
            return slope

        parts = list(side_by_side(slope_at, self._chunks(points_mm), self.model.device))
        slope = np.concatenate(parts)[: len(points_mm)]
        near = near_eyes(points_mm, self.eye_solids, _EYE_REACH_MM)
        if len(near):
            skin, eye = self.skin_sdf(points_mm[near]), eyes_distance(points_mm[near], self.eye_solids)
            half = 0.5 * np.maximum(_FILLET_MM - np.abs(skin - eye), 0.0) / _FILLET_MM
            share = np.where(eye < skin, 1.0 - half, half)[:, None]  # of the eyeball in the smooth union
            slope[near] += share * (eyes_gradient(points_mm[near], self.eye_solids) - slope[near])
        return slope

    def ball(self, region: int) -> Ball:
        """The ball of a region of this head."""
        center = self.regional.keypoints[0, region].cpu().numpy() * MODEL_UNIT_MM
        return Ball(center, float(self.model.net.radius[region]) * MODEL_UNIT_MM)

    def posed_ball(self, region: int) -> Ball:
        """A ball that holds every observed point whose canonical point lies in the region's ball."""
        ball = self.ball(region)
        # the warp moves no point of the neutral face by this margin; a wide-open jaw may, and then the margin doubles
        margin_mm, spacing_mm = 30.0, max(ball.radius_mm / 16.0, 2.0)
        while True:
            side = np.arange(-ball.radius_mm - margin_mm, ball.radius_mm + margin_mm + spacing_mm, spacing_mm)
            grid = np.stack(np.meshgrid(side, side, side, indexing="ij"), axis=-1).reshape(-1, 3)
            held = np.linalg.norm(self.canonical(grid + ball.center_mm) - ball.center_mm, axis=1) < ball.radius_mm
            far = float(np.linalg.norm(grid[held], axis=1).max(initial=0.0)) + np.sqrt(3.0) * spacing_mm
            if far < ball.radius_mm + margin_mm or margin_mm > 200.0:
                return Ball(ball.center_mm, far)
            margin_mm *= 2.0

    def _distance(self, x: Tensor) -> Tensor:
        places, seal = self._unwarped(x)
        return self._canonical_distance(places) - seal

    def _unwarped(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Observed points (1, N, 3) → where the networks are asked (1, N, 3), and seals (1, N)."""
        canonical, seal = self.model.net.warp.of_one_head(x, self._warp)
        return self._displaced(canonical), seal

    def _displaced(self, canonical: Tensor) -> Tensor:
        return canonical if self._residual is None else self._residual(canonical)

    def _canonical_distance(self, x: Tensor) -> Tensor:
        return united_with_septum(self.model.net.canonical_sdf(x, self.regional), x, self.regional.keypoints)

    def _chunks(self, points_mm: FloatArray) -> tuple[Tensor, ...]:
        points = np.asarray(points_mm)
        if points.ndim != 2 or points.shape[1] != 3:
            raise InputError(f"points have shape {points.shape}; expected (N, 3)")
        x = torch.from_numpy(np.ascontiguousarray(points / MODEL_UNIT_MM, dtype=np.float32)).to(self.model.device)
        x = torch.nn.functional.pad(x, (0, 0, 0, -len(x) % ROWS))
        return chunks(x)

    def _map(self, points_mm: FloatArray, function: Callable[[Tensor], Tensor]) -> FloatArray:
        values = torch.no_grad()(lambda x: function(x[None])[0].cpu().numpy())
        parts = list(side_by_side(values, self._chunks(points_mm), self.model.device))
        return np.concatenate(parts)[: len(points_mm)]


def eyes_of(model: Model, head: Head, z_exp: FloatArray | None = None) -> FloatArray:
    """The head's eyeballs (2, 5), mm: those of z_id plus its own offsets, at rest or with an expression code (64,).

    A shut lid flattens the cornea behind it, so that a lid that is a little too low does not show it.
    """
    net = model.net
    with torch.no_grad():
        z_id = torch.tensor(head.z_id, device=model.device)[None]
        eyes = net.eye_net(z_id, net.identity_parity)[0].cpu().numpy().astype(np.float64)
    eyes = eyes + np.asarray(head.eyes)
    if z_exp is not None:
        eyes[:, 4] *= 1.0 - _FLATTENED * _blinks(model, z_exp)
    return eyes


def _filled(model: Model, eyes: FloatArray, z_exp: FloatArray) -> FloatArray:
    """Eyeballs (2, 5), larger by the fill behind lids that an expression code (64,) shuts."""
    part = np.clip((_blinks(model, z_exp) - _SHUT[0]) / (_SHUT[1] - _SHUT[0]), 0.0, 1.0)
    filled = eyes.copy()
    filled[:, 3] += _FILL_MM * part * part * (3.0 - 2.0 * part)
    return filled


def _blinks(model: Model, z_exp: FloatArray) -> FloatArray:
    """(2,) weights of the left and the right blink, in [0, 1], of an expression code (64,)."""
    return np.clip(np.asarray(z_exp, dtype=np.float64) @ _blink_readers(model), 0.0, 1.0)


@lru_cache(maxsize=4)
def _blink_readers(model: Model) -> FloatArray:
    """(64, 2) expression code → least-squares weights of the left and the right blink."""
    arkit = model.net.warp.arkit.detach().cpu().numpy().astype(np.float64)
    readers: FloatArray = np.linalg.pinv(arkit)[:, [ARKIT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]]
    return readers


def united(skin_mm: FloatArray, points_mm: FloatArray, eyes: FloatArray) -> FloatArray:
    """Distances (N,) to the union of skin and eyeballs (2, 5), from those to the skin (N,) at points (N, 3), mm.

    Where a lid meets its eyeball the union is smooth: a gap of less than about 0.6 mm between them is filled, as by the
    tear film.
    """
    joined: FloatArray = skin_mm.copy()
    near = near_eyes(points_mm, eyes, _EYE_REACH_MM)
    skin, eye = joined[near], eyes_distance(points_mm[near], eyes).astype(joined.dtype)
    overlap = np.maximum(_FILLET_MM - np.abs(skin - eye), 0.0) / _FILLET_MM
    joined[near] = np.minimum(skin, eye) - overlap * overlap * (0.25 * _FILLET_MM)
    return joined


def field_change(before: HeadField, after: HeadField, points_mm: FloatArray) -> FloatArray:
    """How far the surface moved (N,) at points (N, 3), mm, positive outwards; exactly 0 where the fields are equal."""
    slope = np.maximum(np.linalg.norm(before.gradient(points_mm), axis=1), LEAST_SLOPE)
    change: FloatArray = (before.sdf(points_mm).astype(np.float64) - after.sdf(points_mm)) / slope
    return change


def expression_weights(weights: Mapping[str, float]) -> FloatArray:
    """ARKit weights (52,) by name; names that are not given are 0.

    Raises:
        InputError: an unknown name, with the nearest ones, or a weight outside [0, 1].
    """
    vector = np.zeros(len(ARKIT_NAMES), dtype=np.float32)
    for name, weight in weights.items():
        if name not in ARKIT_NAMES:
            near = difflib.get_close_matches(name, ARKIT_NAMES, n=3, cutoff=0.4) or list(ARKIT_NAMES[:3])
            raise InputError(f"no ARKit expression is named {name!r}; did you mean {', '.join(near)}?")
        if not 0.0 <= weight <= 1.0:
            raise InputError(f"expression {name} has weight {weight}; give a number from 0 to 1")
        vector[ARKIT_NAMES.index(name)] = weight
    return vector


def code_of_weights(model: Model, weights: FloatArray) -> FloatArray:
    """z_exp (64,) for ARKit weights (52,)."""
    with torch.no_grad():
        row = torch.tensor(weights, dtype=torch.float32, device=model.device)[None]
        code: FloatArray = model.net.warp.code(row)[0].cpu().numpy()
    return code


def expression_code(model: Model, weights: Mapping[str, float]) -> FloatArray:
    """z_exp (64,) for ARKit weights by name; names that are not given are 0.

    Raises:
        InputError: an unknown name, with the nearest ones, or a weight outside [0, 1].
    """
    return code_of_weights(model, expression_weights(weights))
