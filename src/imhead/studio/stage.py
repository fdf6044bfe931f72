"""The 3D view of one page: the head, lights and cameras, and what is laid over the head."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import viser

from imhead.gltf import glb_bytes
from imhead.regions import Region
from imhead.studio.surface import RegionMap, pointer_ray, used_part
from imhead.types import FloatArray, IntArray, Mesh

View = Literal["front", "3/4", "profile", "back"]
VIEWS: tuple[View, ...] = ("front", "3/4", "profile", "back")

SCENE_UNIT_MM = 100.0
"""Millimetres in one unit of viser's scene; its cameras and lights are made for things about one unit across."""

_SKIN = (222, 203, 190)
_REACH = (24, 120, 170)
_HOVER = (240, 165, 40)
_SCAN = (120, 160, 205)
_REACH_SHARE = 0.75  # of the reach's colour in the middle of a region; none at the edge
_LIFT_MM = 0.3
_LOOK_AT_MM = np.array([0.0, 6.0, 0.0])
_DISTANCE_MM = 830.0
_FIELD_OF_VIEW = np.radians(24.0)
_TURNED = {"front": 0.0, "3/4": 38.0, "profile": 90.0, "back": 180.0}


def light_scene(server: viser.ViserServer) -> None:
    """Lights, background and first camera: the same for every page, and nothing of any head."""
    scene = server.scene
    scene.set_up_direction("+y")
    scene.configure_default_lights(False)
    scene.configure_environment_map(None)
    scene.world_axes.visible = False
    scene.set_background_image(_backdrop(), format="jpeg", jpeg_quality=95)
    scene.add_light_hemisphere(
        "/light/sky", sky_color=(255, 255, 255), ground_color=(150, 140, 132), intensity=0.95, position=(0.0, 10.0, 0.0)
    )
    # key from the upper left of the picture, a weaker cool fill, and a rim from behind
    scene.add_light_directional("/light/key", color=(255, 246, 236), intensity=2.2, position=(-6.0, 7.0, 9.0))
    scene.add_light_directional("/light/fill", color=(228, 238, 255), intensity=0.55, position=(9.0, 1.0, 6.0))
    scene.add_light_directional("/light/rim", color=(255, 255, 255), intensity=0.9, position=(4.0, 6.0, -9.0))
    camera = server.initial_camera
    position, target = _placed("3/4")
    camera.position, camera.look_at, camera.fov = position, target, float(_FIELD_OF_VIEW)


