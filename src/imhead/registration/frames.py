"""Offsets of vertices in frames that move with them, so that an edit or an expression carries a registration along.

Shape legend: V vertices, F faces.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.isosurface.field import code_of_weights, eyes_of
from imhead.surfaces.crossings import edges_of, untangled
from imhead.surfaces.normals import vertex_normals
from imhead.template.surface import TemplateSurface
from imhead.template.topology import LEFT_EYE
from imhead.types import FloatArray, Head, IntArray


def vertex_frames(vertices: FloatArray, faces: IntArray, pointer: IntArray) -> FloatArray:
    """(V, 3, 3) orthonormal rows: tangent, bitangent, normal.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        pointer: (V,) the neighbour towards which each vertex's tangent points.
    """
    normal, _ = vertex_normals(vertices, faces)
    along = vertices[pointer] - vertices
    tangent = along - np.einsum("vc,vc->v", along, normal)[:, None] * normal
    size = np.linalg.norm(tangent, axis=1)
    # where the neighbour stands straight over the vertex, any tangent serves
    other = np.cross(normal, np.eye(3)[np.abs(normal).argmin(axis=1)])
    tangent = np.where((size > 1e-9)[:, None], tangent, other)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    return np.stack([tangent, np.cross(normal, tangent), normal], axis=1)


def pointers(vertices: FloatArray, faces: IntArray) -> IntArray:
    """(V,) for each vertex the neighbour at the end of its longest edge; itself where it has no edge."""
    edges = edges_of(faces)
    both = np.concatenate([edges, edges[:, ::-1]])
    length = np.linalg.norm(vertices[both[:, 0]] - vertices[both[:, 1]], axis=1)
    rising = np.argsort(length, kind="stable")
    found = np.arange(len(vertices))
    found[both[rising, 0]] = both[rising, 1]  # the longest is written last
    return found


@lru_cache(maxsize=4)
def _pointers(template: TemplateSurface) -> IntArray:
    return pointers(template.mean, template.faces)


def offsets_of(template: TemplateSurface, base: FloatArray, moved: FloatArray) -> FloatArray:
    """Offsets (V, 3) of moved vertices (V, 3) in the frames of the base (V, 3), mm."""
    frames = vertex_frames(base, template.faces, _pointers(template))
    offsets: FloatArray = np.einsum("vkc,vc->vk", frames, moved - base)
    return offsets


def registered_vertices(
    template: TemplateSurface, model: Model, head: Head, weights: FloatArray | None = None
) -> FloatArray:
    """The template (V, 3) of a head with ARKit weights (52,), or its own expression, with its registration, mm.

    Raises:
        InputError: the registration belongs to another template.
    """
    base = template.posed(model, head, weights)
    offsets = head.registration
    if offsets is None:
        return base
    if offsets.shape != base.shape:
        raise InputError(
            f"the head's registration has {len(offsets)} vertices, the template {len(base)}; register the scan again"
        )
    frames = vertex_frames(base, template.faces, _pointers(template))
    moved = base + np.einsum("vk,vkc->vc", offsets.astype(np.float64), frames)
    code = head.z_exp if weights is None else code_of_weights(model, weights)
    if weights is not None:  # in another expression, other sheets touch
        moved = untangled(moved, template.faces[(template.part[template.faces] < LEFT_EYE).all(axis=1)])
    return template.with_eyes(model, moved, eyes_of(model, head, code))
