"""How the template's vertices move together among the model's heads.

A scan shows a surface, and not where on it a vertex belongs. But heads differ in certain ways: a wider nose moves its
wings sideways and slides the cheeks. So the vertices first move as the codes of the regions move them, by the most
probable change of the codes that explains the heights of the scan over the template. The identity as a whole may
change, and each region on its own, as the model's identities spread.

Shape legend: V vertices, n of them measured, K coefficients.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from imhead.checkpoint import Model
from imhead.regions import REGION_COUNT
from imhead.registration.config import RegistrationConfig
from imhead.template.surface import TemplateSurface
from imhead.types import FloatArray, Head, IntArray

_SHIFT_MM, _TURN = 1.0, 0.01  # standard deviations of what a fit leaves of the pose; a turn in radians


class PopulationMoves:
    """The likely moves of one head's template.

    Args:
        template: of the model.
        model: whose identities set the spread.
        head: what moves; its z_id pulls back to the mean head.
        vertices: (V, 3) its posed template.
        normals: (V, 3) unit normals there.
        used: (n,) vertices whose heights may be given.
    """

    def __init__(
        self,
        template: TemplateSurface,
        model: Model,
        head: Head,
        vertices: FloatArray,
        normals: FloatArray,
        used: IntArray,
        config: RegistrationConfig,
    ) -> None:
        self._template, self._model = template, model
        unfold = model.net.decnet.weight.detach().cpu().numpy().astype(np.float32)
        by_code = normal_moves(template, model, normals, used)
        size = unfold.shape[2]
        self._identity = unfold.reshape(len(unfold), -1)
        self._own = [config.population_spread * _spread_factor(unfold[:, region]) for region in range(REGION_COUNT)]
        self._pose = _pose_moves(vertices)
        ids = len(unfold)
        count = ids + sum(map(len, self._own)) + len(self._pose)
        self._moves = np.zeros((count, len(used)), dtype=np.float32)
        """(K, n) change of the heights by each coefficient of standard deviation 1."""
        self._blocks: list[tuple[slice, IntArray]] = []
        """For each region its rows of them, and the vertices that it moves."""
        first = ids
        for region, factor in enumerate(self._own):
            block = by_code[region * size : (region + 1) * size]
            held = np.flatnonzero(block.any(axis=0))
            rows = slice(first, first + len(factor))
            self._moves[:ids, held] += unfold[:, region] @ block[:, held]
            self._moves[rows, held] = factor @ block[:, held]
            self._blocks.append((rows, held))
            first = rows.stop
        self._moves[first:] = np.einsum("kvc,vc->kv", self._pose[:, used], normals[used])
        self._mean = np.zeros(count)
        self._mean[:ids] = -head.z_id

    def likely(self, height_mm: FloatArray, weight: FloatArray) -> FloatArray:
        """The most probable displacement (V, 3), mm, for heights (n,) of the scan with weights (n,) in 1/mm²."""
        weighted = self._moves * weight.astype(np.float32)
        hessian = self._products(weighted).astype(np.float64)
        hessian[np.diag_indices_from(hessian)] += 1.0
        ids = len(self._identity)
        factored = cho_factor(hessian, lower=True, overwrite_a=True)
        found = cho_solve(factored, weighted @ height_mm + self._mean)
        pose = found[len(found) - len(self._pose) :]
        codes = (found[:ids] @ self._identity).reshape(REGION_COUNT, -1)
        first = ids
        for region, factor in enumerate(self._own):
            codes[region] += found[first : first + len(factor)] @ factor
            first += len(factor)
        moved = self._template.blend(self._model, codes.astype(np.float32)) - self._template.mean
        result: FloatArray = moved + np.tensordot(pose, self._pose, axes=(0, 0))
        return result

    def _products(self, weighted: FloatArray) -> FloatArray:
        """The lower triangle (K, K) of the moves times the weighted ones (K, n): a region moves few vertices."""
        ids, end = len(self._identity), len(self._moves) - len(self._pose)
        found = np.zeros((len(weighted), len(weighted)), dtype=np.float32)
        found[:, :ids] = self._moves @ weighted[:ids].T
        found[end:] = weighted[end:] @ self._moves.T
        for rows, held in self._blocks:
            later = slice(rows.start, end)
            found[later, rows] = self._moves[later][:, held] @ weighted[rows][:, held].T
        return found


def normal_moves(template: TemplateSurface, model: Model, normals: FloatArray, used: IntArray) -> FloatArray:
    """(39 · 64, n): movement of vertices (n,) along unit normals (V, 3) for one unit of each number of the codes."""
    net = model.net
    mirror, parity = net.mirror.cpu().numpy(), net.region_parity.cpu().numpy()
    count, half, size = len(template.twin), template.half, template.basis.shape[1]
    row = np.full(count, -1)
    row[used] = np.arange(len(used))
    middle = template.twin[:half] < half
    across = np.arange(half)  # the right twin of a vertex; itself on the midline
    across[template.twin[half:]] = np.arange(half, count)
    moves = np.zeros((REGION_COUNT * size, len(used)), dtype=np.float32)
    bounds = np.searchsorted(template.pair_region, np.arange(REGION_COUNT + 1))
    for region in range(REGION_COUNT):
        pairs = slice(bounds[region], bounds[region + 1])
        vertex, basis = template.pair_vertex[pairs], template.basis[pairs]
        # both halves move a vertex of the midline, so each counts half
        basis = basis * np.where(middle[vertex], 0.5, 1.0)[:, None, None]
        for target, owner, flip, sign in (
            (vertex, region, np.ones(3), np.ones(size)),
            (across[vertex], int(mirror[region]), np.array([-1.0, 1.0, 1.0]), parity[region]),
        ):
            held = np.flatnonzero(row[target] >= 0)
            along = np.einsum("pkc,pc->kp", basis[held], normals[target[held]] * flip)
            moves[owner * size : (owner + 1) * size, row[target[held]]] += sign[:, None] * along
    return moves


def _spread_factor(unfold: FloatArray) -> FloatArray:
    """(k, 64) independent steps of one standard deviation each of a region's code, from its unfolding (256, 64)."""
    _, sigma, basis = np.linalg.svd(unfold, full_matrices=False)
    steps: FloatArray = sigma[:, None] * basis
    return steps


def _pose_moves(vertices: FloatArray) -> FloatArray:
    """(6, V, 3): displacement by three shifts and three turns of one standard deviation each."""
    shifts = np.broadcast_to(_SHIFT_MM * np.eye(3)[:, None], (3, len(vertices), 3))
    turns = _TURN * np.cross(np.eye(3)[:, None], vertices[None])
    return np.concatenate([shifts, turns])
