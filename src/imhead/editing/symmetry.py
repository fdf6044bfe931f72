"""The two sides of a head: mirrored heads, and one side made like the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from imhead.checkpoint import Model
from imhead.editing.residual import mirrored_residual, symmetric_residual
from imhead.editing.steps import Regions, region_codes, region_rows, stepped, with_eyes_moved, with_mirrors
from imhead.errors import InputError
from imhead.isosurface.field import HeadField, eyes_of
from imhead.regions import MIRROR, SIDE
from imhead.types import Head

Side = Literal["left", "right", "average"]


def mirrored(model: Model, head: Head) -> Head:
    """The whole head mirrored in the mid-sagittal plane, its expression neutral. Twice is the identity."""
    with torch.no_grad():
        z_id, offsets = model.net.mirror_codes(torch.tensor(head.z_id), torch.tensor(head.offsets))
    return replace(
        head,
        z_id=z_id.numpy(),
        offsets=offsets.numpy(),
        eyes=head.eyes[::-1],
        z_exp=np.zeros_like(head.z_exp),
        residual=None if head.residual is None else mirrored_residual(head.residual),
        provenance=(*head.provenance, "mirrored"),
    )


def symmetrised(model: Model, head: Head, regions: Regions, side: Side) -> Head:
    """Make the regions and their mirror images alike: both like one side, or both like the mean of the two.

    A region on the midline has one code for both its halves: it loses its asymmetric part, whatever the side. Of a
    fitted head, those splines of its residual that reach beyond the regions' balls stay as they are.

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
    what = "both sides like their mean" if side == "average" else f"both sides like the {side}"
    alike = stepped(model, head, both, (wanted - codes)[region_rows(both)], False, what)
    eyes = eyes_of(model, head)
    leading_eyes = {"left": eyes[:1], "right": eyes[1:], "average": eyes.mean(axis=0, keepdims=True)}[side]
    alike = with_eyes_moved(replace(alike, eyes=head.eyes), both, leading_eyes - eyes, False)
    if head.residual is None:
        return alike
    fields = HeadField(model, head), HeadField(model, alike)
    balls = [field.ball(row) for field in fields for row in region_rows(both)]
    return replace(alike, residual=symmetric_residual(head.residual, balls, side))
