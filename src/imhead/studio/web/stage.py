"""The 3D view of one page: the head, lights and cameras, and what is laid over the head."""

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
"""Millimetres in one unit of viser's scene; its cameras and lights are made for things about one unit across."""

_SKIN = (222, 203, 190)
_EYE = (238, 237, 233)
_REACH = (24, 120, 170)
_HOVER = (240, 165, 40)
_SCAN = (120, 160, 205)
_REACH_SHARE = 0.75  # of the reach's colour in the middle of a region; none at the edge
_LIFT_MM = 0.6
_READ_S = 0.3
_LOOK_AT_MM = np.array([0.0, 6.0, 0.0])
_DISTANCE_MM = 830.0
_FIELD_OF_VIEW = np.radians(24.0)
_TURNED = {"front": 0.0, "3/4": 38.0, "profile": 90.0, "back": 180.0}


def plain_colors(eyes: BoolArray) -> FloatArray:
    """(V, 3) sRGB of a head that nothing is said about: skin, and `eyes` (V,)."""
    colors: FloatArray = np.where(eyes[:, None], np.array(_EYE, dtype=np.float64), np.array(_SKIN, dtype=np.float64))
    return colors


def reach_colors(regions: RegionMap, selected: tuple[Region, ...], plain: FloatArray) -> FloatArray:
    """(V, 3) sRGB: `plain`, but softly where an edit of the selected regions reaches, fading out towards the edge."""
    if not selected:
        return plain
    depth = np.clip(regions.influence[:, [region.index for region in selected]].max(axis=1), 0.0, 1.0)[:, None]
    share = _REACH_SHARE * np.sqrt(depth) * np.minimum(8.0 * depth, 1.0)
    colors: FloatArray = (1.0 - share) * plain + share * np.array(_REACH)
    return colors


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
    """The scene of one page.

    Args:
        faces: (F, 3) of every head that is shown.
        eyes: (V,) bool: vertices of the eyeballs.
    """

    def __init__(self, client: viser.ClientHandle, faces: IntArray, eyes: BoolArray) -> None:
        self._client = client
        self._plain = plain_colors(eyes)
        # skin and eyeballs move as two meshes, since such a mesh has one colour
        self._solids = [
            (name, color, *used_rows(faces[eyes[faces].all(axis=1) == of_eyes], len(eyes)))
            for name, color, of_eyes in (("/head", _SKIN, False), ("/eyes", _EYE, True))
        ]
        self._moving: list[viser.MeshHandle] = []
        self._look: Any = None
        self._hover: viser.MeshHandle | None = None
        self._turn = threading.RLock()
        self._scan: Any = None
        self._gone = False

    def close(self) -> None:
        """The page is gone: send nothing more."""
        with self._turn:
            self._gone = True

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
        """Show a head that moves: quick to send, its normals are the triangles'."""
        vertices = mesh.vertices.astype(np.float32)
        with self._turn, self._client.atomic():
            if not self._moving:
                self._moving = [
                    self._mesh(name, vertices[rows], faces, color, None) for name, color, rows, faces in self._solids
                ]
            else:
                for handle, (_, _, rows, _) in zip(self._moving, self._solids):
                    handle.vertices = vertices[rows]
                    handle.visible = True
            if self._look is not None:
                self._look.remove()
                self._look = None
        self._client.flush()

    def show_still(self, mesh: Mesh, normals: FloatArray, colors: FloatArray | None) -> None:
        """Show a head that is looked at, with normals (V, 3) of its own, and colours (V, 3) where it is not plain."""
        data = skin_glb(mesh, normals, self._plain if colors is None else colors)
        self.show(mesh)
        with self._turn:
            shown = self._look = self._client.scene.add_glb(
                "/look", data, scale=1.0 / SCENE_UNIT_MM, cast_shadow=False, receive_shadow=False
            )
            # a page takes a moment to read it: until then what moved stays
            later = threading.Timer(_READ_S, self._uncover, (shown,))
            later.daemon = True
            later.start()
        self._client.flush()

    def _uncover(self, shown: Any) -> None:
        with self._turn:
            if self._look is shown and not self._gone:
                for handle in self._moving:
                    handle.visible = False

    def show_hover(self, regions: RegionMap, region: Region, normals: FloatArray) -> None:
        """Light up the region under the pointer."""
        faces = regions.faces_of(region)
        if len(faces):
            lifted = regions.mesh.vertices + _LIFT_MM * normals
            self._hover = self._patch("/hover", lifted, faces, _HOVER, 0.38)

    def hide_hover(self) -> None:
        """Light nothing up."""
        if self._hover is not None:
            self._hover.remove()
            self._hover = None

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
        rows, numbered = used_rows(faces, len(vertices))
        return self._mesh(name, vertices[rows].astype(np.float32), numbered, color, opacity)

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


def skin_glb(mesh: Mesh, normals: FloatArray, colors: FloatArray) -> bytes:
    """A mesh with normals (V, 3) and sRGB colours (V, 3) of its vertices, as matt as skin.

    viser throws a file's normals away and takes those of the triangles, but morph targets it leaves alone: what leads
    from the one to the other travels as a target that is always on.
    """

    flat = vertex_normals(mesh.vertices, mesh.faces)[0]
    still = MorphTargets(("normals",), np.zeros((1, *flat.shape)), np.ones(1))
    return glb_bytes(mesh, 1.0, {}, colors=colors, morphs=still, turns=(normals - flat)[None])


def _backdrop() -> Any:
    """(H, W, 3) uint8: a neutral grey, lighter behind the head."""
    y, x = np.mgrid[0:270, 0:480] / np.array([270.0, 480.0])[:, None, None]
    far = np.hypot((x - 0.5) * 1.25, y - 0.45)
    light = 233.0 - 62.0 * np.clip(far / 0.75, 0.0, 1.0) ** 1.6
    return np.round(light[..., None] * np.array([0.985, 0.995, 1.0])).astype(np.uint8)
