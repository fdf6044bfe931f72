"""Edits: a head and a choice of regions in, a head out. Only the chosen regions' offsets change.

An edit is a step Δ in region codes. Nothing else of the head is touched, so its field stays the same, bit for bit,
outside the chosen regions' old and new balls.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.regions import REGIONS, Region
from imhead.types import FloatArray, Head

_NEIGHBOUR_SIGMA = 4.0  # how loosely a sampled region must agree with the regions that stay
Regions = tuple[Region, ...]


def region_codes(model: Model, head: Head) -> FloatArray:
    """The head's 39 region codes (39, 32), offsets included."""
    codes: FloatArray = np.einsum("i,irc->rc", head.z_id, _decnet(model)) + head.offsets
    return codes


def directions(model: Model, regions: Regions) -> tuple[FloatArray, FloatArray]:
    """Principal directions of the regions together, over the identities that the model knows.

    Returns:
        (K, n, 32) steps of one standard deviation each, largest first, and (K,) their share of the variance.
    """
    unfold = _decnet(model)[:, [r.index for r in regions]].reshape(len(_decnet(model)), -1)
    _, sigma, basis = np.linalg.svd(unfold, full_matrices=False)
    steps = (sigma[:, None] * basis).reshape(len(sigma), len(regions), -1)
    return steps, sigma**2 / (sigma**2).sum()


def along_direction(model: Model, head: Head, regions: Regions, index: int, strength: float, mirror: bool) -> Head:
    """Step `strength` standard deviations along principal direction `index` of the regions.

    Raises:
        InputError: there is no such direction.
    """
    steps, _ = directions(model, regions)
    count = min(len(steps), 32 * len(regions))
    if not 0 <= index < count:
        raise InputError(f"direction {index} is outside 0 to {count - 1} for {_names(regions)}")
    return _step(model, head, regions, strength * steps[index], mirror, f"direction {index} by {strength:g} sigma")


def sample(model: Model, head: Head, regions: Regions, seed: int, strength: float, mirror: bool) -> Head:
    """Draw the regions anew around where they are, as identities vary them while the other regions stay about put."""
    unfold = _decnet(model)
    chosen = [r.index for r in regions]
    others = [r.index for r in REGIONS if r.index not in chosen]
    outside = unfold[:, others].reshape(len(unfold), -1)
    precision = np.eye(len(unfold)) + outside @ outside.T / (_NEIGHBOUR_SIGMA**2 * max(len(others), 1))
    # z ~ N(0, precision⁻¹) from its Cholesky factor
    drawn = np.random.default_rng(seed).normal(size=len(unfold))
    z = np.linalg.solve(np.linalg.cholesky(precision).T, drawn)
    delta = strength * np.einsum("i,irc->rc", z, unfold[:, chosen])
    return _step(model, head, regions, delta, mirror, f"sampled with seed {seed}, strength {strength:g}")


def from_other(model: Model, head: Head, other: Head, regions: Regions, strength: float, mirror: bool) -> Head:
    """Take the regions from another head; `strength` 0.5 is half way."""
    chosen = [r.index for r in regions]
    delta = strength * (region_codes(model, other) - region_codes(model, head))[chosen]
    origin = other.provenance[0] if other.provenance else "another head"
    return _step(model, head, regions, delta, mirror, f"taken from a head ({origin}), strength {strength:g}")


def reset(model: Model, head: Head, regions: Regions) -> Head:
    """Drop the regions' offsets: back to what z_id says."""
    chosen = [r.index for r in regions]
    return _step(model, head, regions, -np.array(head.offsets[chosen]), False, "reset")


def mirrored(model: Model, head: Head) -> Head:
    """The whole head mirrored in the mid-sagittal plane, its expression neutral. Twice is the identity."""
    with torch.no_grad():
        z_id, offsets = model.net.mirror_codes(torch.tensor(head.z_id), torch.tensor(head.offsets))
    return replace(
        head,
        z_id=z_id.numpy(),
        offsets=offsets.numpy(),
        z_exp=np.zeros_like(head.z_exp),
        provenance=(*head.provenance, "mirrored"),
    )


def _step(model: Model, head: Head, regions: Regions, delta: FloatArray, mirror: bool, what: str) -> Head:
    offsets = np.array(head.offsets)
    names = _names(regions)
    if mirror:
        offsets += _symmetric(model, regions, delta)
        names += ", mirrored"
    else:
        offsets[[r.index for r in regions]] += delta
    return replace(head, offsets=offsets, provenance=(*head.provenance, f"{names}: {what}"))


def _symmetric(model: Model, regions: Regions, delta: FloatArray) -> FloatArray:
    """The step on both sides alike. Where both sides are chosen, the left one leads."""
    full = np.zeros((len(REGIONS), delta.shape[1]))
    parity = model.net.region_parity.cpu().numpy()
    chosen = {r.index for r in regions}
    for region, step in zip(regions, delta):
        if region.side == 0:
            full[region.index] = np.where(parity[region.index] > 0, step, 0.0)
        elif region.side > 0 or region.mirror not in chosen:
            full[region.index] = full[region.mirror] = step
    return full


def _decnet(model: Model) -> FloatArray:
    weight: FloatArray = model.net.decnet.weight.detach().cpu().numpy().astype(np.float64)
    return weight


def _names(regions: Regions) -> str:
    return ", ".join(r.name for r in regions)
