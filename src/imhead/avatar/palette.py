"""Named colours of skin and eyes. sRGB, 0 to 255."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from imhead.errors import InputError

Color = tuple[int, int, int]
_Colors = TypeVar("_Colors")
_FULL_LIGHT = 0.995


@dataclass(frozen=True)
class SkinTone:
    """The colours that a skin is painted with."""

    skin: Color
    """Forehead and cheeks."""
    blood: Color
    """Where blood shows: cheeks, nose, ears."""
    lips: Color
    """The red of the lips."""
    brows: Color
    """Hairs of the brows; lashes are darker."""
    freckles: float
    """How much the pigment varies, 0 to 1."""


@dataclass(frozen=True)
class EyeColor:
    """The colours of an iris."""

    outer: Color
    """Most of it."""
    inner: Color
    """Around the pupil."""
    rim: Color
    """Where the iris ends."""


SKINS: Mapping[str, SkinTone] = {
    "porcelain": SkinTone((238, 205, 188), (222, 150, 138), (196, 118, 112), (128, 92, 66), 0.9),
    "fair": SkinTone((230, 190, 168), (212, 136, 120), (186, 106, 98), (104, 74, 52), 0.7),
    "light": SkinTone((219, 174, 147), (198, 122, 102), (174, 96, 86), (72, 50, 38), 0.5),
    "olive": SkinTone((200, 155, 120), (178, 106, 84), (156, 86, 76), (48, 35, 28), 0.4),
    "tan": SkinTone((178, 128, 94), (156, 88, 68), (140, 76, 66), (38, 28, 24), 0.35),
    "brown": SkinTone((136, 91, 65), (120, 64, 50), (112, 60, 54), (28, 21, 19), 0.25),
    "deep": SkinTone((94, 61, 46), (86, 45, 38), (88, 48, 46), (20, 16, 15), 0.2),
    "ebony": SkinTone((66, 44, 36), (64, 34, 30), (72, 40, 40), (14, 12, 12), 0.15),
}
EYES: Mapping[str, EyeColor] = {
    "brown": EyeColor((78, 47, 27), (112, 70, 36), (32, 20, 14)),
    "dark_brown": EyeColor((48, 30, 20), (68, 42, 26), (20, 14, 11)),
    "amber": EyeColor((150, 100, 44), (180, 126, 60), (74, 48, 26)),
    "hazel": EyeColor((112, 104, 62), (146, 98, 50), (56, 52, 36)),
    "green": EyeColor((104, 128, 88), (150, 138, 84), (50, 66, 52)),
    "blue": EyeColor((104, 142, 174), (164, 176, 172), (44, 66, 92)),
    "grey": EyeColor((134, 148, 156), (170, 172, 164), (64, 74, 82)),
}


def eyes_text(name: str, light: float) -> str:
    """A colour of eyes and the light on them, as a head file keeps them: `blue`, or `blue 0.42` in a dark scan.

    Args:
        name: a colour; empty where it was not seen.
        light: of the whites, as a share of daylight's, above 0 to 1.
    """
    return name if light >= _FULL_LIGHT else f"{name} {light:.2f}"


def eyes_read(text: str) -> tuple[str, float]:
    """Name and light of a text of `eyes_text`, from a file that may hold anything."""
    name, _, number = text.partition(" ")
    try:
        light = float(number) if number else 1.0
    except ValueError:
        light = 1.0
    return name, light if 0.0 < light <= 1.0 else 1.0


def skin_named(name: str) -> SkinTone:
    """A skin by name.

    Raises:
        InputError: there is no such skin; the message lists all.
    """
    return _named(SKINS, name, "skin")


def eyes_named(name: str) -> EyeColor:
    """A colour of eyes by name.

    Raises:
        InputError: there is no such colour; the message lists all.
    """
    return _named(EYES, name, "colour of eyes")


def _named(table: Mapping[str, _Colors], name: str, what: str) -> _Colors:
    if name not in table:
        near = difflib.get_close_matches(name, table, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise InputError(f"no {what} is named {name!r}{hint} There are: {', '.join(table)}")
    return table[name]
