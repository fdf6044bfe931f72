# SPDX-License-Identifier: GPL-3.0-or-later
"""The side panel of the 3D view, in the tab imhead."""

import bpy

from . import avatar, link


class _Panel:
    bl_space_type, bl_region_type, bl_category = "VIEW_3D", "UI", "imhead"


class IMHEAD_PT_head(_Panel, bpy.types.Panel):
    """Server, scan, avatar."""

    bl_idname, bl_label = "IMHEAD_PT_head", "Head"

    def draw(self, context) -> None:
        layout, settings = self.layout, context.scene.imhead
        layout.use_property_split = True
        if not link.connected():
            layout.operator("imhead.start", icon="PLAY")
            layout.operator("imhead.connect", icon="LINKED")
        else:
            layout.operator("imhead.stop", icon="UNLINKED")
        column = layout.column()
        column.prop(settings, "units")
        column.prop(settings, "mirrored")
        column.prop(settings, "register")
        for name in ("skin", "eyes", "lod"):
            column.prop(settings, name)
        column.operator("imhead.fit", icon="USER")
        column.operator("imhead.sample", icon="ADD")
        column.operator("imhead.open", icon="FILE_FOLDER")
        column.operator("imhead.save", icon="FILE_TICK")


class _OfAvatar(_Panel):
    @classmethod
    def poll(cls, context) -> bool:
        return avatar.avatar_of(context.object) is not None


class IMHEAD_PT_region(_OfAvatar, bpy.types.Panel):
    """Change one region."""

    bl_idname, bl_label = "IMHEAD_PT_region", "Region"

    def draw(self, context) -> None:
        layout, settings = self.layout, context.scene.imhead
        layout.use_property_split = True
        layout.prop(settings, "group")
        for word in settings.words:
            layout.prop(word, "value", text=word.name.capitalize(), slider=True)
        layout.prop(settings, "mirror")
        layout.operator("imhead.edit", icon="MOD_SMOOTH")
        layout.separator()
        layout.prop(settings, "seed")
        layout.prop(settings, "strength")
        layout.operator("imhead.draw", icon="SHADERFX")


class IMHEAD_PT_face(_OfAvatar, bpy.types.Panel):
    """The 52 shapes."""

    bl_idname, bl_label, bl_options = "IMHEAD_PT_face", "Expression", {"DEFAULT_CLOSED"}

    def draw(self, context) -> None:
        layout = self.layout
        layout.operator("imhead.rest", icon="LOOP_BACK")
        keys = avatar.part(avatar.avatar_of(context.object), "skin").data.shape_keys
        for block in keys.key_blocks[1:]:
            layout.prop(block, "value", text=block.name, slider=True)


CLASSES = (IMHEAD_PT_head, IMHEAD_PT_region, IMHEAD_PT_face)
