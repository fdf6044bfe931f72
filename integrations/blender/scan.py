# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh of the scene as the file of a scan."""

import os
import tempfile
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix

_Y_UP = Matrix(((1, 0, 0, 0), (0, 0, -1, 0), (0, 1, 0, 0), (0, 0, 0, 1)))
"""From glTF's axes to Blender's."""


@dataclass(frozen=True)
class ScanFile:
    """A file, and where it lies in the scene."""

    data: bytes
    format: str
    to_world: Matrix
    """From the file's numbers to the scene's."""


def scan_file(context, obj) -> ScanFile:
    """The selected mesh as it is shown, in the scene's units: GLB with its picture, or PLY with the colours of points.

    Raises:
        ValueError: it has no points.
    """
    if obj.mode == "EDIT":
        obj.update_from_editmode()
    shown = obj.evaluated_get(context.evaluated_depsgraph_get())
    mesh = shown.to_mesh()
    try:
        if not len(mesh.vertices):
            raise ValueError("the mesh has no points; select a scan")
        if len(mesh.polygons) and mesh.uv_layers and _has_picture(obj):
            return ScanFile(_as_glb(context, obj), "glb", _Y_UP.copy())
        return ScanFile(_as_ply(mesh, obj.matrix_world), "ply", Matrix.Identity(4))
    finally:
        shown.to_mesh_clear()


def _has_picture(obj) -> bool:
    trees = [slot.material.node_tree for slot in obj.material_slots if slot.material and slot.material.node_tree]
    return any(node.type == "TEX_IMAGE" and node.image for tree in trees for node in tree.nodes)


def _as_ply(mesh, to_world) -> bytes:
    count = len(mesh.vertices)
    points = np.empty(3 * count, dtype=np.float32)
    mesh.vertices.foreach_get("co", points)
    matrix = np.array(to_world)
    places = points.reshape(-1, 3).astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    mesh.calc_loop_triangles()
    faces = np.empty(3 * len(mesh.loop_triangles), dtype=np.int32)
    mesh.loop_triangles.foreach_get("vertices", faces)
    faces = faces.reshape(-1, 3)
    if np.linalg.det(matrix[:3, :3]) < 0.0:  # a mirrored object
        faces = faces[:, ::-1]
    layout = [("place", "<f8", 3)]
    names = ["property double x", "property double y", "property double z"]
    colors = _colors(mesh, count)
    if colors is not None:
        layout.append(("color", "u1", 3))
        names += ["property uchar red", "property uchar green", "property uchar blue"]
    table = np.zeros(count, dtype=layout)
    table["place"] = places
    if colors is not None:
        table["color"] = colors
    rows = np.zeros(len(faces), dtype=[("count", "u1"), ("corner", "<i4", 3)])
    rows["count"], rows["corner"] = 3, faces
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {count}", *names]
    if len(faces):
        lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    return "\n".join([*lines, "end_header\n"]).encode() + table.tobytes() + rows.tobytes()


def _colors(mesh, count: int):
    """(count, 3) sRGB of the points, or None."""
    layer = mesh.color_attributes.active_color
    if layer is None:
        return None
    values = np.empty(4 * len(layer.data), dtype=np.float32)
    layer.data.foreach_get("color_srgb", values)
    values = values.reshape(-1, 4)[:, :3]
    if layer.domain == "CORNER":
        corner = np.empty(len(mesh.loops), dtype=np.int32)
        mesh.loops.foreach_get("vertex_index", corner)
        found = np.zeros((count, 3), dtype=np.float32)
        found[corner] = values
        values = found
    return np.clip(np.round(255.0 * values), 0, 255).astype(np.uint8)


def _as_glb(context, obj) -> bytes:
    chosen, active = list(context.selected_objects), context.view_layer.objects.active
    mode = obj.mode
    if mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    for other in chosen:
        other.select_set(False)
    obj.select_set(True)
    context.view_layer.objects.active = obj
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "scan.glb")
            bpy.ops.export_scene.gltf(
                filepath=path, export_format="GLB", use_selection=True, export_apply=True, export_yup=True,
                export_animations=False, export_morph=False, export_skins=False, export_tangents=False,
            )  # fmt: skip
            with open(path, "rb") as file:
                return file.read()
    finally:
        obj.select_set(False)
        for other in chosen:
            other.select_set(True)
        context.view_layer.objects.active = active
        if mode != "OBJECT":
            bpy.ops.object.mode_set(mode=mode)
