# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads in Blender: fit the selected scan, edit one region, animate. The work is done by `imhead serve`.

Each module uses only those before it: `client` and `program` (the server), `glb` and `scan` (files), `avatar` (the
scene), `link` (which server), `settings`, `jobs`, `operators`, `panel`.
"""

import bpy

from . import link, operators, panel, settings

_CLASSES = (*settings.CLASSES, *operators.CLASSES, *panel.CLASSES)


def register() -> None:
    """Called by Blender."""
    for kind in _CLASSES:
        bpy.utils.register_class(kind)
    bpy.types.Scene.imhead = bpy.props.PointerProperty(type=settings.ImheadSettings)


def unregister() -> None:
    """Called by Blender."""
    link.end()
    del bpy.types.Scene.imhead
    for kind in reversed(_CLASSES):
        bpy.utils.unregister_class(kind)
