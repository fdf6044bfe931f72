"""What a person does in Blender, run by a Python that has bpy: ARGUMENTS are zip, imhead, scan, avatar with a take,
folder for pictures. Prints one JSON object of what it found."""

import json
import math
import sys
from importlib import import_module

import bpy
import numpy as np

ZIP, PROGRAM, SCAN, TAKE, OUT = sys.argv[-5:]
found: dict = {}


def positions(obj, name="Basis"):
    block = obj.data.shape_keys.key_blocks[name].data
    values = np.empty(3 * len(block), dtype=np.float32)
    block.foreach_get("co", values)
    return values.reshape(-1, 3).astype(float)


def evaluated(obj):
    shown = obj.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = shown.to_mesh()
    values = np.empty(3 * len(mesh.vertices), dtype=np.float32)
    mesh.vertices.foreach_get("co", values)
    shown.to_mesh_clear()
    return values.reshape(-1, 3).astype(float)


def picture(armature, path, half):
    """A render of the face by Cycles."""
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", 24, "CPU"
    scene.cycles.use_denoising = False
    scene.render.threads_mode, scene.render.threads = "FIXED", 2
    scene.render.resolution_x = scene.render.resolution_y = 420
    scene.view_settings.view_transform = "Standard"
    world = bpy.data.worlds.new("light")
    world.color = (0.9, 0.9, 0.9)
    scene.world = world
    size = armature.matrix_world.median_scale
    if "camera" not in bpy.data.objects:
        camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        lamp = bpy.data.objects.new("lamp", bpy.data.lights.new("lamp", "AREA"))
        for obj in (camera, lamp):
            scene.collection.objects.link(obj)
    camera, lamp = bpy.data.objects["camera"], bpy.data.objects["lamp"]
    camera.parent = lamp.parent = armature
    camera.data.type, camera.data.ortho_scale = "ORTHO", 2 * half * size
    camera.data.clip_end = 10.0 * size
    camera.location, camera.rotation_euler = (0.0, -1.0, 0.0), (math.pi / 2, 0.0, 0.0)
    lamp.location, lamp.rotation_euler = (-0.5, -0.9, 0.6), (math.radians(60), 0.0, math.radians(-30))
    lamp.data.energy, lamp.data.size = 14.0 * size**2, 0.4 * size
    scene.camera = camera
    scene.render.filepath = path
    bpy.ops.render.render(write_still=True)


