"""Colours and pictures of scans, from untrusted files: bounded in pixels, and never a reason to lose the scan."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from imhead.conventions import srgb_bytes, srgb_to_linear
from imhead.errors import InputError
from imhead.io.siblings import shown_name

PICTURE_KINDS = ("JPEG", "PNG", "WEBP", "BMP", "TGA")
"""Formats that are decoded; the others of the library never see the bytes."""
MOST_PIXELS = 1 << 26
"""Pixels of all pictures of one scan together: 8192 by 8192."""
_MOST_PICTURES = 256
_LONGEST_SIDE = 1 << 15
_LINEAR = srgb_to_linear(np.arange(256) / 255.0)


class Undecodable(ValueError):
    """A picture that cannot be used; the message is the reason, a clause."""


def decoded(data: bytes, most_pixels: int = MOST_PIXELS) -> NDArray[np.uint8]:
    """(H, W, 3) sRGB of an encoded picture, row 0 at its top. A JPEG of too many pixels is halved until it fits.

    Raises:
        Undecodable: an unknown format, damaged, empty, or too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library, about size and damage; both are looked at here
            with Image.open(io.BytesIO(data), formats=PICTURE_KINDS) as picture:
                width, height = picture.size
                if picture.format == "JPEG" and width * height > most_pixels > 0:
                    shrink = math.ceil(math.sqrt(width * height / most_pixels))
                    picture.draft("RGB", (width // shrink, height // shrink))
                    width, height = picture.size
                if not width or not height or max(width, height) > _LONGEST_SIDE or width * height > most_pixels:
                    raise Undecodable(f"it has {width} × {height} pixels; save it with 8192 × 8192 at most")
                if picture.mode.startswith(("I", "F")):  # 16 bits, which the library would clip
                    grey = np.asarray(picture, dtype=np.float64) / (257.0 if picture.mode.startswith("I") else 1.0)
                    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
                return np.asarray(picture.convert("RGB"))
    except Undecodable:
        raise
    except Image.DecompressionBombError:
        raise Undecodable("it has far too many pixels; save it with 8192 × 8192 at most") from None
    except UnidentifiedImageError:
        raise Undecodable("it is none of " + ", ".join(PICTURE_KINDS)) from None
    except MemoryError:
        raise Undecodable("it needs too much memory; save it smaller") from None
    except Exception:  # the library raises anything on a damaged file
        raise Undecodable("it is damaged") from None


class Pictures:
    """The pictures of one scan: each decoded once, all within one number of pixels; what fails becomes a warning."""

    def __init__(self) -> None:
        self.found: list[NDArray[np.uint8]] = []
        """(H, W, 3) sRGB each."""
        self.warnings: list[str] = []
        """A sentence for each picture that was left out."""
        self._rows: dict[Any, int] = {}
        self._left = MOST_PIXELS

    def row(self, key: Any, name: str, data: Callable[[], bytes], factor: Sequence[float] = (1.0, 1.0, 1.0)) -> int:
        """The row of a picture, or -1 where it cannot be had.

        Args:
            key: tells it from the others.
            name: for the warning.
            data: gives its bytes; may raise InputError.
            factor: linear RGB, 0 to 1, by which its colours are multiplied.
        """
        key = (key, tuple(factor))
        if key not in self._rows:
            self._rows[key] = self._decode(name, data, factor)
        return self._rows[key]

    def plain(self, color: Sequence[int]) -> int:
        """The row of a picture of one pixel, sRGB from 0 to 255; -1 where there are too many."""
        key = ("plain", tuple(color))
        if key not in self._rows:
            fits = len(self.found) < _MOST_PICTURES
            self._rows[key] = self._keep(np.array(color, dtype=np.uint8)[None, None]) if fits else -1
        return self._rows[key]

    def leave_out(self, name: str, reason: str) -> None:
        """Warn about a picture that is not used; once for each."""
        warning = f"The picture {shown_name(name)} was left out: {reason}."
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _keep(self, picture: NDArray[np.uint8]) -> int:
        picture.setflags(write=False)
        self.found.append(picture)
        return len(self.found) - 1

    def _decode(self, name: str, data: Callable[[], bytes], factor: Sequence[float]) -> int:
        try:
            if len(self.found) >= _MOST_PICTURES:
                raise Undecodable(f"a scan has at most {_MOST_PICTURES} pictures")
            picture = decoded(data(), self._left)
        except (Undecodable, InputError) as error:
            self.leave_out(name, str(error))
            return -1
        self._left -= picture.shape[0] * picture.shape[1]
        if tuple(factor) != (1.0, 1.0, 1.0):
            table = srgb_bytes(_LINEAR[:, None] * np.array(factor, dtype=np.float64)[None, :3])
            picture = np.stack([table[picture[..., k], k] for k in range(3)], axis=-1)
        return self._keep(picture)


def color_bytes(values: NDArray[Any], *, whole: bool) -> NDArray[np.uint8]:
    """sRGB bytes of colours as files write them: whole numbers to 255 or 65535, or fractions to 1.

    Args:
        values: any shape; what is not finite becomes 0.
        whole: whether the file declares whole numbers.
    """
    if values.dtype == np.uint8:
        return np.array(values)
    with np.errstate(invalid="ignore"):
        numbers = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    largest = float(numbers.max(initial=0.0))
    scale = 255.0 if largest <= 1.0 and not whole else 1.0 if largest <= 255.0 else 255.0 / 65535.0
    return np.clip(np.round(numbers * scale), 0, 255).astype(np.uint8)
