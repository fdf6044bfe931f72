"""The 3D view of one page: the head, what lies over it, lights and camera."""

from __future__ import annotations

import threading
from typing import Any, Literal

import numpy as np
import viser

from imhead.io.glb_writer import glb_bytes
from imhead.regions import Region
from imhead.studio.session.surface import RegionMap, pointer_ray, used_rows
from imhead.surfaces.normals import vertex_normals
from imhead.types import BoolArray, FloatArray, IntArray, Mesh, MorphTargets

View = Literal["front", "3/4", "profile", "back"]
VIEWS: tuple[View, ...] = ("front", "3/4", "profile", "back")

SCENE_UNIT_MM = 100.0
"""Millimetres per unit of viser's scene, whose cameras and lights suit objects of about one unit."""

_SKIN_COLOR = (222, 203, 190)
_EYE_COLOR = (238, 237, 233)
_REACH_COLOR = (24, 120, 170)
_HOVER_COLOR = (240, 165, 40)
_SCAN_COLOR = (120, 160, 205)
_MOST_OPACITY = 0.75  # of the reach's colour at the centre of a region; 0 at its edge
_LIFT_MM = 0.6  # of the highlight over the skin
_LOAD_S = 0.3  # a page needs about this long to load a GLB
_LOOK_AT_MM = np.array([0.0, 6.0, 0.0])
_DISTANCE_MM = 830.0
_FIELD_OF_VIEW = np.radians(24.0)
_VIEW_ANGLES_DEG = {"front": 0.0, "3/4": 38.0, "profile": 90.0, "back": 180.0}


def head_colors(eyes: BoolArray) -> FloatArray:
    """(V, 3) sRGB of a plain head: skin, and the eyeballs `eyes` (V,)."""
    eye, skin = np.array([_EYE_COLOR, _SKIN_COLOR], dtype=np.float64)
    colors: FloatArray = np.where(eyes[:, None], eye, skin)
    return colors


def reach_colors(regions: RegionMap, selected: tuple[Region, ...], plain: FloatArray) -> FloatArray:
    """(V, 3) sRGB: `plain`, tinted where an edit of the selected regions reaches, fading towards the edge."""
    if not selected:
        return plain
    depth = np.clip(regions.influence[:, [region.index for region in selected]].max(axis=1), 0.0, 1.0)[:, None]
    opacity = _MOST_OPACITY * np.sqrt(depth) * np.minimum(8.0 * depth, 1.0)
    colors: FloatArray = (1.0 - opacity) * plain + opacity * np.array(_REACH_COLOR)
    return colors


def light_scene(server: viser.ViserServer) -> None:
    """Set lights, background and initial camera, which all pages share."""
    scene = server.scene
    scene.set_up_direction("+y")
    scene.configure_default_lights(False)
    scene.configure_environment_map(None)
    scene.world_axes.visible = False
    scene.set_background_image(_background_image(), format="jpeg", jpeg_quality=95)
    scene.add_light_hemisphere(
        "/light/sky", sky_color=(255, 255, 255), ground_color=(150, 140, 132), intensity=0.95, position=(0.0, 10.0, 0.0)
    )
    # key from the upper left of the picture, a weaker cool fill, and a rim from behind
    scene.add_light_directional("/light/key", color=(255, 246, 236), intensity=2.2, position=(-6.0, 7.0, 9.0))
    scene.add_light_directional("/light/fill", color=(228, 238, 255), intensity=0.55, position=(9.0, 1.0, 6.0))
    scene.add_light_directional("/light/rim", color=(255, 255, 255), intensity=0.9, position=(4.0, 6.0, -9.0))
    camera = server.initial_camera
    position, target = _camera_pose("3/4")
    camera.position, camera.look_at, camera.fov = position, target, float(_FIELD_OF_VIEW)


