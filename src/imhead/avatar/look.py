"""What a person chooses of an avatar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from imhead.avatar.names import Names, shape_name
from imhead.avatar.palette import EYES, SKINS, EyeColor, SkinTone, eyes_named, eyes_read, skin_named
from imhead.errors import InputError
from imhead.types import SkinImage

TEXTURE_SIZES = (512, 1024, 2048, 4096)
DEFAULT_TEXTURE = 2048
Drive = Literal["morphs", "joints"]


@dataclass(frozen=True)
class Look:
    """What a person chooses of an avatar.

    >>> imhead.Look(skin="olive", eyes="green", lod=1).names
    'arkit'
    """

    skin: str | None = None
    """Name of a painted skin (`palette.SKINS`); None for the head's own colours, or light where it has none."""
    eyes: str | None = None
    """Name of a colour of eyes (`palette.EYES`); None for the scan's, or brown."""
    seed: int = 0
    """Draws blotches, brows and the fibres of the iris."""
    texture: int | None = None
    """Side of the skin's picture, pixels; None for that of the head's own colours, or 2048."""
    names: Names = "arkit"
    """How shapes and joints are called."""
    drive: Drive = "morphs"
    """What opens the jaw and turns the eyes: the shapes, or the joints. Never both."""
    lod: int = 0
    """Level of detail of the skin: 0 as the template has it, 1 about 5 000 vertices, 2 about 1 500."""

    def __post_init__(self) -> None:
        if self.skin is not None:
            skin_named(self.skin)
        if self.eyes is not None:
            eyes_named(self.eyes)
        shape_name("jawOpen", self.names)
        if not 0 <= self.seed < 2**63:
            raise InputError(f"the seed is {self.seed}; choose 0 or more")
        if self.texture not in (None, *TEXTURE_SIZES):
            raise InputError(
                f"a texture of {self.texture} pixels is not made; use {', '.join(map(str, TEXTURE_SIZES))}"
            )
        if self.drive not in get_args(Drive):
            raise InputError(f"drive {self.drive!r} is not known; use {', '.join(get_args(Drive))}")
        if self.lod not in (0, 1, 2):
            raise InputError(f"level of detail {self.lod!r} is not made; use 0, 1 or 2")

    def tone(self, own: SkinImage | None) -> SkinTone:
        """The tone of what is painted, on a skin of the head's own or a painted one."""
        found = self.skin or (own.tone if own is not None else "")
        return SKINS.get(found, SKINS["light"])

    def eye_color(self, own: SkinImage | None) -> EyeColor:
        """The colour of the eyes."""
        found = self.eyes or (eyes_read(own.eyes)[0] if own is not None else "")
        return EYES.get(found, EYES["brown"])

    def eye_light(self, own: SkinImage | None) -> float:
        """The light on eyes and teeth, as a share of daylight: that of the scan whose colours are worn."""
        return 1.0 if own is None else eyes_read(own.eyes)[1]
