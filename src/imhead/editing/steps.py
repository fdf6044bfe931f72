"""Steps in region codes: every edit is one. Only the offsets of the chosen regions change.

So the field stays the same, bit for bit, outside the old and new balls of the chosen regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from imhead.checkpoint import Model
from imhead.conventions import MODEL_UNIT_MM
from imhead.errors import InputError
from imhead.isosurface.field import eyes_of
from imhead.regions import REGIONS, Region, groups
from imhead.types import FloatArray, Head

_NEIGHBOUR_SIGMA = 0.5  # how far the other regions may drift in a conditioned draw, standard deviations
Regions = tuple[Region, ...]
_LIDS = [[r.index for r in REGIONS if r.name in (f"{s}_upper_lid", f"{s}_lower_lid")] for s in ("left", "right")]


def region_codes(model: Model, head: Head) -> FloatArray:
    """The head's 39 region codes (39, 64), offsets included."""
    codes: FloatArray = np.einsum("i,irc->rc", head.z_id, unfolding(model)) + head.offsets
    return codes


def directions(model: Model, regions: Regions) -> tuple[FloatArray, FloatArray]:
    """Principal directions of the regions together, over the model's identities.

    Returns:
        (K, n, 64) steps of one standard deviation each, largest first, and (K,) their share of the variance.
    """
    unfold = unfolding(model)[:, region_rows(regions)].reshape(len(unfolding(model)), -1)
    _, sigma, basis = np.linalg.svd(unfold, full_matrices=False)
    steps = (sigma[:, None] * basis).reshape(len(sigma), len(regions), -1)
    return steps, sigma**2 / (sigma**2).sum()


def conditional_steps(model: Model, regions: Regions) -> FloatArray:
    """(256, n, 64) independent steps of one standard deviation each, conditioned on the other regions."""
    unfold = unfolding(model)
    chosen = region_rows(regions)
    others = [r.index for r in REGIONS if r.index not in chosen]
    outside = unfold[:, others].reshape(len(unfold), -1)
    precision = np.eye(len(unfold)) + outside @ outside.T / (_NEIGHBOUR_SIGMA**2 * max(len(others), 1))
    # z ~ N(0, precision⁻¹) from its Cholesky factor
    identities = np.linalg.solve(np.linalg.cholesky(precision).T, np.eye(len(unfold)))
    steps: FloatArray = np.einsum("ik,irc->krc", identities, unfold[:, chosen])
    return steps


def along_direction(model: Model, head: Head, regions: Regions, index: int, strength: float, mirror: bool) -> Head:
    """Step `strength` standard deviations along principal direction `index` of the regions.

    Raises:
        InputError: there is no such direction.
    """
    steps, _ = directions(model, regions)
    count = min(len(steps), steps[0].size)
    if not 0 <= index < count:
        raise InputError(f"direction {index} is outside 0 to {count - 1} for {region_names(regions)}")
    return stepped(model, head, regions, strength * steps[index], mirror, f"direction {index} by {strength:g} sigma")


def conditioned_draw(model: Model, head: Head, regions: Regions, seed: int, strength: float, mirror: bool) -> Head:
    """The regions drawn around where they are, as identities vary while their other regions stay about the same."""
    steps = conditional_steps(model, regions)
    drawn = np.random.default_rng(seed).normal(size=len(steps))
    delta = strength * np.tensordot(drawn, steps, axes=1)
    return stepped(model, head, regions, delta, mirror, f"sampled with seed {seed}, strength {strength:g}")


def from_other(model: Model, head: Head, other: Head, regions: Regions, strength: float, mirror: bool) -> Head:
    """Take the regions from another head; `strength` 0.5 goes half way."""
    delta = strength * (region_codes(model, other) - region_codes(model, head))[region_rows(regions)]
    what = f"taken from a head ({_origin(other)}), strength {strength:g}"
    taken = _of_scales(stepped(model, head, regions, delta, mirror, what), [other] if strength else [])
    taken = replace(taken, eyes=head.eyes)
    return with_eyes_moved(taken, regions, strength * (eyes_of(model, other) - eyes_of(model, head)), mirror)


