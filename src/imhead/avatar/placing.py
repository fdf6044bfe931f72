"""The parts on one head: the mouth follows its anchors, lashes and tear lines follow the lids.

Shape legend: V template vertices, M vertices in the mouth, L at the lids, K shapes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree

from imhead.avatar.parts import TONGUE, Parts, affine, in_lower_jaw, shape_rows
from imhead.conventions import ARKIT_NAMES
from imhead.surfaces.lids import Lids
from imhead.template.projection import smoothstep
from imhead.types import FloatArray, IntArray

_CARRIERS, _REACH_MM = 24, 2.5  # template vertices that turn a lash, and the width of their weights
_NEAREST, _NEAR_MM = 6, 0.9  # those that move its root
_TONGUE_OUT_MM = 41.0  # how far the tip comes forward
_TONGUE_MM, _TONGUE_THIN = 5.0, 0.33  # rise of the tongue's back over the lower teeth, and part of its thickness left
_HELD_MM = 8.0
_TONGUE_BENDS, _TONGUE_DROP = 20.0, 0.045  # mm before the resting tip, where it hangs down; 1/mm


def mouth_on(parts: Parts, skin: FloatArray) -> FloatArray:
    """Gums, tongue and teeth (M, 3) of the head whose template vertices are `skin` (V, 3), neutral, mm.

    They depend on no vertex but `parts.anchors`.
    """
    moved = (skin[parts.anchors] - parts.skin[parts.anchors]).ravel()
    jaw = in_lower_jaw(parts.mouth_piece)
    placed = parts.mouth.copy()
    for block in (0, 1):
        rows = jaw == block
        placed[rows] += affine(parts.follow[block] @ moved, parts.mouth[rows], parts.centers[block])
    return placed


def mouth_shapes(parts: Parts, mouth: FloatArray) -> FloatArray:
    """(52, M, 3) movement of the placed mouth (M, 3) by each ARKit shape, mm: the jaw carries the lower teeth and the
    tongue, and `tongueOut` stretches the tongue."""
    shapes = np.zeros((len(ARKIT_NAMES), len(mouth), 3))
    rows = np.flatnonzero(in_lower_jaw(parts.mouth_piece))
    # the same turn on every head: about the place to which the jaw's centre went
    center = parts.centers[1] + (mouth[rows] - parts.mouth[rows]).mean(axis=0)
    for row, numbers in zip(shape_rows(), parts.jaw):
        shapes[row, rows] = affine(numbers, mouth[rows], center)
    tongue = np.flatnonzero(parts.mouth_piece == TONGUE)
    shapes[ARKIT_NAMES.index("tongueOut"), tongue] = _tongue_out(parts.mouth[tongue], _from_floor(parts, tongue))
    return shapes


def _from_floor(parts: Parts, tongue: IntArray) -> FloatArray:
    """Distance (n,), mm, of the tongue's vertices (n,) from the rim at which the mouth's floor holds it."""
    own = parts.mouth_piece[parts.mouth_faces] == TONGUE
    rim = np.unique(parts.mouth_faces[own.any(axis=1)][~own[own.any(axis=1)]])
    return np.asarray(cKDTree(parts.mouth[rim]).query(parts.mouth[tongue])[0])


def _tongue_out(rest: FloatArray, held: FloatArray) -> FloatArray:
    """Movement (n, 3) of the tongue's vertices (n, 3) out of the mouth: over the teeth, thinner, the tip hanging.

    Args:
        rest: (n, 3) at rest.
        held: (n,) distance from the rim at which the floor holds them: near it they stay behind the teeth.
    """
    y, z = rest[:, 1], rest[:, 2]
    top, tip = float(y.max()), float(z.max())
    along = np.clip((z - z.min()) / (tip - z.min()), 0.0, 1.0)
    free = np.clip(held / _HELD_MM, 0.0, 1.0)
    forward = free * _TONGUE_OUT_MM * np.clip((along - 0.15) / 0.85, 0.0, 1.0) ** 1.3
    front = smoothstep(0.3, 0.6, along)
    rise = np.sqrt(free) * front * (top + _TONGUE_MM - (top - y) * _TONGUE_THIN - y)
    beyond = np.maximum(z + forward - tip - _TONGUE_BENDS, 0.0)
    moved: FloatArray = np.stack([np.zeros(len(rest)), rise - _TONGUE_DROP * beyond**2, forward], axis=1)
    return moved


@lru_cache(maxsize=2)
def lids_of(parts: Parts) -> Lids:
    """The lids of the template."""
    return Lids.of(parts.skin, np.arange(len(parts.skin)), parts.eyes)


def with_lids(parts: Parts, skin: FloatArray, part: IntArray, lids: FloatArray) -> FloatArray:
    """Lashes, tear lines and caruncles (L, 3) on the lids of `skin` (V, 3): each is carried rigidly by the template's
    vertices around its root.

    Args:
        part: (V,) as in the topology; skin is 0.
        lids: (L, 3) at rest, beside `parts.skin`: `parts.lids`, or their roots.
    """
    carriers, weights, turning = _carriers(parts, part.tobytes())
    inverse = _roots(parts)[1]
    before, after = parts.skin[carriers], skin[carriers]
    # the nearest vertices say where a root goes, more of them how it turns
    from_place, to_place = (np.einsum("rk,rkc->rc", weights, near[:, :_NEAREST]) for near in (before, after))
    before = before - np.einsum("rk,rkc->rc", turning, before)[:, None]
    after = after - np.einsum("rk,rkc->rc", turning, after)[:, None]
    turns = _rotations(np.einsum("rk,rki,rkj->rij", turning, after, before))
    placed: FloatArray = to_place[inverse] + np.einsum("lij,lj->li", turns[inverse], lids - from_place[inverse])
    return placed


@lru_cache(maxsize=2)
def _roots(parts: Parts) -> tuple[FloatArray, IntArray]:
    unique, inverse = np.unique(parts.lid_root, axis=0, return_inverse=True)
    return unique, inverse.ravel()


@lru_cache(maxsize=2)
def _carriers(parts: Parts, part: bytes) -> tuple[IntArray, FloatArray, FloatArray]:
    """For each root the template vertices (n, 24) around it, weights (n, 6) that move it and (n, 24) that turn it."""
    skin = np.flatnonzero(np.frombuffer(part, dtype=np.int64) == 0)
    unique, _ = _roots(parts)
    distance, found = cKDTree(parts.skin[skin]).query(unique, k=_CARRIERS)
    turning = np.exp(-0.5 * np.square(distance / _REACH_MM))
    near = np.exp(-0.5 * np.square((distance[:, :_NEAREST] - distance[:, :1]) / _NEAR_MM))
    return skin[found], near / near.sum(axis=1, keepdims=True), turning / turning.sum(axis=1, keepdims=True)


def _rotations(moments: FloatArray) -> FloatArray:
    """The rotations (n, 3, 3) nearest to moments (n, 3, 3)."""
    u, _, vt = np.linalg.svd(moments)
    flip = np.sign(np.linalg.det(u @ vt))
    u[:, :, 2] *= flip[:, None]
    rotations: FloatArray = u @ vt
    return rotations
