"""The encoded picture of an avatar's skin: the head's own, byte for byte, or a painted one."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imhead.avatar.look import DEFAULT_TEXTURE, Look
from imhead.avatar.parts import Parts
from imhead.avatar.skin_paint import skin_picture
from imhead.errors import InputError
from imhead.io.pictures import Undecodable, decoded
from imhead.template.topology import Topology
from imhead.types import SkinImage

_QUALITY = 90
_DAMAGED = "the picture of the head's own colours cannot be used ({}); make the head again from its scan"


def skin_jpeg(topology: Topology, parts: Parts, look: Look, own: SkinImage | None) -> bytes:
    """A JPEG of the skin on the template's UVs.

    Args:
        topology: of the template.
        parts: of an avatar.
        look: the tone, and the size.
        own: the head's own colours; they stay as they are unless another size is asked for.

    Raises:
        InputError: the head's own picture cannot be decoded.
    """
    if own is None:
        picture = skin_picture(topology, parts, look.tone(None), look.seed, look.texture or DEFAULT_TEXTURE)
        return jpeg_bytes(picture)
    try:
        picture = decoded(own.picture)  # a file from a stranger is looked at before it goes into another
    except Undecodable as error:
        raise InputError(_DAMAGED.format(error)) from None
    if not own.picture.startswith(b"\xff\xd8") or picture.shape[0] != picture.shape[1]:
        raise InputError(_DAMAGED.format("it is no square JPEG"))
    if look.texture in (None, len(picture)):
        return own.picture
    side = look.texture or DEFAULT_TEXTURE
    return jpeg_bytes(np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)))


def jpeg_bytes(picture: NDArray[np.uint8], quality: int = _QUALITY) -> bytes:
    """A picture (H, W, 3) as a JPEG with full colours."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()
