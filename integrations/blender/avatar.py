# SPDX-License-Identifier: GPL-3.0-or-later
"""An avatar in the scene: brought in once, then reshaped in place, so that materials and animation stay."""

import base64
import json
import os
import tempfile

import bpy
import numpy as np
from mathutils import Matrix
from mathutils.kdtree import KDTree

from .glb import read_avatar

HEAD, FILE, LOOK, PART, ROW = "imhead_head", "imhead_file", "imhead_look", "imhead_part", "imhead_row"
"""Properties of an armature: name on the server, head file, look. Of its meshes: which part, and rows of its points."""
_SAME_M = 2e-6  # the importer poses the points, which rounds them
HEAD_FROM_BLENDER = Matrix(((1000, 0, 0, 0), (0, 0, 1000, 0), (0, -1000, 0, 0), (0, 0, 0, 1)))
"""From metres in Blender's axes to the head frame in mm."""


def bring_in(context, data: bytes, name: str):
    """The avatar of a GLB as an armature with its meshes, in a collection of its own.

    Raises:
        ValueError: the file is none of imhead's.
    """
    read_avatar(data)
    before = set(bpy.data.objects)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "avatar.glb")
        with open(path, "wb") as file:
            file.write(data)
        known = bpy.ops.import_scene.gltf.get_rna_type().properties
        # vertices on seams of the UVs become one again, so that modifiers do not tear the skin
        wanted = {
            "merge_vertices": True, "import_shading": "SMOOTH", "disable_bone_shape": True,
            "import_scene_as_collection": False,
        }  # fmt: skip
        bpy.ops.import_scene.gltf(filepath=path, **{k: v for k, v in wanted.items() if k in known})
    found = [obj for obj in bpy.data.objects if obj not in before]
    armature = next(obj for obj in found if obj.type == "ARMATURE")
    meshes = [obj for obj in found if obj.type == "MESH" and obj.find_armature() == armature]
    collection = bpy.data.collections.new(name)
    context.scene.collection.children.link(collection)
    part_of = {obj: obj.data.name.partition(".")[0] for obj in meshes}
    for obj in found:
        if obj is not armature and obj not in part_of:
            bpy.data.objects.remove(obj)
    for obj in (armature, *meshes):
        for other in list(obj.users_collection):
            other.objects.unlink(obj)
        collection.objects.link(obj)
    armature.name, armature.rotation_mode = name, "XYZ"
    for obj, part in part_of.items():
        obj.parent, obj.name, obj[PART] = armature, part, part
    for bone in armature.pose.bones:
        bone.rotation_mode = "QUATERNION"
    _number(meshes, data)
    _follow_skin(meshes)
    for obj in bpy.context.selected_objects:
        obj.select_set(False)
    armature.select_set(True)
    context.view_layer.objects.active = armature
    return armature


def remember(armature, head: str, file: bytes, look: dict) -> None:
    """Keep the head with the armature, so that it is saved and undone with it."""
    armature[HEAD], armature[LOOK] = head, json.dumps(look)
    armature[FILE] = base64.b64encode(file).decode()


def remembered(armature) -> tuple[str, bytes, dict]:
    """Name on the server, head file and look of an avatar.

    Raises:
        ValueError: it came from a GLB alone.
    """
    if FILE not in armature:
        raise ValueError("this avatar came without its head file; fit a scan or open a head to edit it")
    return armature[HEAD], base64.b64decode(armature[FILE]), json.loads(armature[LOOK])


def avatar_of(obj):
    """The armature of the avatar that an object belongs to, or None."""
    while obj is not None:
        if obj.type == "ARMATURE" and any(PART in child for child in obj.children):
            return obj
        obj = obj.parent
    return None


def part(armature, name: str):
    """A mesh of an avatar, or None."""
    return next((child for child in armature.children if child.get(PART) == name), None)


