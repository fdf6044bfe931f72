# SPDX-License-Identifier: GPL-3.0-or-later
"""What the buttons do."""

import os

import bpy
from bpy.props import IntProperty, StringProperty
from bpy_extras.io_utils import ExportHelper, ImportHelper
from mathutils import Matrix

from . import avatar, link
from .client import MOST_BYTES, Client
from .jobs import Asking
from .program import Program
from .scan import scan_file
from .settings import program_path

_SMALL_TEXTURE = 512  # where only places are needed


class IMHEAD_OT_start(Asking, bpy.types.Operator):
    """Start imhead on this computer and talk to it"""

    bl_idname, bl_label, bl_options = "imhead.start", "Start", {"INTERNAL"}

    def work(self, context):
        path = program_path(context)
        return lambda job: Program(path)

    def done(self, context, result) -> None:
        link.use(result.client, result)


class IMHEAD_OT_connect(bpy.types.Operator):
    """Talk to a running imhead serve"""

    bl_idname, bl_label, bl_options = "imhead.connect", "Connect", {"INTERNAL"}

    address: StringProperty(name="Address", default="http://127.0.0.1:8081")
    key: StringProperty(name="Key", subtype="PASSWORD", options={"SKIP_SAVE"})

    def invoke(self, context, _event):
        """Ask for address and key."""
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, _context):
        """Try it."""
        try:
            link.use(Client(self.address, self.key))
        except Exception as error:
            self.report({"WARNING" if bpy.app.background else "ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class IMHEAD_OT_stop(bpy.types.Operator):
    """Talk to imhead no longer; one that was started here ends"""

    bl_idname, bl_label, bl_options = "imhead.stop", "Disconnect", {"INTERNAL"}

    def execute(self, _context):
        """End it."""
        link.end()
        return {"FINISHED"}


class IMHEAD_OT_fit(Asking, bpy.types.Operator):
    """Fit a head to the selected mesh and lay its avatar on it"""

    bl_idname, bl_label, bl_options = "imhead.fit", "Fit Selected Scan", {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context) -> bool:
        return link.connected() and context.object is not None and context.object.type == "MESH"

    def work(self, context):
        settings, server, name = context.scene.imhead, link.client(), context.object.name
        scan = scan_file(context, context.object)
        look = settings.look()
        asked = {
            "format": scan.format, "units": settings.units, "mirrored": settings.mirrored,
            "register": settings.register,
        }  # fmt: skip

        def run(job):
            fitted = server.fit(scan.data, asked, job.show, job.stop)
            job.show("avatar", 1.0)
            head, report = fitted["head"], fitted["report"]
            return name, head, server.head_file(head), server.avatar(head, **look), report, scan.to_world, look

        return run

    def done(self, context, result) -> None:
        name, head, file, data, report, to_world, look = result
        armature = avatar.bring_in(context, data, f"{name} head")
        avatar.remember(armature, head, file, look)
        armature.matrix_world = to_world @ Matrix(report["pose"]).inverted() @ avatar.HEAD_FROM_BLENDER
        for warning in report["warnings"]:
            self.report({"INFO"}, warning)


class IMHEAD_OT_sample(Asking, bpy.types.Operator):
    """Draw a new head"""

    bl_idname, bl_label, bl_options = "imhead.sample", "New Head", {"REGISTER", "UNDO"}

    seed: IntProperty(name="Seed", min=0)

    @classmethod
    def poll(cls, _context) -> bool:
        return link.connected()

    def work(self, context):
        server, look, seed = link.client(), context.scene.imhead.look(), self.seed

        def run(job):
            head = server.sample(seed)
            return head, server.head_file(head), server.avatar(head, **look), look

        return run

    def done(self, context, result) -> None:
        head, file, data, look = result
        avatar.remember(avatar.bring_in(context, data, f"head {self.seed}"), head, file, look)


class IMHEAD_OT_open(Asking, ImportHelper, bpy.types.Operator):
    """Open a head file, or an avatar that imhead has made"""

    bl_idname, bl_label, bl_options = "imhead.open", "Open Head or Avatar", {"REGISTER", "UNDO"}

    filter_glob: StringProperty(default="*.safetensors;*.glb", options={"HIDDEN"})

    def invoke(self, context, event):
        """Ask for the file."""
        return ImportHelper.invoke(self, context, event)

    def work(self, context):
        with open(self.filepath, "rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError("the file is larger than any avatar; open a head file, or a GLB of imhead avatar")
        if data[:4] == b"glTF":
            return lambda job: (None, b"", data, {})
        server, look = link.client(), context.scene.imhead.look()

        def run(job):
            head = server.known("0", data)
            return head, data, server.avatar(head, **look), look

        return run

    def done(self, context, result) -> None:
        head, file, data, look = result
        armature = avatar.bring_in(context, data, os.path.splitext(os.path.basename(self.filepath))[0])
        if head is not None:
            avatar.remember(armature, head, file, look)


class _OnAvatar(Asking):
    """An edit of the avatar that is selected."""

    @classmethod
    def poll(cls, context) -> bool:
        return link.connected() and avatar.avatar_of(context.object) is not None

    def edits(self, settings) -> list[dict]:
        """What the server is asked for, one after the other."""
        raise NotImplementedError

    def work(self, context):
        armature, server = avatar.avatar_of(context.object), link.client()
        head, file, look = avatar.remembered(armature)
        steps, name = self.edits(context.scene.imhead), armature.name
        if not steps:
            raise ValueError("nothing to change; move a slider first")

        def run(job):
            now = server.known(head, file)
            for k, step in enumerate(steps):
                job.show("editing", k / len(steps))
                now = server.edit(now, **step)
            job.show("avatar", 1.0)
            small = look | {"texture": _SMALL_TEXTURE, "skin": "light"}  # only its places are used
            return name, now, server.head_file(now), server.avatar(now, **small), look

        return run

    def done(self, context, result) -> None:
        name, head, file, data, look = result
        armature = bpy.data.objects[name]
        avatar.reshape(armature, data)
        avatar.remember(armature, head, file, look)


class IMHEAD_OT_edit(_OnAvatar, bpy.types.Operator):
    """Move the region along the sliders; nothing else moves"""

    bl_idname, bl_label, bl_options = "imhead.edit", "Apply Sliders", {"REGISTER", "UNDO"}

    def edits(self, settings) -> list[dict]:
        return [
            {"regions": [settings.group], "direction": w.name, "strength": w.value, "mirror": settings.mirror}
            for w in settings.words
            if w.value
        ]

    def done(self, context, result) -> None:
        super().done(context, result)
        for word in context.scene.imhead.words:
            word.value = 0.0


class IMHEAD_OT_draw(_OnAvatar, bpy.types.Operator):
    """Draw the region at random, as people vary"""

    bl_idname, bl_label, bl_options = "imhead.draw", "Draw at Random", {"REGISTER", "UNDO"}

    def edits(self, settings) -> list[dict]:
        return [
            {"regions": [settings.group], "sample": settings.seed, "strength": settings.strength,
             "mirror": settings.mirror}
        ]  # fmt: skip


class IMHEAD_OT_save(ExportHelper, bpy.types.Operator):
    """Save the head for imhead: its file opens in the studio and in the commands"""

    bl_idname, bl_label = "imhead.save", "Save Head File"

    filename_ext = ".safetensors"

    @classmethod
    def poll(cls, context) -> bool:
        found = avatar.avatar_of(context.object)
        return found is not None and avatar.FILE in found

    def execute(self, context):
        """Write it."""
        _, data, _ = avatar.remembered(avatar.avatar_of(context.object))
        try:
            with open(self.filepath, "wb") as file:
                file.write(data)
        except OSError as error:
            self.report({"WARNING" if bpy.app.background else "ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class IMHEAD_OT_rest(bpy.types.Operator):
    """Set every shape of the face to 0"""

    bl_idname, bl_label, bl_options = "imhead.rest", "Neutral Face", {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context) -> bool:
        return avatar.avatar_of(context.object) is not None

    def execute(self, context):
        """Reset them."""
        keys = avatar.part(avatar.avatar_of(context.object), "skin").data.shape_keys
        for block in keys.key_blocks[1:]:
            block.value = 0.0
        return {"FINISHED"}


CLASSES = (
    IMHEAD_OT_start, IMHEAD_OT_connect, IMHEAD_OT_stop, IMHEAD_OT_fit, IMHEAD_OT_sample, IMHEAD_OT_open, IMHEAD_OT_edit,
    IMHEAD_OT_draw, IMHEAD_OT_save, IMHEAD_OT_rest,
)  # fmt: skip