class Stage:
    """The scene of one page."""

    def __init__(self, client: viser.ClientHandle) -> None:
        self._client = client
        self._head: viser.MeshHandle | None = None
        self._reach: Any = None
        self._hover: viser.MeshHandle | None = None
        self._heat: Any = None
        self._scan: Any = None
        self._faces: IntArray | None = None

    def look(self, view: View) -> None:
        """Turn the camera to a preset view."""
        position, target = _placed(view)
        with self._client.atomic():
            self._client.camera.position = position
            self._client.camera.look_at = target

    def ray(self, x: float, y: float) -> tuple[FloatArray, FloatArray]:
        """Origin (3,) in mm and direction (3,) through a place of the view, (0, 0) top left to (1, 1) bottom right."""
        camera = self._client.camera
        direction = pointer_ray(camera.wxyz, camera.fov, camera.aspect, x, y)
        return np.asarray(camera.position) * SCENE_UNIT_MM, direction

    def show(self, mesh: Mesh) -> None:
        """Show a head."""
        vertices = mesh.vertices.astype(np.float32)
        if self._head is None:
            self._head = self._mesh("/head", vertices, mesh.faces, _SKIN, None)
        else:
            with self._client.atomic():
                self._head.vertices = vertices
                if self._faces is None or not np.array_equal(self._faces, mesh.faces):
                    self._head.faces = mesh.faces.astype(np.uint32)
        self._faces = mesh.faces
        self._client.flush()

    def show_reach(self, regions: RegionMap, selected: tuple[Region, ...], normals: FloatArray) -> None:
        """Colour softly where an edit of the selected regions reaches, fading out towards the edge."""
        self.hide_reach()
        faces = regions.faces_within(selected, 0.0)
        if not len(faces):
            return
        depth = regions.influence[:, [region.index for region in selected]].max(axis=1)
        used = np.unique(faces)
        part, numbered = used_part(regions.mesh.vertices + _LIFT_MM * normals, faces)
        share = _REACH_SHARE * np.sqrt(np.clip(depth[used, None], 0.0, 1.0)) * np.minimum(8.0 * depth[used, None], 1.0)
        colors = np.round((1.0 - share) * np.array(_SKIN) + share * np.array(_REACH)).astype(np.uint8)
        data = glb_bytes(Mesh(part, numbered), 1.0, {}, colors=colors)
        self._reach = self._client.scene.add_glb("/reach", data, scale=1.0 / SCENE_UNIT_MM, cast_shadow=False)

    def hide_reach(self) -> None:
        """Show the bare head: its shape is read best without colour."""
        if self._reach is not None:
            self._reach.remove()
            self._reach = None

    def show_hover(self, regions: RegionMap, region: Region, normals: FloatArray) -> None:
        """Light up the region under the pointer."""
        faces = regions.faces_of(region)
        if len(faces):
            lifted = regions.mesh.vertices + (2.0 * _LIFT_MM) * normals
            self._hover = self._patch("/hover", lifted, faces, _HOVER, 0.38)

    def hide_hover(self) -> None:
        """Light nothing up."""
        if self._hover is not None:
            self._hover.remove()
            self._hover = None

    def show_heat(self, mesh: Mesh, colors: FloatArray | None) -> None:
        """Show a head in colours (V, 3) of its vertices instead of the plain one; None goes back to that."""
        if self._heat is not None:
            self._heat.remove()
            self._heat = None
        if colors is not None:
            data = glb_bytes(mesh, 1.0, {}, colors=np.asarray(colors, dtype=np.uint8))
            self._heat = self._client.scene.add_glb("/heat", data, scale=1.0 / SCENE_UNIT_MM, cast_shadow=False)
        if self._head is not None:
            self._head.visible = colors is None

    def show_scan(self, points_mm: FloatArray | None, faces: IntArray | None) -> None:
        """Lay a scan over the head, in the head's frame; None takes it away."""
        if self._scan is not None:
            self._scan.remove()
            self._scan = None
        if points_mm is None:
            return
        if faces is not None and len(faces):
            self._scan = self._mesh("/scan", points_mm.astype(np.float32), faces, _SCAN, 0.55)
        else:
            self._scan = self._client.scene.add_point_cloud(
                "/scan", (points_mm / SCENE_UNIT_MM).astype(np.float32), _SCAN, point_size=0.008
            )

    def _patch(
        self, name: str, vertices: FloatArray, faces: IntArray, color: tuple[int, int, int], opacity: float
    ) -> viser.MeshHandle:
        part, numbered = used_part(vertices, faces)
        return self._mesh(name, part.astype(np.float32), numbered, color, opacity)

    def _mesh(
        self, name: str, vertices: FloatArray, faces: IntArray, color: tuple[int, int, int], opacity: float | None
    ) -> viser.MeshHandle:
        return self._client.scene.add_mesh_simple(
            name, vertices, faces.astype(np.uint32), color=color, opacity=opacity, scale=1.0 / SCENE_UNIT_MM,
            cast_shadow=False, receive_shadow=False,
        )  # fmt: skip


def _placed(view: View) -> tuple[FloatArray, FloatArray]:
    """Position and target (3,) of the camera of a view, in scene units."""
    turn = np.radians(_TURNED[view])
    away = np.array([np.sin(turn), 0.04, np.cos(turn)])
    target = _LOOK_AT_MM / SCENE_UNIT_MM
    return target + away / np.linalg.norm(away) * (_DISTANCE_MM / SCENE_UNIT_MM), target


def _backdrop() -> Any:
    """(H, W, 3) uint8: a neutral grey, lighter behind the head."""
    y, x = np.mgrid[0:270, 0:480] / np.array([270.0, 480.0])[:, None, None]
    far = np.hypot((x - 0.5) * 1.25, y - 0.45)
    light = 233.0 - 62.0 * np.clip(far / 0.75, 0.0, 1.0) ** 1.6
    return np.round(light[..., None] * np.array([0.985, 0.995, 1.0])).astype(np.uint8)
