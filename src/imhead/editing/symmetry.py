"""The two sides of a head, and what must not change: mirrored heads, one side like the other, locks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from imhead.checkpoint import Model
from imhead.editing.steps import Regions, names, region_codes, rows, stepped, symmetric, with_mirrors
from imhead.errors import InputError
from imhead.regions import MIRROR, REGIONS, SIDE
from imhead.types import FloatArray, Head

Side = Literal["left", "right", "average"]


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


def symmetrised(model: Model, head: Head, regions: Regions, side: Side) -> Head:
    """Both sides of the regions and their mirror images made alike: both like one side, or like the mean of both.

    A region on the midline has one code for both its halves: it loses what is not symmetric in it, whatever the side.

    Raises:
        InputError: no such side.
    """
    if side not in ("left", "right", "average"):
        raise InputError(f"side {side!r} is not known; use left, right or average")
    both = with_mirrors(regions)
    codes = region_codes(model, head)
    image = codes[MIRROR] * model.net.region_parity.cpu().numpy()
    mean = 0.5 * (codes + image)
    wanted = mean.copy()
    if side != "average":
        leading = 1 if side == "left" else -1
        wanted[leading == SIDE] = codes[leading == SIDE]
        wanted[-leading == SIDE] = image[-leading == SIDE]
    told = "both sides like their mean" if side == "average" else f"both sides like the {side}"
    return stepped(model, head, both, (wanted - codes)[rows(both)], False, told)


@dataclass(frozen=True)
class Locks:
    """What later edits must respect."""

    regions: Regions = ()
    """Regions that stay as they are."""
    symmetric: bool = False
    """Whether each step is made on both sides alike. What made the sides differ before stays."""


def respecting(model: Model, before: Head, after: Head, locks: Locks) -> Head:
    """An edited head with its step cut down to what the locks allow; `before` is the head before the edit.

    Raises:
        InputError: the two heads are different people, so that no step leads from one to the other.
    """
    if not np.array_equal(before.z_id, after.z_id):
        raise InputError("locks hold for an edit of one head; these two are different identities")
    step: FloatArray = np.asarray(after.offsets, dtype=np.float64) - before.offsets
    if locks.symmetric:
        # each pair follows the side that moved more, so that an edit of the right side is not lost
        moved = np.linalg.norm(step, axis=1)
        ahead = moved - moved[MIRROR]
        leads = tuple(r for r in REGIONS if ahead[r.index] > 0.0 or (ahead[r.index] == 0.0 and r.side >= 0))
        step = symmetric(model, leads, step[rows(leads)])
    step[rows(locks.regions)] = 0.0
    if locks.symmetric:
        step[[r.mirror for r in locks.regions]] = 0.0
    offsets = np.where(step != 0.0, before.offsets + step, before.offsets)
    told = [f"{names(locks.regions)} locked"] if locks.regions else []
    told += ["both sides alike"] if locks.symmetric else []
    if not told:
        return after
    return replace(after, offsets=offsets, provenance=(*after.provenance, "; ".join(told)))
