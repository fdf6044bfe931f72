"""How much a step of region codes strains the skin: of all steps that do the same, the smoothest keeps a face a face.

Shape legend: K step directions, n regions, V vertices and F faces of the template, E edges.
"""

from __future__ import annotations

import numpy as np

from imhead.checkpoint import Model
from imhead.editing.steps import Regions, region_rows
from imhead.regions import CENTERS_MM, RADII_MM
from imhead.surfaces.crossings import edges_of
from imhead.surfaces.properties import face_cross
from imhead.surfaces.sampling import even_subset
from imhead.template.surface import TemplateSurface, template_of
from imhead.template.topology import LEFT_EYE
from imhead.types import BoolArray, FloatArray

_PER_MM2 = 0.5  # a strain of 10 % over 2 cm² weighs as much as a standard deviation
_SPACING_MM = 2.5
_MOST_EDGES = 2000


def in_balls(template: TemplateSurface, regions: Regions) -> BoolArray:
    """(V,) vertices of skin and mouth that lie in the regions' balls on the mean head."""
    rows = region_rows(regions)
    near: BoolArray = (np.linalg.norm(template.mean[:, None] - CENTERS_MM[rows], axis=2) < RADII_MM[rows]).any(axis=1)
    return near & (template.part < LEFT_EYE)


def strain_energy(model: Model, regions: Regions, codes: FloatArray) -> FloatArray:
    """(K, K) matrix S such that uᵀSu is the energy of the step u (K,) of codes (K, n, 64), by the linear blend.

    It is the integral over the skin of |change of a step along the surface|², times a weight.

    Raises:
        InputError: the model has no template.
    """
    template = template_of(model)
    near = in_balls(template, regions)
    faces = template.faces[near[template.faces].all(axis=1)]
    edges = edges_of(faces)
    edges = edges[even_subset(template.mean[edges].mean(axis=1), _SPACING_MM)]
    if len(edges) > _MOST_EDGES:
        edges = edges[np.linspace(0, len(edges) - 1, _MOST_EDGES).astype(np.int64)]
    moves = _vertex_moves(template, model, regions, codes)
    start, end = edges.T
    length = np.linalg.norm(template.mean[end] - template.mean[start], axis=1)
    strain = ((moves[:, end] - moves[:, start]) / length[None, :, None]).reshape(len(codes), -1)
    area = 0.5 * np.linalg.norm(face_cross(template.mean, faces), axis=1).sum()
    energy: FloatArray = (_PER_MM2 * area / len(edges)) * (strain @ strain.T).astype(np.float64)
    return energy


def _vertex_moves(template: TemplateSurface, model: Model, regions: Regions, codes: FloatArray) -> FloatArray:
    """(K, V, 3) change of the vertices for each step of codes (K, n, 64): `TemplateSurface.blend`, K at once."""
    parity = model.net.region_parity.cpu().numpy()
    moved = np.zeros((2, len(codes), template.half, 3), dtype=np.float32)
    for k, region in enumerate(regions):
        for side, row, step in ((0, region.index, codes[:, k]), (1, region.mirror, codes[:, k] * parity[region.index])):
            first, last = np.searchsorted(template.pair_region, [row, row + 1])
            block = template.basis[first:last].astype(np.float32).transpose(1, 0, 2).reshape(step.shape[1], -1)
            change = (step.astype(np.float32) @ block).reshape(len(codes), -1, 3)
            moved[side][:, template.pair_vertex[first:last]] += change
    left, right = moved[0], moved[1] * np.array([-1.0, 1.0, 1.0], dtype=np.float32)
    middle = template.twin[: template.half] < template.half
    result = np.concatenate([left, right[:, template.twin[template.half :]]], axis=1)
    result[:, : template.half][:, middle] = 0.5 * (left + right)[:, middle]
    return result