class Stage:
    """The scene of one page.

    Args:
        client: the page's connection.
        faces: (F, 3) triangles of every shown head.
        eyes: (V,) whether a vertex belongs to an eyeball.
    """

    def __init__(self, client: viser.ClientHandle, faces: IntArray, eyes: BoolArray) -> None:
        self._client = client
        self._plain = head_colors(eyes)
        # skin and eyeballs are two meshes while they move, since a simple mesh has one colour
        self._solids = [
            (name, color, *used_rows(faces[eyes[faces].all(axis=1) == of_eyes], len(eyes)))
            for name, color, of_eyes in (("/head", _SKIN_COLOR, False), ("/eyes", _EYE_COLOR, True))
        ]
        self._moving: list[viser.MeshHandle] = []
        self._still: Any = None
        self._hover: viser.MeshHandle | None = None
        self._lock = threading.RLock()
        self._scan: Any = None
        self._closed = False

    def close(self) -> None:
        """Send nothing more: the page is gone."""
        with self._lock:
            self._closed = True

    def set_view(self, view: View) -> None:
        """Turn the camera to a preset view."""
        position, target = _camera_pose(view)
        with self._client.atomic():
            self._client.camera.position = position
            self._client.camera.look_at = target

    def ray(self, x: float, y: float) -> tuple[FloatArray, FloatArray]:
        """Origin (3,) in mm and direction (3,) of the ray through a point of the view, (0, 0) top left to (1, 1)."""
        camera = self._client.camera
        direction = pointer_ray(camera.wxyz, camera.fov, camera.aspect, x, y)
        return np.asarray(camera.position) * SCENE_UNIT_MM, direction

    def show_moving(self, mesh: Mesh) -> None:
        """Show a moving head: vertices only, which are quick to send; the page computes the normals."""
        vertices = mesh.vertices.astype(np.float32)
        with self._lock, self._client.atomic():
            if not self._moving:
                self._moving = [
                    self._mesh(name, vertices[rows], faces, color, None) for name, color, rows, faces in self._solids
                ]
            else:
                for handle, (_, _, rows, _) in zip(self._moving, self._solids):
                    handle.vertices = vertices[rows]
                    handle.visible = True
            if self._still is not None:
                self._still.remove()
                self._still = None
        self._client.flush()

    def show_still(self, mesh: Mesh, normals: FloatArray, colors: FloatArray | None) -> None:
        """Show a head at rest, with normals (V, 3), and colours (V, 3) unless it is plain."""
        data = still_glb(mesh, normals, self._plain if colors is None else colors)
        self.show_moving(mesh)
        with self._lock:
            shown = self._still = self._client.scene.add_glb(
                "/look", data, scale=1.0 / SCENE_UNIT_MM, cast_shadow=False, receive_shadow=False
            )
            # the moving mesh stays until the page has loaded this one
            timer = threading.Timer(_LOAD_S, self._hide_moving, (shown,))
            timer.daemon = True
            timer.start()
        self._client.flush()

    def _hide_moving(self, shown: Any) -> None:
        with self._lock:
            if self._still is shown and not self._closed:
                for handle in self._moving:
                    handle.visible = False

    def show_hover(self, regions: RegionMap, region: Region, normals: FloatArray) -> None:
        """Highlight the region under the pointer."""
        faces = regions.region_faces(region)
        if len(faces):
            lifted = regions.mesh.vertices + _LIFT_MM * normals
            rows, numbered = used_rows(faces, len(lifted))
            self._hover = self._mesh("/hover", lifted[rows].astype(np.float32), numbered, _HOVER_COLOR, 0.38)

    def hide_hover(self) -> None:
        """Remove the highlight."""
        if self._hover is not None:
            self._hover.remove()
            self._hover = None

    def show_scan(self, points_mm: FloatArray | None, faces: IntArray | None) -> None:
        """Show a scan over the head, points (N, 3) and faces (F, 3) in the head's frame; None removes it."""
        if self._scan is not None:
            self._scan.remove()
            self._scan = None
        if points_mm is None:
            return
        if faces is not None and len(faces):
            self._scan = self._mesh("/scan", points_mm.astype(np.float32), faces, _SCAN_COLOR, 0.55)
        else:
            self._scan = self._client.scene.add_point_cloud(
                "/scan", (points_mm / SCENE_UNIT_MM).astype(np.float32), _SCAN_COLOR, point_size=0.008
            )

    def _mesh(
        self, name: str, vertices: FloatArray, faces: IntArray, color: tuple[int, int, int], opacity: float | None
    ) -> viser.MeshHandle:
        return self._client.scene.add_mesh_simple(
            name, vertices, faces.astype(np.uint32), color=color, opacity=opacity, scale=1.0 / SCENE_UNIT_MM,
            cast_shadow=False, receive_shadow=False,
        )  # fmt: skip


def _camera_pose(view: View) -> tuple[FloatArray, FloatArray]:
    """Position and target (3,) of a view's camera, in scene units."""
    angle = np.radians(_VIEW_ANGLES_DEG[view])
    away = np.array([np.sin(angle), 0.04, np.cos(angle)])
    target = _LOOK_AT_MM / SCENE_UNIT_MM
    return target + away / np.linalg.norm(away) * (_DISTANCE_MM / SCENE_UNIT_MM), target


def still_glb(mesh: Mesh, normals: FloatArray, colors: FloatArray) -> bytes:
    """GLB of a mesh with given vertex normals (V, 3) and sRGB colours (V, 3).

    viser replaces a file's normals by the triangles', but keeps its morph targets: the difference between the two is
    stored as a morph target with weight 1.
    """

    flat = vertex_normals(mesh.vertices, mesh.faces)[0]
    morphs = MorphTargets(("normals",), np.zeros((1, *flat.shape)), np.ones(1))
    return glb_bytes(mesh, 1.0, {}, colors=colors, morphs=morphs, turns=(normals - flat)[None])


def _background_image() -> Any:
    """(H, W, 3) uint8 neutral grey, lighter behind the head."""
    y, x = np.mgrid[0:270, 0:480] / np.array([270.0, 480.0])[:, None, None]
    distance = np.hypot((x - 0.5) * 1.25, y - 0.45)
    light = 233.0 - 62.0 * np.clip(distance / 0.75, 0.0, 1.0) ** 1.6
    return np.round(light[..., None] * np.array([0.985, 0.995, 1.0])).astype(np.uint8)
