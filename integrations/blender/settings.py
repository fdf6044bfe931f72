# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person chooses in the panel, and where the program lies."""

import bpy
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from . import link

_SKINS = ("porcelain", "fair", "light", "olive", "tan", "brown", "deep", "ebony")
_EYES = ("brown", "dark_brown", "amber", "hazel", "green", "blue", "grey")


def _named(names):
    return [(name, name.replace("_", " ").capitalize(), "") for name in names]


def _groups(_self, _context):
    return link.group_items()


def _fill(self, _context) -> None:
    """Sliders of the chosen group."""
    self.words.clear()
    for word in link.words_of(self.group):
        self.words.add().name = word


class ImheadWord(bpy.types.PropertyGroup):
    """A direction, such as wider."""

    value: FloatProperty(
        name="Strength", description="In standard deviations of people", min=-3.0, max=3.0, soft_min=-2.0, soft_max=2.0
    )


class ImheadSettings(bpy.types.PropertyGroup):
    """Kept in the scene."""

    units: EnumProperty(
        name="Unit", description="Length of one unit of the scan",
        items=[("auto", "Find out", "From the size of the head"), *_named(("mm", "cm", "m", "in"))],
    )  # fmt: skip
    mirrored: BoolProperty(name="Mirrored", description="Left and right of the scan are swapped")
    register: BoolProperty(
        name="Follow the Scan Closely", default=True,
        description="Move the surface onto the scan beyond what the model can say",
    )  # fmt: skip
    skin: EnumProperty(
        name="Skin", items=[("own", "Of the Scan", "Light, if the scan has no colours"), *_named(_SKINS)]
    )
    eyes: EnumProperty(name="Eyes", items=[("own", "Of the Scan", "Brown, if it shows none"), *_named(_EYES)])
    lod: EnumProperty(
        name="Detail",
        items=[("0", "Fine", "14 000 points"), ("1", "Middle", "5 000 points"), ("2", "Coarse", "1 500 points")],
    )
    group: EnumProperty(name="Region", items=_groups, update=_fill)
    words: CollectionProperty(type=ImheadWord)
    mirror: BoolProperty(name="Both Sides", description="Make the same change on the other side")
    seed: IntProperty(name="Seed", description="The same seed draws the same region", min=0)
    strength: FloatProperty(name="Strength", default=1.0, min=0.0, max=3.0)

    def look(self) -> dict:
        """Settings of an avatar, as the server names them."""
        chosen = {"lod": int(self.lod)}
        chosen |= {} if self.skin == "own" else {"skin": self.skin}
        return chosen | ({} if self.eyes == "own" else {"eyes": self.eyes})


class ImheadPreferences(bpy.types.AddonPreferences):
    """Where the program lies."""

    bl_idname = __package__

    program: StringProperty(
        name="Program imhead", subtype="FILE_PATH",
        description="Such as .venv/bin/imhead; empty for the one on the search path",
    )  # fmt: skip

    def draw(self, _context) -> None:
        """One field."""
        self.layout.prop(self, "program")


def program_path(context) -> str:
    """The path in the preferences; empty where they are not there."""
    addon = context.preferences.addons.get(__package__)
    return bpy.path.abspath(addon.preferences.program) if addon and addon.preferences else ""


CLASSES = (ImheadWord, ImheadSettings, ImheadPreferences)