def reshape(armature, data: bytes) -> None:
    """Give an avatar the places of another of the same level of detail. Materials, weights and animation stay.

    Raises:
        ValueError: the file has other parts.
    """
    meshes, joints = read_avatar(data)
    for obj in armature.children:
        if obj.get(PART) in meshes and ROW in obj.data.attributes:
            _reshape(obj, meshes[obj[PART]])
    _move_bones(armature, joints)


def _number(meshes, data: bytes) -> None:
    """Give each point of the meshes its row in the file."""
    found, _ = read_avatar(data)
    for obj in meshes:
        shapes = found[obj[PART]]
        tree = KDTree(len(shapes.rest))
        for row, place in enumerate(shapes.rest):
            tree.insert(place, row)
        tree.balance()
        keys = obj.data.shape_keys
        blocks = [obj.data.vertices] if keys is None else [block.data for block in keys.key_blocks]
        own = np.stack([_places(block) for block in blocks], axis=1)
        table = np.stack([shapes.rest, *(shapes.rest + move for move in shapes.moves.values())], axis=1)
        rows = np.full(len(own), -1, dtype=np.int32)
        for point, places in enumerate(own):
            # lips that touch have points in one place, which part in some shape
            near = [row for _, row, _ in tree.find_range(places[0], _SAME_M)]
            if near:
                rows[point] = near[int(np.abs(table[near] - places).sum(axis=(1, 2)).argmin())]
        if rows.min() < 0:
            raise ValueError(f"the points of {obj[PART]} are not those of the file; use Blender's own glTF importer")
        layer = obj.data.attributes.new(ROW, "INT", "POINT")
        layer.data.foreach_set("value", rows)


def _places(block) -> np.ndarray:
    values = np.empty(3 * len(block), dtype=np.float32)
    block.foreach_get("co", values)
    return values.reshape(-1, 3)


def _reshape(obj, shapes) -> None:
    mesh = obj.data
    rows = np.empty(len(mesh.vertices), dtype=np.int32)
    mesh.attributes[ROW].data.foreach_get("value", rows)
    if not 0 <= rows.min() <= rows.max() < len(shapes.rest):
        raise ValueError(f"the new head has another {obj[PART]}; bring it in as an avatar of its own")
    rest = shapes.rest[rows]
    mesh.vertices.foreach_set("co", rest.ravel())
    if mesh.shape_keys is not None:
        basis = mesh.shape_keys.reference_key
        for block in mesh.shape_keys.key_blocks:
            move = shapes.moves.get(block.name)
            if block == basis or move is not None:
                block.data.foreach_set("co", (rest if move is None else rest + move[rows]).ravel().astype(np.float32))
    mesh.update()


def _move_bones(armature, joints) -> None:
    context = bpy.context
    active = context.view_layer.objects.active
    if active is not None and active.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    for bone in armature.data.edit_bones:
        bone.use_connect = False
    for bone in armature.data.edit_bones:
        if bone.name in joints:
            tail = bone.tail - bone.head
            bone.head = joints[bone.name]
            bone.tail = bone.head + tail
    bpy.ops.object.mode_set(mode="OBJECT")
    context.view_layer.objects.active = active


def _follow_skin(meshes) -> None:
    """Let the shapes of the other parts follow those of the skin, so that one slider moves all."""
    skin = next(obj for obj in meshes if obj[PART] == "skin").data.shape_keys
    for obj in meshes:
        keys = obj.data.shape_keys
        if keys is None or keys == skin:
            continue
        keys.animation_data_clear()  # a take has a curve for each part; those of the skin are enough
        for block in keys.key_blocks:
            if block == keys.reference_key or block.name not in skin.key_blocks:
                continue
            driver = block.driver_add("value").driver
            driver.type = "SUM"
            variable = driver.variables.new()
            target = variable.targets[0]
            target.id_type, target.id = "KEY", skin
            target.data_path = f'key_blocks["{block.name}"].value'
