"""What a page draws: the template once, then vertices of each head, its eyes, its tints, its skin and its scan.

Shape legend: V vertices of the template, U of its skin with seams apart, E of both eyes' balls and corneas.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.avatar.eye_paint import eye_jpeg
from imhead.avatar.eyes import eye_faces, eye_shapes, eye_uv, eye_vertices
from imhead.avatar.look import Look
from imhead.avatar.parts import load_parts
from imhead.avatar.skin_image import skin_jpeg
from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError
from imhead.isosurface.field import eyes_of
from imhead.regions import REGIONS, resolve
from imhead.rendering.figures import heat_colors, round_limit
from imhead.studio.session.page_protocol import FittedScan, Overlay, ShownSurface
from imhead.studio.state.studio import Settings
from imhead.template.surface import arkit_weights, template_of
from imhead.template.topology import LEFT_EYE, load_topology
from imhead.types import FloatArray, Head, Mesh, SkinImage

_EYE_PICTURE, _PAINTED_SKIN = 512, 1024
_EYE_ROWS = [row for row, name in enumerate(ARKIT_NAMES) if name.startswith(("eyeLook", "eyeBlink", "eyeSquint"))]
_STILL_WEIGHT = 1e-4  # a smaller one moves no eye that anybody sees
_MOST_SCAN_POINTS, _MOST_SCAN_FACES = 200_000, 400_000
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Seams:
    """The skin's faces with one corner for each pair of a vertex and its place on the picture."""

    vertex: NDArray[np.uint32]
    """(U,) rows of the template."""
    uv: NDArray[np.float32]
    """(U, 2), v upwards."""
    faces: NDArray[np.uint32]
    """(F, 3) rows of both."""


@lru_cache(maxsize=2)
def seams(model: Model) -> Seams:
    """The template's skin, its seams apart."""
    template = template_of(model)
    skin = (template.part[template.faces] < LEFT_EYE).all(axis=1)
    pairs = np.stack([template.faces[skin].ravel(), template.uv_faces[skin].ravel()], axis=1)
    unique, place = np.unique(pairs, axis=0, return_inverse=True)
    return Seams(
        unique[:, 0].astype(np.uint32), template.uv[unique[:, 1]].astype(np.float32),
        place.reshape(-1, 3).astype(np.uint32),
    )  # fmt: skip


def topology_arrays(model: Model) -> Arrays:
    """What does not change while a page is open."""
    split = seams(model)
    sheets = {kind: [eye_uv(kind, side) for side in (0, 1)] for kind in ("ball", "cornea")}
    arrays: Arrays = {
        "vertex": split.vertex, "uv": split.uv, "faces": split.faces,
        "every_face": template_of(model).faces.astype(np.uint32),
    }  # fmt: skip
    for kind, both in sheets.items():
        count = len(both[0].uv)
        arrays[f"{kind}_faces"] = np.concatenate([eye_faces(kind, 0), eye_faces(kind, 1) + count]).astype(np.uint32)
        arrays[f"{kind}_uv"] = np.concatenate([one.uv for one in both]).astype(np.float32)
    return arrays


def placed(model: Model, head: Head, mesh: Mesh) -> Arrays:
    """A head's vertices (V, 3) and those of its eyes, mm."""
    eyes, weights = eyes_of(model, head, head.z_exp), arkit_weights(model, head.z_exp)
    moving = bool(np.abs(weights[_EYE_ROWS]).max() > _STILL_WEIGHT)
    arrays: Arrays = {"vertices": mesh.vertices.astype(np.float32)}
    for kind in ("ball", "cornea"):
        sides = []
        for side in (0, 1):
            points = eye_vertices(kind, eyes, side)
            if moving:
                points = points + np.tensordot(weights, eye_shapes(points, eyes, side), axes=(0, 0))
            sides.append(points)
        arrays[kind] = np.concatenate(sides).astype(np.float32)
    return arrays


def still(model: Model, shown: ShownSurface, settings: Settings, overlay: Overlay) -> Arrays:
    """The exact surface with its normals; per vertex: how far the selection reaches, its mirror image, locks, owner."""
    arrays = placed(model, shown.head, shown.mesh)
    depth = shown.regions.influence
    arrays["normals"] = shown.normals.astype(np.float32)
    arrays["owner"] = shown.regions.owner.astype(np.uint8)
    chosen = [region.index for region in (resolve(settings.selection) if settings.selection else ())]
    twins = [REGIONS[row].mirror for row in chosen] if settings.symmetric else []
    arrays["reach"] = _tint(depth, [row for row in chosen if REGIONS[row].name not in settings.locked])
    arrays["mirror"] = _tint(
        depth, [row for row in twins if row not in chosen and REGIONS[row].name not in settings.locked]
    )
    locked = np.array([region.name in settings.locked for region in REGIONS])
    arrays["locked"] = np.where(locked[shown.regions.owner], 255, 0).astype(np.uint8)
    if overlay.colors is not None:
        arrays["colors"] = np.clip(np.round(overlay.colors), 0, 255).astype(np.uint8)
    return arrays


def _tint(depth: FloatArray, rows: list[int]) -> NDArray[np.uint8]:
    """(V,) how much an edit of the regions reaches each vertex, 0 to 255, fading towards the edge."""
    if not rows:
        return np.zeros(len(depth), dtype=np.uint8)
    reach = np.clip(depth[:, rows].max(axis=1), 0.0, 1.0)
    tint: NDArray[np.uint8] = np.round(255.0 * np.sqrt(reach) * np.minimum(8.0 * reach, 1.0)).astype(np.uint8)
    return tint


def skin_pictures(skin: SkinImage | None) -> dict[str, bytes]:
    """JPEGs of the skin and of the eyes: a head's own, or painted.

    Raises:
        InputError: the head's own picture cannot be decoded.
    """
    look = Look() if skin is not None else Look(texture=_PAINTED_SKIN)
    return {
        "skin": skin_jpeg(load_topology(), load_parts(), look, skin),
        "eye": eye_jpeg(look.eye_color(skin), look.seed, _EYE_PICTURE),
    }


def eye_picture(skin: SkinImage | None) -> bytes:
    """JPEG of the eyes alone."""
    return eye_jpeg(Look().eye_color(skin), 0, _EYE_PICTURE)


def has_shipped_topology(model: Model) -> bool:
    """Whether pictures of skins lie on the model's template."""
    try:
        return np.array_equal(template_of(model).faces, load_topology().faces)
    except InputError:
        return False


def scan_limit(scan: FittedScan) -> float:
    """The scale of a scan's distances, mm: that of what the head explains; hair and shoulders lie beyond it."""
    return round_limit(scan.distance_mm, share=min(max(scan.explained, 0.1), 0.95))


def scan_arrays(scan: FittedScan, limit_mm: float) -> Arrays:
    """A scan, thinned where it is large: points, faces, colours by distance on a scale."""
    points, faces = scan.points_mm, scan.scan.faces
    rows = np.arange(len(points))
    if faces is None or not len(faces) or len(faces) > _MOST_SCAN_FACES:
        rows, faces = rows[:: -(-len(points) // _MOST_SCAN_POINTS)], None
    arrays: Arrays = {
        "points": points[rows].astype(np.float32),
        "heat": heat_colors(scan.distance_mm[rows], limit_mm, signed=False),
    }
    if faces is not None:
        arrays["faces"] = np.asarray(faces).astype(np.uint32)
    return arrays
