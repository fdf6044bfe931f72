"""Ray-cast pictures of meshes and point clouds, without a display.

Orthographic, in mm of the head frame. Colours are sRGB, 0-255; light is added up in linear RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from imhead.conventions import srgb_bytes, srgb_to_linear
from imhead.errors import InputError
from imhead.rendering.raycast import Camera, scene_of
from imhead.surfaces.textures import sampled
from imhead.types import FloatArray, Mesh, ScanTexture

ByteImage = NDArray[np.uint8]
Color = tuple[int, int, int]

HEAD_CENTER_MM = (0.0, -25.0, 0.0)
HEAD_HALF_MM = 178.0
"""Window around head, neck and the top of the shoulders in every view."""
FACE_CENTER_MM = (0.0, -6.0, 60.0)
FACE_HALF_MM = 100.0
"""Window around the face."""

CLAY: Color = (221, 189, 169)
BACKGROUND: Color = (245, 244, 242)
_MOST_SURFELS = 150_000

_VIEWS: dict[str, tuple[float, float]] = {  # azimuth towards the subject's left and elevation, degrees
    "front": (0.0, 0.0),
    "three_quarter": (38.0, 6.0),
    "profile": (90.0, 0.0),
    "three_quarter_right": (-38.0, 6.0),
    "profile_right": (-90.0, 0.0),
    "top": (0.0, 90.0),
    "back": (180.0, 0.0),
}
VIEW_NAMES = tuple(_VIEWS)


def camera(view: str, *, center_mm: Sequence[float] = HEAD_CENTER_MM, half_mm: float = HEAD_HALF_MM) -> Camera:
    """The camera of a named view.

    Args:
        view: a name of `VIEW_NAMES`; `three_quarter` and `profile` show the subject's left side.
        center_mm: point in the middle of the picture, mm.
        half_mm: half the side of the picture, mm.

    Raises:
        InputError: no such view, or a window of no size.
    """
    if view not in _VIEWS:
        raise InputError(f"no view is named {view!r}; choose one of {', '.join(_VIEWS)}")
    if not np.isfinite(half_mm) or half_mm <= 0 or len(center_mm) != 3 or not np.isfinite(center_mm).all():
        raise InputError(f"half_mm is {half_mm} and center_mm {tuple(center_mm)}; give a size above 0 and 3 numbers")
    azimuth, elevation = np.radians(_VIEWS[view])
    right = (np.cos(azimuth), 0.0, -np.sin(azimuth))
    toward = (np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation))
    up = np.cross(toward, right)
    x, y, z = (float(v) for v in center_mm)
    return Camera(_triple(right), _triple(up), _triple(toward), (x, y, z), float(half_mm))


def shade(
    mesh: Mesh,
    view: str | Camera = "front",
    size: int = 512,
    *,
    colors: ByteImage | None = None,
    half_mm: float = HEAD_HALF_MM,
    center_mm: Sequence[float] = HEAD_CENTER_MM,
    normals: FloatArray | None = None,
    occlusion: bool = True,
    texture: ScanTexture | None = None,
) -> ByteImage:
    """A lit picture of a mesh.

    Args:
        mesh: head frame, mm. Faces are lit from both sides, so the winding of a scan does not matter.
        view: a name of `VIEW_NAMES`, or a camera, which overrides `half_mm` and `center_mm`.
        size: side of the square picture, pixels; rendered at twice that and averaged.
        colors: (V, 3) uint8 sRGB of the vertices; None for a warm clay. With colours, the light is white and flatter,
            so that a heat map keeps its colours.
        half_mm: half the side of the picture, mm.
        center_mm: point in the middle of the picture, mm.
        normals: (V, 3) unit normals to shade with; None for smooth vertex normals.
        occlusion: ambient occlusion and soft shadows; off for surfels, which overlap.
        texture: pictures on the faces; they go before `colors`, and the light is as flat.

    Returns:
        (size, size, 3) uint8.

    Raises:
        InputError: an empty mesh, arrays of the wrong shape, or a size outside 8-4096.
    """
    if not len(mesh.faces):
        raise InputError("the mesh to draw has no faces; give a surface")
    if not 8 <= size <= 4096:
        raise InputError(f"a picture of {size} pixels is out of range; choose 8 to 4096")
    for name, given in (("colors", colors), ("normals", normals)):
        if given is not None and np.shape(given) != mesh.vertices.shape:
            raise InputError(f"{name} has shape {np.shape(given)}; expected {mesh.vertices.shape}, one for each vertex")
    frame = view if isinstance(view, Camera) else camera(view, center_mm=center_mm, half_mm=half_mm)
    fine = 2 * size
    scene = scene_of(mesh)
    hits = scene.hits(frame, fine)
    picture = _backdrop(fine)
    if len(hits.pixel):
        smooth, shown = scene.normals if normals is None else np.asarray(normals), hits.seen
        tables = [(smooth[shown] @ frame.axes.T).astype(np.float32)]
        if occlusion:
            tables += [light[shown, None] for light in scene.ambient_occlusion(hits, smooth, _KEY @ frame.axes)]
        if colors is not None:
            tables.append(_LINEAR[np.asarray(colors, dtype=np.uint8)[shown]])
        seen = hits.mean_of_seen @ np.concatenate(tables, axis=1)
        normal = _unit(seen[:, :3]) * hits.facing[:, None]
        # interpolation can leave a dark pixel a hair below zero
        ambient, key = np.maximum(seen[:, 3:5].T, 0.0) if occlusion else np.ones((2, len(seen)), dtype=np.float32)
        albedo = np.broadcast_to(_LINEAR[list(CLAY)], normal.shape) if colors is None else seen[:, -3:]
        if texture is not None:
            own = sampled(texture, hits.face, hits.shares)
            albedo = np.where(np.isnan(own), albedo, srgb_to_linear(own / 255.0))
        plain = colors is not None or texture is not None
        picture[hits.pixel] = _light(normal, albedo, ambient, key, plain=plain)
    rows = picture.reshape(fine, fine, 3)
    return srgb_bytes((rows[::2, ::2] + rows[::2, 1::2] + rows[1::2, ::2] + rows[1::2, 1::2]) / 4.0)


def depth_map(mesh: Mesh, frame: Camera, size: int) -> FloatArray:
    """(size, size) distance in mm of the nearest surface from the camera's centre plane, towards the viewer; -inf where
    there is none."""
    hits = scene_of(mesh).hits(frame, size)
    depth = np.full(size * size, -np.inf)
    depth[hits.pixel] = hits.depth_mm
    return depth.reshape(size, size)


def surfels(points: FloatArray) -> tuple[Mesh, FloatArray, NDArray[np.int64]]:
    """Small oriented squares that draw a point cloud as a surface; of a large cloud, an even subset.

    Args:
        points: (N, 3) mm. Normals are estimated from the 12 nearest points.

    Returns:
        Mesh with 4 vertices and 2 faces for each of M points, vertex normals (4M, 3), and indices (4M,) of the points
        that the vertices draw.

    Raises:
        InputError: fewer than 16 points, or a wrong shape.
    """
    cloud = np.asarray(points, dtype=np.float64)
    if cloud.ndim != 2 or cloud.shape[1] != 3 or len(cloud) < 16 or not np.isfinite(cloud).all():
        raise InputError(f"points of shape {cloud.shape} cannot be drawn; give at least 16 finite points (n, 3)")
    chosen = np.unique(np.linspace(0, len(cloud) - 1, min(_MOST_SURFELS, len(cloud))).astype(np.int64))
    cloud = cloud[chosen]
    reach, near = cKDTree(cloud).query(cloud, k=12)
    spread = cloud[near] - cloud[near].mean(axis=1, keepdims=True)
    normal = np.linalg.eigh(np.einsum("nki,nkj->nij", spread, spread))[1][:, :, 0]
    # squares slightly wider than the gaps, with a limit for outliers
    radius = np.minimum(1.3 * reach[:, 4], 2.5 * np.median(reach[:, 4]))[:, None]
    pick = np.eye(3)[np.abs(normal).argmin(axis=1)]
    u = _unit(np.cross(normal, pick))
    v = np.cross(normal, u)
    corners = np.stack([cloud + radius * (a * u + b * v) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))], axis=1)
    first = 4 * np.arange(len(cloud))[:, None, None]
    faces = (first + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    return Mesh(corners.reshape(-1, 3), faces), np.repeat(normal, 4, axis=0), np.repeat(chosen, 4)


def as_surface(scan: Mesh | FloatArray) -> tuple[Mesh, FloatArray, NDArray[np.int64]]:
    """A drawable surface of a scan: mesh, vertex normals (V, 3), and index (V,) of the scan point of each vertex."""
    if isinstance(scan, Mesh) and len(scan.faces):
        return scan, scene_of(scan).normals, np.arange(len(scan.vertices))
    return surfels(scan.vertices if isinstance(scan, Mesh) else scan)


def flat_color(color: Color, mesh: Mesh) -> ByteImage:
    """(V, 3) uint8: one colour for every vertex of a mesh."""
    return np.tile(np.array(color, dtype=np.uint8), (len(mesh.vertices), 1))


def _triple(vector: Any) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in vector)
    return x, y, z


def _unit(vectors: FloatArray) -> FloatArray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-30))


def _linear(color: NDArray[Any]) -> FloatArray:
    return srgb_to_linear(np.asarray(color, dtype=np.float64) / 255.0)


_LINEAR = _linear(np.arange(256)).astype(np.float32)
"""(256,) linear value of each sRGB value."""


def _backdrop(fine: int) -> FloatArray:
    """(fine², 3) linear RGB of the background, slightly darker towards the bottom."""
    fall = np.linspace(1.0, 0.93, fine)[:, None, None]
    tone = (_linear(np.array(BACKGROUND)) * fall).astype(np.float32)
    return np.array(np.broadcast_to(tone, (fine, fine, 3))).reshape(-1, 3)


# directions to the lights, camera frame
_KEY = _unit(np.array([-0.50, 0.50, 0.70], dtype=np.float32))
_FILL = _unit(np.array([0.75, 0.05, 0.66], dtype=np.float32))
_RIM = _unit(np.array([0.55, 0.60, -0.58], dtype=np.float32))
_GLOSS = _unit(_KEY + np.array([0.0, 0.0, 1.0], dtype=np.float32))


def _light(normal: FloatArray, albedo: FloatArray, ambient: FloatArray, key: FloatArray, *, plain: bool) -> FloatArray:
    """(P, 3) linear RGB under a warm key light, a cool fill light, a rim light and a dome.

    Args:
        normal: (P, 3) unit, camera frame.
        albedo: (P, 3) linear RGB.
        ambient: (P,) ambient visibility, 0 to 1.
        key: (P,) visible share of the key light, 0 to 1.
        plain: white and flat light, for heat maps.
    """
    white = (1.0, 1.0, 1.0)
    warm, cool = (white, white) if plain else ((1.0, 0.94, 0.86), (0.86, 0.93, 1.0))
    # red light wraps further around the surface, as in skin
    wrap = (0.15, 0.15, 0.15) if plain else (0.22, 0.12, 0.08)
    crease_power = (1.3, 1.3, 1.3) if plain else (1.25, 1.5, 1.6)
    key_gain, fill_gain, dome_gain = (0.66, 0.20, 0.34) if plain else (1.02, 0.15, 0.23)
    towards_key = normal @ _KEY
    key_light = key_gain * (0.35 + 0.65 * key)
    fill = fill_gain * np.clip(normal @ _FILL, 0.0, 1.0)
    dome = dome_gain * (0.55 + 0.45 * (0.5 + 0.5 * normal[:, 1]))
    edge = (1.0 - np.clip(normal[:, 2], 0.0, 1.0)) ** 3 * np.clip(normal @ _RIM, 0.0, 1.0) * (0.04 if plain else 0.22)
    gloss = 0.0 if plain else 0.06 * np.clip(normal @ _GLOSS, 0.0, 1.0) ** 28 * key * ambient
    light = np.empty_like(albedo)
    for k in range(3):
        lit = np.clip(towards_key * (1 - wrap[k]) + wrap[k], 0.0, 1.0) * key_light * warm[k]
        crease = ambient ** crease_power[k]
        body = lit * (0.35 + 0.65 * crease) + (fill + dome) * crease * cool[k]
        light[:, k] = albedo[:, k] * body + gloss * warm[k] + edge * (1.0 if plain else ambient) * cool[k]
    return light