def blend(
    model: Model, head: Head, others: Sequence[tuple[Head, float]], regions: Regions, mirror: bool = False
) -> Head:
    """Mix the regions of several heads; the rest of the weights to 1 stays the head's own.

    Args:
        others: heads and their weights, none below 0 and together at most 1.

    Raises:
        InputError: no head, or weights below 0 or above 1 in sum.
    """
    weights = np.array([weight for _, weight in others], dtype=np.float64)
    if not len(weights):
        raise InputError("a blend needs at least one other head and its weight")
    if not np.isfinite(weights).all() or (weights < 0.0).any() or weights.sum() > 1.0 + 1e-9:
        given = ", ".join(f"{weight:g}" for weight in weights)
        raise InputError(f"blend weights {given} are not shares; give numbers from 0 that add up to 1 or less")
    own = region_codes(model, head)[region_rows(regions)]
    delta = sum(weight * (region_codes(model, other)[region_rows(regions)] - own) for other, weight in others)
    sources = ", ".join(f"{weight:g} of {_origin(other)}" for other, weight in others)
    blended = stepped(model, head, regions, np.asarray(delta), mirror, f"blended: {sources}")
    blended = replace(_of_scales(blended, [other for other, weight in others if weight]), eyes=head.eyes)
    own_eyes = eyes_of(model, head)
    moved = sum(weight * (eyes_of(model, other) - own_eyes) for other, weight in others)
    return with_eyes_moved(blended, regions, np.asarray(moved), mirror)


def with_eyes_moved(head: Head, regions: Regions, change: FloatArray, mirror: bool) -> Head:
    """The head with changes (2, 5) of those eyeballs whose whole eye group is among the regions; others stay.

    With `mirror`, an eyeball whose group is not among them follows the other one.
    """
    chosen = {region.name for region in regions}
    whole = [chosen >= set(groups()[f"{side}_eye"]) for side in ("left", "right")]
    if not any(whole):
        return head
    moved = np.array([change[side] if whole[side] else np.zeros_like(change[side]) for side in range(2)])
    if mirror and whole[0] != whole[1]:
        moved[:] = change[0] if whole[0] else change[1]
    return replace(head, eyes=head.eyes + moved)


def stepped(model: Model, head: Head, regions: Regions, delta: FloatArray, mirror: bool, what: str) -> Head:
    """The head after a step (n, 64) of its regions' codes, mirrored too with `mirror`; `what` joins its provenance.

    An eyeball whose whole eye group is among the regions follows its lids.
    """
    offsets = np.array(head.offsets)
    where = region_names(regions)
    if mirror:
        offsets += symmetric(model, regions, delta)
        where += ", mirrored"
    else:
        offsets[region_rows(regions)] += delta
    moved = replace(head, offsets=offsets, provenance=(*head.provenance, f"{where}: {what}"))
    change = np.zeros_like(head.eyes)
    change[:, :3] = _lid_centers(model, moved) - _lid_centers(model, head)
    change[1, 0] *= -1.0  # the right eyeball is kept as the left one of the mirrored head
    return with_eyes_moved(moved, regions, change, mirror)


def _lid_centers(model: Model, head: Head) -> FloatArray:
    """(2, 3) mean of the keypoints of the lids of the left and the right eye, mm."""
    with torch.no_grad():
        codes = torch.from_numpy(region_codes(model, head)).to(model.net.keypoint_net.weight)[None]
        keypoints = model.net.keypoint_net(codes)[0].double().cpu().numpy() * MODEL_UNIT_MM
    centers: FloatArray = np.stack([keypoints[rows].mean(axis=0) for rows in _LIDS])
    return centers


def symmetric(model: Model, regions: Regions, delta: FloatArray) -> FloatArray:
    """A step (…, n, 64) of the regions as (…, 39, 64), alike on both sides; where both are chosen the left leads."""
    full = np.zeros((*delta.shape[:-2], len(REGIONS), delta.shape[-1]))
    parity = model.net.region_parity.cpu().numpy()
    chosen = set(region_rows(regions))
    for k, region in enumerate(regions):
        step = delta[..., k, :]
        if region.side == 0:
            full[..., region.index, :] = np.where(parity[region.index] > 0, step, 0.0)
        elif region.side > 0 or region.mirror not in chosen:
            full[..., region.index, :] = full[..., region.mirror, :] = step
    return full


@lru_cache(maxsize=4)
def unfolding(model: Model) -> FloatArray:
    """DecNet's weight (256, 39, 64): change of the codes for one standard deviation of each identity dimension."""
    weight: FloatArray = model.net.decnet.weight.detach().cpu().numpy().astype(np.float64)
    weight.setflags(write=False)
    return weight


def region_rows(regions: Regions) -> list[int]:
    """Rows of the regions in an array of codes."""
    return [r.index for r in regions]


def with_mirrors(regions: Regions) -> Regions:
    """The regions and their mirror images, in region order, each once."""
    both = {index for region in regions for index in (region.index, region.mirror)}
    return tuple(r for r in REGIONS if r.index in both)


def region_names(regions: Regions) -> str:
    """Names of the regions, for a sentence."""
    return ", ".join(r.name for r in regions)


def _of_scales(head: Head, others: Sequence[Head]) -> Head:
    """The head, of assumed scale where that of a head that shaped it was."""
    return replace(head, scale_assumed=head.scale_assumed or any(other.scale_assumed for other in others))


def _origin(head: Head) -> str:
    return head.provenance[0] if head.provenance else "another head"
