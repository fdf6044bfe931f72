"""Volumes: of a patch, and the change that an edit makes in each region."""

from __future__ import annotations

import numpy as np
import torch

from imhead.checkpoint import Model
from imhead.conventions import MODEL_UNIT_MM
from imhead.measure.carrier import patch_points
from imhead.measure.table import VOLUMES
from imhead.model.fusion import wendland
from imhead.regions import REGIONS
from imhead.surfaces.pieces import border_edges
from imhead.template.surface import TemplateSurface
from imhead.template.topology import SKIN
from imhead.types import FloatArray, Head, IntArray

_ML = 1e-3  # of a cubic millimetre


def cone_volume(points: FloatArray, faces: IntArray) -> float:
    """Volume in ml between a patch of triangles and the cone from its border to the middle of it; points (n, 3), mm."""
    border = np.unique(border_edges(faces))
    a, b, c = (points - points[border].mean(axis=0))[faces].transpose(1, 0, 2)
    return float(np.einsum("fc,fc->", a, np.cross(b, c)) / 6.0 * _ML)


def volumes(model: Model, head: Head) -> dict[str, float]:
    """Every volume of the head's neutral face in ml, by name."""
    found = {}
    for kind in VOLUMES:
        points, faces = patch_points(model, kind.landmarks[0])
        found[kind.name] = cone_volume(points.on_head(model, head), faces)
    return found


def swept_volumes(before: FloatArray, after: FloatArray, faces: IntArray) -> FloatArray:
    """(V,) ml that each vertex's share of the surface sweeps as vertices move straight; positive is outwards.

    Exact for the triangles: the sum is the change in volume of a closed surface.
    """
    moved = (after - before)[faces]
    sides, changes = (k[:, 1:] - k[:, :1] for k in (before[faces], moved))
    # the area vector, a polynomial of the path, averaged over it
    area = np.cross(sides[:, 0], sides[:, 1]) + np.cross(changes[:, 0], changes[:, 1]) / 3.0
    area += 0.5 * (np.cross(sides[:, 0], changes[:, 1]) + np.cross(changes[:, 0], sides[:, 1]))
    share = np.einsum("fkc,fc->fk", moved, area) / 6.0 * _ML
    return np.bincount(faces.ravel(), weights=share.ravel(), minlength=len(before)).astype(np.float64)


def volume_changes(template: TemplateSurface, model: Model, before: FloatArray, after: FloatArray) -> dict[str, float]:
    """ml that the skin gains in each region, from template vertices (V, 3) before and after.

    Regions share each vertex by the blend weights of the model.
    """
    skin = template.faces[(template.part[template.faces] == SKIN).all(axis=1)]
    total = swept_volumes(before, after, skin) @ region_shares(template, model)
    return {region.name: float(total[region.index]) for region in REGIONS}


def region_shares(template: TemplateSurface, model: Model) -> FloatArray:
    """(V, 39) how much each vertex of the template belongs to each region, by the blend weights of the model."""
    centers = model.net.keypoint_net.mean.cpu().numpy() * MODEL_UNIT_MM
    radius = model.net.radius.cpu().numpy() * MODEL_UNIT_MM
    distance = np.linalg.norm(template.mean[:, None] - centers, axis=2) / radius
    weight: FloatArray = wendland(torch.from_numpy(distance)).numpy()
    return weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
