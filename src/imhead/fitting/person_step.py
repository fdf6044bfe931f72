"""Damped Gauss-Newton steps of a fit of several scans of one person.

The scans share z_id and the region offsets; pose and ARKit weights are each scan's own. The Hessian is an arrow: a
small block for each scan, and one row of blocks that joins them. The small blocks are eliminated one after the other
(Schur complement), so a step costs as much as one of each scan alone, and its memory hardly grows with their number.

Shape legend: N points, A own unknowns of a scan (pose and weights, or pose), Z shared unknowns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from imhead.fitting.config import FitConfig
from imhead.fitting.gauss_newton import (
    DAMPING,
    FitState,
    HeadPlaces,
    changed_identity,
    changed_offsets,
    expression_prior,
    held_at_bounds,
    identity_prior,
    is_early,
    linearized,
    moved,
    newton_step,
    offsets_prior,
    pose_prior,
    step_within_limit,
    weight_within_limit,
)
from imhead.fitting.objective import Codes, normal_equations, pair_jacobian
from imhead.model.head import HeadModel


@dataclass(frozen=True, eq=False)
class ScanBlock:
    """The quadratic model of one scan: its own unknowns, and how they hang together with the shared ones."""

    own: Tensor
    """(A, A) Hessian by the own unknowns, positive definite: with their prior and damping."""
    own_slope: Tensor
    """(A,) gradient by them."""
    cross: Tensor
    """(A, Z) Hessian by own and shared unknowns."""
    shared: Tensor
    """(Z, Z) Hessian by the shared unknowns, without any prior."""
    shared_slope: Tensor
    """(Z,) gradient by them."""

    def eliminated(self) -> tuple[Tensor, Tensor]:
        """Hessian (Z, Z) and gradient (Z,) of the shared unknowns alone, which the own ones follow."""
        solved = self.solved()
        return self.shared - self.cross.T @ solved[:, :-1], self.shared_slope - self.cross.T @ solved[:, -1]

    def own_step(self, shared_step: Tensor) -> Tensor:
        """(A,) step of the own unknowns that belongs to one of the shared ones (Z,)."""
        solved = self.solved()
        return -(solved[:, -1] + solved[:, :-1] @ shared_step)

    def solved(self) -> Tensor:
        """(A, Z + 1): the inverse of `own`, times `cross` and `own_slope`."""
        return torch.cholesky_solve(
            torch.cat([self.cross, self.own_slope[:, None]], dim=1), torch.linalg.cholesky(self.own)
        )

    def held(self, rows: Tensor, step: Tensor) -> ScanBlock:
        """This block with own unknowns (A,) bool held at steps (A,)."""
        free = (~rows).to(self.own)
        fixed = torch.where(rows, step, torch.zeros_like(step))
        return ScanBlock(
            self.own * free[:, None] * free + torch.diag(1.0 - free),
            torch.where(rows, -fixed, self.own_slope + self.own @ fixed),
            self.cross * free[:, None],
            self.shared,
            self.shared_slope + self.cross.T @ fixed,
        )


@dataclass(frozen=True, eq=False)
class Said:
    """What one scan says of z_id, as a quadratic about the z_id at which it was asked."""

    hessian: Tensor
    """(256, 256), positive semidefinite, without prior."""
    slope: Tensor
    """(256,)."""


def scan_block(net: HeadModel, state: FitState, robust_mm: float, with_offsets: bool, config: FitConfig) -> ScanBlock:
    """The quadratic model of one scan in its pose, its ARKit weights unless `with_offsets`, and z_id or the offsets."""
    jacobian, by_pose, weight = linearized(net, state, robust_mm, with_offsets, config)
    hessian, gradient = normal_equations(net, jacobian, by_pose, weight, with_offsets)
    pose_size = by_pose.shape[1]
    priors = [pose_prior(state.codes.z_id, pose_size)]
    if not with_offsets:
        priors.append(expression_prior(state.codes.weights, config))
    curvature, slope = (torch.cat(parts).double() for parts in zip(*priors))
    size = len(curvature)
    own = hessian[:size, :size].clone()
    own.diagonal().add_(curvature + DAMPING * own.diagonal())
    return ScanBlock(
        own, gradient[:size] + slope, hessian[:size, size:].clone(), hessian[size:, size:], gradient[size:]
    )


def identity_step(
    net: HeadModel, states: Sequence[FitState], robust_mm: float, config: FitConfig
) -> tuple[list[FitState], list[Said]]:
    """The states after a damped step on the shared z_id, and each scan's pose and weights; what each scan says of z_id.

    Args:
        net: the model.
        states: of the scans, at least one, all with the same z_id, first guess of it, and offsets.
        robust_mm: scale of the robust loss.
        config: settings.
    """
    early = is_early(robust_mm, config)
    blocks = [scan_block(net, state, robust_mm, False, config) for state in states]
    z_id, initial = states[0].codes.z_id, states[0].initial_z_id
    prior = identity_prior(z_id, initial, early, config)
    curvature, slope = (part.double() for part in prior)
    damping = DAMPING * torch.stack([block.shared.diagonal() for block in blocks]).sum(dim=0)
    weights = [state.codes.weights.double() for state in states]
    bounded, step = bounded_step(
        blocks, weights, (curvature + damping, slope), None if early else (z_id.double(), config.identity_limit)
    )
    moved_z = changed_identity(z_id, step.float())
    decrease = -0.5 * float(slope @ step)
    after = []
    for state, block in zip(states, bounded):
        own_step = block.own_step(step)
        decrease -= 0.5 * float(block.own_slope @ own_step + block.shared_slope @ step)
        pose_size = len(own_step) - len(state.codes.weights)
        chosen = (state.codes.weights + own_step[pose_size:].float()).clamp(0.0, 1.0)
        codes = Codes(moved_z, chosen, state.codes.offsets)
        after.append(replace(state, motion=moved(state.motion, own_step[:pose_size].float()), codes=codes))
    said = [_said(block, (moved_z - z_id).double()) for block in bounded]
    return [replace(state, predicted_decrease=decrease) for state in after], said


def _said(block: ScanBlock, change: Tensor) -> Said:
    """What a scan says of z_id after a change (256,)."""
    hessian, slope = block.eliminated()
    return Said(hessian, slope + hessian @ change)


def bounded_step(
    blocks: Sequence[ScanBlock],
    weights: Sequence[Tensor],
    prior: tuple[Tensor, Tensor],
    limit: tuple[Tensor, float] | None,
) -> tuple[list[ScanBlock], Tensor]:
    """The step (Z,) of the shared unknowns with every ARKit weight in [0, 1], and the blocks as far as they are free.

    An active set, as in `gauss_newton.held_at_bounds`: a weight that the step would take out of [0, 1] is held at the
    bound, and the others are solved for again.

    Args:
        blocks: of the scans; the weights come last among the own unknowns.
        weights: (52,) current ones of each scan.
        prior: curvature and slope (Z,) of the shared unknowns.
        limit: z_id (256,) and the largest root mean square after the step; None for no limit.
    """
    held = [torch.zeros(len(block.own), dtype=torch.bool, device=block.own.device) for block in blocks]
    fixed = [torch.zeros_like(block.own_slope) for block in blocks]
    curvature, slope = prior
    bounded = list(blocks)
    while True:
        hessian, gradient = torch.diag(curvature), slope.clone()
        for block in bounded:
            part, part_slope = block.eliminated()
            hessian += part
            gradient += part_slope
        if limit is not None:
            extra = weight_within_limit(hessian, gradient, *limit)
            gradient = gradient + extra * limit[0]
            hessian.diagonal().add_(extra)
        step = newton_step(hessian, gradient)
        settled = True
        for k, block in enumerate(bounded):
            rows = slice(len(block.own) - len(weights[k]), None)
            ends = weights[k] + block.own_step(step)[rows]
            out = ~held[k][rows] & ((ends < 0.0) | (ends > 1.0))
            if out.any():
                settled = False
                fixed[k][rows] = torch.where(out, ends.clamp(0.0, 1.0) - weights[k], fixed[k][rows])
                held[k][rows] |= out
                bounded[k] = blocks[k].held(held[k], fixed[k])
        if settled:
            return bounded, step


def offsets_step(
    net: HeadModel,
    states: Sequence[FitState],
    robust_mm: float,
    config: FitConfig,
    neutral: Codes,
    places: HeadPlaces | None,
) -> list[FitState]:
    """The states after a damped step on the shared region offsets and each scan's pose; ARKit weights are held.

    Args:
        net: the model.
        states: of the scans, at least one, all with the same z_id, offsets, and prior of the offsets.
        robust_mm: scale of the robust loss.
        config: settings.
        neutral: the person's codes without expression.
        places: of the neutral head, whose depth is known beside the scans.
    """
    offsets = neutral.offsets
    curvature, slope = (part.double() for part in offsets_prior(offsets, states[0].offset_prior))
    hessian, gradient = torch.diag(curvature), slope.clone()
    kept: list[Tensor] = []
    slopes: list[tuple[Tensor, Tensor]] = []

    def damped(part: Tensor) -> Tensor:
        return part + torch.diag(DAMPING * part.diagonal())

    for state in states:
        block = scan_block(net, state, robust_mm, True, config)
        solved = block.solved()
        hessian += damped(block.shared)
        hessian -= block.cross.T @ solved[:, :-1]
        gradient += block.shared_slope - block.cross.T @ solved[:, -1]
        kept.append(solved)
        slopes.append((block.own_slope, block.shared_slope))
    total = slope + sum(shared for _, shared in slopes)
    if places is not None:
        part, part_slope = _places_equations(net, neutral, places)
        hessian += damped(part)
        gradient += part_slope
        total = total + part_slope
    before = gradient.clone()
    step = step_within_limit(hessian, gradient, offsets.double(), config.offset_limit)
    total = total + (gradient - before)
    decrease = -0.5 * float(total @ step)
    new_offsets = changed_offsets(offsets, step.float())
    after = []
    for state, solved, (own_slope, _) in zip(states, kept, slopes):
        own_step = -(solved[:, -1] + solved[:, :-1] @ step)
        decrease -= 0.5 * float(own_slope @ own_step)
        codes = replace(state.codes, offsets=new_offsets)
        after.append(replace(state, motion=moved(state.motion, own_step.float()), codes=codes))
    return [replace(state, predicted_decrease=decrease) for state in after]


def _places_equations(net: HeadModel, codes: Codes, places: HeadPlaces) -> tuple[Tensor, Tensor]:
    """Hessian and gradient by the offsets of the places' depths."""
    jacobian = pair_jacobian(net, codes, places.points)
    lacking = jacobian.sdf_mm + places.depth_mm
    weight = places.weight * ((lacking > 0.0) | ~places.deeper)
    no_pose = lacking.new_zeros(len(lacking), 0)
    return normal_equations(net, replace(jacobian, sdf_mm=lacking), no_pose, weight, True)