def main() -> None:
    import addon_utils  # found once bpy is imported
    from mathutils.bvhtree import BVHTree

    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.extensions.package_install_files(filepath=ZIP, repo="user_default", enable_on_install=True)
    name = next(module.__name__ for module in addon_utils.modules() if module.__name__.endswith(".imhead"))
    found["module"], found["torch"] = name, "torch" in sys.modules
    bpy.context.preferences.addons[name].preferences.program = PROGRAM
    settings = bpy.context.scene.imhead
    found["refused_unconnected"] = bpy.ops.imhead.sample.poll()
    assert bpy.ops.imhead.start() == {"FINISHED"}
    found["groups"] = [item.identifier for item in settings.bl_rna.properties["group"].enum_items] or settings.group

    # a scan that lies somewhere in the scene, turned and scaled
    bpy.ops.wm.ply_import(filepath=SCAN)
    scan = bpy.context.object
    scan.location, scan.rotation_euler, scan.scale = (3.0, -2.0, 1.0), (1.2, 0.3, -0.4), (0.01, 0.01, 0.01)
    bpy.context.view_layer.update()
    assert bpy.ops.imhead.fit() == {"FINISHED"}
    armature = bpy.context.object
    skin = next(obj for obj in armature.children if obj.get("imhead_part") == "skin")
    found["armature"], found["collection"] = armature.name, armature.users_collection[0].name
    found["parts"] = sorted(obj["imhead_part"] for obj in armature.children)
    found["keys"] = [block.name for block in skin.data.shape_keys.key_blocks]
    found["bones"] = [bone.name for bone in armature.data.bones]
    found["materials"] = sorted({slot.material.name for obj in armature.children for slot in obj.material_slots})
    nodes = skin.data.materials[0].node_tree.nodes
    found["images"] = [list(node.image.size) for node in nodes if node.type == "TEX_IMAGE"]
    found["vertices"] = len(skin.data.vertices)
    edges = {}
    for polygon in skin.data.polygons:
        for edge in polygon.edge_keys:
            edges[edge] = edges.get(edge, 0) + 1
    found["open_edges"] = sum(count == 1 for count in edges.values())
    found["weights"] = [
        min(sum(g.weight for g in v.groups) for v in skin.data.vertices),
        max(sum(g.weight for g in v.groups) for v in skin.data.vertices),
    ]

    # the avatar lies on the scan: scene places of the scan's points near the skin, in mm of the head
    bpy.context.view_layer.update()
    to_avatar = armature.matrix_world.inverted() @ scan.matrix_world
    tree = BVHTree.FromObject(skin, bpy.context.evaluated_depsgraph_get())
    away = [tree.find_nearest(to_avatar @ v.co)[3] for v in list(scan.data.vertices)[::40]]
    found["scan_to_skin_mm"] = 1000.0 * float(np.median(away))

    # one slider moves every part
    keys = skin.data.shape_keys.key_blocks
    teeth = next(obj for obj in armature.children if obj["imhead_part"] == "teeth")
    still = evaluated(teeth)
    keys["jawOpen"].value = 0.6
    bpy.context.view_layer.update()
    found["teeth_follow_mm"] = 1000.0 * float(np.abs(evaluated(teeth) - still).max())
    scan.hide_render = True
    picture(armature, f"{OUT}/fitted.png", 0.17)
    bpy.ops.imhead.rest()

    # one region, in place
    before, material = positions(skin), skin.data.materials[0]
    jaw = positions(skin, "jawOpen") - before
    settings.group = "nose"
    found["words"] = [word.name for word in settings.words]
    next(word for word in settings.words if word.name == "wider").value = 2.0
    assert bpy.ops.imhead.edit() == {"FINISHED"}
    moved = 1000.0 * np.linalg.norm(positions(skin) - before, axis=1)
    tip = before[np.argmin(before[:, 1])]
    far = np.linalg.norm(before - tip, axis=1) > 0.09
    found["nose_moved_mm"], found["far_moved_mm"] = float(moved.max()), float(moved[far].max())
    found["shapes_kept_mm"] = 1000.0 * float(np.abs(positions(skin, "jawOpen") - positions(skin) - jaw)[far].max())
    found["same_material"] = skin.data.materials[0] == material and len(bpy.data.armatures) == 1
    found["sliders_back"] = all(word.value == 0.0 for word in settings.words)
    picture(armature, f"{OUT}/edited.png", 0.17)
    settings.seed = 4
    assert bpy.ops.imhead.draw() == {"FINISHED"}
    found["nothing_to_do"] = sorted(bpy.ops.imhead.edit())

    # the head is in the file of the scene, and outlives the server
    bpy.ops.imhead.stop()
    assert bpy.ops.imhead.start() == {"FINISHED"}
    settings.group = "chin"
    settings.words[0].value = 1.0
    bpy.context.view_layer.objects.active = skin
    assert bpy.ops.imhead.edit() == {"FINISHED"}
    bpy.ops.imhead.save(filepath=f"{OUT}/head.safetensors")
    bpy.ops.wm.save_as_mainfile(filepath=f"{OUT}/scene.blend")
    with open(f"{OUT}/scene.blend", "rb") as file:
        key = import_module(name).link.client().key
        found["key_in_scene"] = key.encode() in file.read()

    # an avatar with a take, made by the command
    assert bpy.ops.imhead.open(filepath=TAKE) == {"FINISHED"}
    playing = bpy.context.object
    action = playing.animation_data.action
    found["take_seconds"] = float(action.frame_range[1]) / bpy.context.scene.render.fps
    skin = next(obj for obj in playing.children if obj["imhead_part"] == "skin")
    values = []
    for frame in range(0, int(action.frame_range[1]), 5):
        bpy.context.scene.frame_set(frame)
        teeth = next(obj for obj in playing.children if obj["imhead_part"] == "teeth")
        values.append(
            (skin.data.shape_keys.key_blocks["jawOpen"].value, teeth.data.shape_keys.key_blocks["jawOpen"].value)
        )
    found["take_jaw"] = [max(k for k, _ in values), max(abs(k - other) for k, other in values)]
    bpy.ops.imhead.stop()
    bpy.ops.preferences.addon_disable(module=name)
    found["unregistered"] = not hasattr(bpy.types.Scene, "imhead")


main()
print("\n" + json.dumps(found))
