"""Which faces of a mesh can be seen from outside, and random points on them.

Shape legend: N points, F faces.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.surfaces.properties import face_areas, face_cross
from imhead.surfaces.rays import first_hit, ray_caster
from imhead.surfaces.sampling import draw_points, fibonacci_sphere
from imhead.types import BoolArray, FloatArray, Mesh

_DIRECTIONS = 60
_CORNER_INSET = 0.15
_LEAST_SHARE = 0.01


def visible_faces(mesh: Mesh) -> NDArray[np.bool_]:
    """(F,) True for faces that can be seen from outside, False for the mouth cavity, inner eyeballs and inner walls.

    Rays are cast from 60 directions at four spots of each face; a face is visible if a ray hits its outer side first.
    An open mesh lets rays in: cap the neck first if faces must not be seen through it.
    """
    caster = ray_caster(mesh)
    centre = caster.corners.mean(axis=1)
    spots = [centre] + [centre + (1 - _CORNER_INSET) * (caster.corners[:, k] - centre) for k in range(3)]
    distance = 2.0 * float(np.linalg.norm(np.ptp(mesh.vertices, axis=0))) if len(mesh.vertices) else 0.0
    visible = np.zeros(len(mesh.faces), dtype=bool)
    for direction in fibonacci_sphere(_DIRECTIONS)[:, [0, 2, 1]]:
        facing = caster.normals @ direction > 0
        for spot in spots:
            # no rays at faces already known to be visible: most faces cost one or two
            asked = np.flatnonzero(facing & ~visible)
            hit = first_hit(caster, spot[asked] + distance * direction, np.broadcast_to(-direction, (len(asked), 3)))
            visible[asked[hit == asked]] = True
    return visible


def sample_visible(
    mesh: Mesh, n: int, rng: np.random.Generator, *, visible: BoolArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Random points on the faces of a mesh that can be seen from outside, uniform by area.

    Args:
        mesh: the surface, any frame and unit.
        n: number of points.
        rng: source of the random choices.
        visible: (F,) from `visible_faces`; None computes it.

    Returns:
        (n, 3) points and (n, 3) unit normals of their faces.

    Raises:
        InputError: less than a hundredth of the surface can be seen.
    """
    seen = mesh.faces[visible_faces(mesh) if visible is None else visible]
    share = np.linalg.norm(face_cross(mesh.vertices, seen), axis=1).sum() / (2.0 * face_areas(mesh).sum())
    # by rounding, some slivers at the rim of an inside-out mesh count as visible
    if not share > _LEAST_SHARE:
        raise InputError("no face of the mesh can be seen from outside; are its faces turned inside out?")
    points, normals, _ = draw_points(mesh.vertices, seen, n, rng)
    return points, normals