def pose_step(
    net: HeadModel, state: FitState, robust_mm: float, config: FitConfig, stay: tuple[Tensor, float] | None = None
) -> FitState:
    """The state after a damped step on pose and ARKit weights, of a person who is known.

    Args:
        net: the model.
        state: of the scan.
        robust_mm: scale of the robust loss.
        config: settings.
        stay: ARKit weights (52,) near which they stay, and the precision of that; None for no such prior.
    """
    pairs, by_pose, weight = linearized(net, state, robust_mm, False, config)
    pose_size, weights = by_pose.shape[1], state.codes.weights
    jacobian = torch.cat([by_pose, pairs.weights], dim=1)
    priors = zip(pose_prior(weights, pose_size), expression_prior(weights, config))
    curvature, slope = (torch.cat(parts).double() for parts in priors)
    if stay is not None:
        near, precision = stay
        curvature[pose_size:] += precision
        slope[pose_size:] += precision * (weights - near).double()
    hessian = (jacobian.T @ (jacobian * weight[:, None])).double()
    gradient = (jacobian.T @ (weight * pairs.sdf_mm)).double() + slope
    hessian.diagonal().add_(curvature + DAMPING * hessian.diagonal())
    system, bounded = held_at_bounds(hessian, gradient, weights.double(), pose_size)
    step = newton_step(system, bounded)
    codes = replace(state.codes, weights=(weights + step[pose_size:].float()).clamp(0.0, 1.0))
    return replace(
        state, motion=moved(state.motion, step[:pose_size].float()), codes=codes,
        predicted_decrease=-0.5 * float(gradient @ step),
    )  # fmt: skip
