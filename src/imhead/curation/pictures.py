"""Small pictures of a scan for the contact sheet.

Shape legend: N points.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from imhead.registration.register import Registration
from imhead.rendering.figures import SCAN_BLUE, contact_sheet, heat_colors
from imhead.rendering.shading import FACE_CENTER_MM, FACE_HALF_MM, HEAD_HALF_MM, as_surface, camera, flat_color, shade
from imhead.surfaces.transforms import transform_points
from imhead.types import FloatArray, Mesh, Scan

_SIZE = 200  # pixels of a view
_HEAT_MM = 2.0
_MOST_POINTS = 16_000  # of a cloud, drawn as small squares


def scan_picture(scan: Scan, scan_to_head: FloatArray | None) -> Image.Image | None:
    """Three views of a scan: of its face where its pose (4, 4) is known, else along the axes of its file."""
    views: tuple[str, ...] = ("front", "three_quarter", "profile")
    if scan_to_head is None:
        views = ("front", "profile", "top")
        points: FloatArray = scan.points - np.median(scan.points, axis=0)
        reach = float(np.percentile(np.linalg.norm(points, axis=1), 98))
        points = points * (0.9 * HEAD_HALF_MM / max(reach, 1e-300))
        looks = [camera(view, center_mm=(0.0, 0.0, 0.0), half_mm=HEAD_HALF_MM) for view in views]
    else:
        points = transform_points(scan_to_head, scan.points)
        looks = [camera(view) for view in views]
    if scan.faces is not None:
        surface, normals, _ = as_surface(Mesh(points, scan.faces))
    elif len(points) >= 16:
        surface, normals, _ = as_surface(points[:: math.ceil(len(points) / _MOST_POINTS)])
    else:
        return None
    colors = flat_color(SCAN_BLUE, surface)
    drawn = [shade(surface, look, _SIZE, colors=colors, normals=normals, occlusion=False) for look in looks]
    return contact_sheet(drawn, columns=len(drawn))


def registered_picture(found: Registration, distance_mm: FloatArray) -> Image.Image:
    """The used points, coloured by their distance (N,) to the registered template, and that, blue where measured."""
    points = found.points.points
    step = math.ceil(len(points) / _MOST_POINTS)
    surface, normals, source = as_surface(points[::step])
    heat = heat_colors(distance_mm[::step], _HEAT_MM, signed=False)[source]
    look = camera("front", center_mm=FACE_CENTER_MM, half_mm=1.25 * FACE_HALF_MM)
    side = camera("three_quarter", center_mm=FACE_CENTER_MM, half_mm=1.25 * FACE_HALF_MM)
    plain = flat_color((222, 214, 208), found.mesh)
    plain[found.measured] = SCAN_BLUE
    drawn = [shade(surface, look, _SIZE, colors=heat, normals=normals, occlusion=False)]
    drawn += [shade(found.mesh, view, _SIZE, colors=plain, occlusion=False) for view in (look, side)]
    return contact_sheet(drawn, columns=3)
