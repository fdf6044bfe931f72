"""Sharp edges, narrow slits and lids: cells in which the surface turns sharply are divided into finer ones.

Marching cubes turns a rim thinner than a cell, or lips that almost meet, into a row of teeth, however smooth the field.
There each cell is divided into 4³ and meshed from the field's own values. On a face between a divided and an undivided
cell, the field is replaced by the interpolation of the four corners, as marching cubes assumes. So the finer line on
such a face ends where the coarser edge does, and the triangle behind that edge is divided at the vertices of the line.
The mesh stays closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from imhead.errors import InputError
from imhead.isosurface.cells import triangles_of, vertices_of
from imhead.isosurface.division import AROUND, divide
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import NO_SURFACE, largest_component, lattice_of, surface_in
from imhead.isosurface.places import nearest_rows
from imhead.isosurface.refinement import Surface
from imhead.isosurface.seams import joined
from imhead.regions import REGIONS
from imhead.surfaces.eyeballs import eye_centers
from imhead.surfaces.handle_mending import Mended, mended
from imhead.surfaces.properties import face_cross
from imhead.types import Ball, BoolArray, DistanceField, FloatArray, IntArray, Mesh

CreaseAngle = Callable[[FloatArray], FloatArray]
"""Places (N, 3) in mm → degrees (N,)."""

_EYE_FRONT_MM = np.array([0.0, 0.0, 10.0])  # from the centre of an eyeball to that of a ball
_LIDS_MM = 20.0  # of this radius, which holds the opening of the lids
_BUST = [region.index for region in REGIONS if region.name.endswith(("neck", "shoulder"))]
_BUST_DEG = 45.0  # there only the cut is a crease, which would be a row of teeth
_MOUTH = [region.index for region in REGIONS if region.group == "mouth"]
_LIPS_MM = 30.0  # radius of a ball about the middle of its regions, which holds the line of the lips
_FINE_DEG_PER_MM = 5.5  # a crease of lids and lips, over the side of a cell: a curve turns by more within a larger one
CREASE_DEG = 20.0
"""A vertex lies on a crease if the normal of one of its faces differs from their mean by more than this angle."""


def crease_anywhere(places: FloatArray) -> FloatArray:
    """(N,) `CREASE_DEG` at every place (N, 3)."""
    return np.full(len(places), CREASE_DEG)


def detailed_mesh(field: DistanceField, resolution: int = 256, crease_deg: CreaseAngle = crease_anywhere) -> Mesh:
    """The surface of a field as from `extract_mesh`, with finer cells along its creases.

    Args:
        field: signed distances, head frame, mm.
        resolution: cells along the longest side of the bounds.
        crease_deg: places (N, 3) in mm → the angle (N,) from which a vertex there lies on a crease.

    Raises:
        InputError: the field has no zero set in the bounds.
    """
    surface, cells = surface_in(field, lattice_of(resolution))
    if not len(cells):
        raise InputError(NO_SURFACE)
    return largest_component(joined(surface, divide(field, surface, _creased_cells(surface, cells, crease_deg))))


def head_mesh(field: HeadField, resolution: int = 256) -> Mesh:
    """`detailed_mesh` of a head: finer at lids and lips, which are as thin as a cell; small handles are mended.

    Raises:
        InputError: the field has no zero set in the bounds.
    """
    return mended_head(field, resolution).mesh


def mended_head(field: HeadField, resolution: int = 256) -> Mended:
    """`head_mesh`, with what was mended."""
    lids = [Ball(center + _EYE_FRONT_MM, _LIDS_MM) for center in eye_centers(field.eyes)]
    mouth = np.mean([field.ball(region).center_mm for region in _MOUTH], axis=0)
    fine = (*lids, Ball(mouth, _LIPS_MM))
    fine_deg = min(_FINE_DEG_PER_MM * lattice_of(resolution).spacing_mm, CREASE_DEG)
    mesh = detailed_mesh(field.sdf, resolution, lambda places: _head_crease_deg(places, fine, fine_deg))
    return mended(mesh)


def _head_crease_deg(places: FloatArray, fine: Sequence[Ball], fine_deg: float) -> FloatArray:
    """(N,) the angle of a crease at places (N, 3) of a head: smaller in some balls, larger at the bust."""
    angle = np.where(np.isin(nearest_rows(places), _BUST), _BUST_DEG, CREASE_DEG)
    for ball in fine:
        angle[np.linalg.norm(places - ball.center_mm, axis=1) < ball.radius_mm] = fine_deg
    return angle


def _creased_cells(surface: Surface, cells: IntArray, crease_deg: CreaseAngle) -> IntArray:
    """Those of the surface's cells (N,) that touch a crease, and their neighbours that the surface passes."""
    samples, lattice = surface.samples, surface.samples.lattice
    triangles = triangles_of(samples.values, cells, surface.case[cells], lattice)
    keys, faces = np.unique(triangles.keys, return_inverse=True)
    faces = faces.reshape(-1, 3)
    vertices = vertices_of(samples.values, keys, lattice)
    creased = on_crease(Mesh(vertices, faces), crease_deg(vertices))
    chosen = np.zeros(lattice.count, dtype=bool)
    chosen[triangles.cells[creased[faces].any(axis=1)]] = True
    around = (np.flatnonzero(chosen)[:, None] + AROUND @ lattice.strides).reshape(-1)
    chosen[around[surface.case[around] != 0]] = True
    return np.flatnonzero(chosen)


def on_crease(mesh: Mesh, angle_deg: FloatArray) -> BoolArray:
    """(V,) True for vertices with a face whose normal is over an angle (V,) from the mean of their faces' normals."""
    normal = face_cross(mesh.vertices, mesh.faces)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    mean = np.zeros_like(mesh.vertices)
    least = np.ones(len(mean))
    for corner in mesh.faces.T:
        np.add.at(mean, corner, normal)
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    for corner in mesh.faces.T:
        np.minimum.at(least, corner, (normal * mean[corner]).sum(axis=1))
    return np.asarray(least < np.cos(np.radians(angle_deg)))
