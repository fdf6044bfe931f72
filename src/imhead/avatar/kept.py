"""What a fit does not explain of a scanned mesh, as a part of its avatar: hair, a beard, glasses, a cap.

Clothes and stands are left out: what lies nearest to neck or shoulders, small pieces, and what is far from the head.

Shape legend: P scan points, F scan faces, N vertices and M faces of a part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

from imhead.avatar.parts import groups_of_skin, load_parts
from imhead.avatar.skin_image import jpeg_bytes
from imhead.errors import InputError
from imhead.fitting.result import FitResult
from imhead.surfaces.pieces import piece_of_vertices
from imhead.surfaces.properties import face_areas
from imhead.surfaces.transforms import transform_points
from imhead.types import BoolArray, FloatArray, IntArray, Mesh, Scan, UvMap

_FAR_MM = 120.0  # from the head: farther away nothing is kept
_CLOTHED = ("neck", "shoulder")
_LEAST_CM2 = 8.0  # of a piece
_LONGEST_SIDE = 2048  # pixels of a picture


@dataclass(frozen=True, eq=False)
class Kept:
    """A piece of a scan that goes with the head."""

    vertices: FloatArray
    """(N, 3) head frame, mm."""
    faces: IntArray
    """(M, 3) counter-clockwise seen from outside."""
    uv: UvMap | None
    """Of its picture; None without one."""
    picture: bytes | None
    """JPEG; None without one."""
    colors: NDArray[np.uint8] | None
    """(N, 3) sRGB; None where a picture has them."""


def unexplained(result: FitResult, scan: Scan, template: FloatArray) -> tuple[Kept, ...]:
    """The pieces of a fitted scan over and behind the face that the fit does not explain, one for each picture.

    Args:
        result: of the fit.
        scan: a mesh.
        template: (V, 3) vertices of the fitted head's template, in the scan's expression.

    Raises:
        InputError: the scan has no faces.
    """
    if scan.faces is None or not len(scan.faces):
        raise InputError(f"{scan.name}: is a cloud of points, from which no hair can be kept; export it as a mesh")
    points = transform_points(result.scan_to_head, scan.points)
    hair = result.hair.covers(transform_points(result.pose.scan_to_head, scan.points))
    away, nearest = cKDTree(template).query(points)
    groups = groups_of_skin(load_parts())
    own = (hair | ~result.explained) & (away < _FAR_MM) & ~np.isin(groups[nearest], _CLOTHED)
    mirrored = bool(np.linalg.det(result.scan_to_head[:3, :3]) < 0)
    faces = scan.faces[:, ::-1] if mirrored else scan.faces
    chosen = _large(points, faces, own[faces].any(axis=1) & (away[faces] < _FAR_MM).all(axis=1))
    chosen &= ~np.isin(groups[nearest], _CLOTHED)[faces].any(axis=1)
    if not chosen.any():
        return ()
    picture = np.full(len(faces), -1) if scan.texture is None else scan.texture.picture
    return tuple(
        _piece(points, faces, scan, np.flatnonzero(chosen & (picture == k)), int(k), mirrored)
        for k in np.unique(picture[chosen])
    )


def _large(points: FloatArray, faces: IntArray, chosen: BoolArray) -> BoolArray:
    """(F,) bool: the chosen faces of connected pieces that are large enough."""
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return chosen
    some = faces[rows]
    piece = piece_of_vertices(np.concatenate([some[:, :2], some[:, 1:]]), len(points))[some[:, 0]]
    area = np.bincount(piece, face_areas(Mesh(points, some))) / 100.0
    large = np.zeros(len(faces), dtype=bool)
    large[rows[area[piece] >= _LEAST_CM2]] = True
    return large


def _piece(points: FloatArray, faces: IntArray, scan: Scan, rows: IntArray, picture: int, mirrored: bool) -> Kept:
    used, inverse = np.unique(faces[rows], return_inverse=True)
    colors = None if scan.colors is None else scan.colors[used]
    if picture < 0 or scan.texture is None:
        return Kept(points[used], inverse.reshape(-1, 3), None, None, colors)
    uv = scan.texture.uv[rows][:, ::-1] if mirrored else scan.texture.uv[rows]
    uv = uv - np.floor(uv.min(axis=1, keepdims=True))  # a picture that repeats begins at 0
    table, corner = np.unique(uv.reshape(-1, 2), axis=0, return_inverse=True)
    shown = Image.fromarray(scan.texture.pictures[picture])
    shown.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
    flat = UvMap(table, corner.reshape(-1, 3))
    return Kept(points[used], inverse.reshape(-1, 3), flat, jpeg_bytes(np.asarray(shown)), None)
