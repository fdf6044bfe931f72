"""Accuracy of one surface against another, in millimetres: pure functions of two meshes.

Chamfer is the mean of the two one-way mean distances, not squared. Distances are from area-weighted samples on one
mesh to the exact surface of the other (point to triangle), so the sampling density puts no lower bound on any figure.

Shape legend: N points, F faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.errors import InputError
from imhead.surfaces.distances import check_mesh, point_to_surface
from imhead.surfaces.properties import face_areas, face_normals
from imhead.surfaces.sampling import RegionTest, checked_mask, sample_surface
from imhead.types import BoolArray, FloatArray, Mesh


@dataclass(frozen=True)
class SurfaceMetrics:
    """How well a predicted surface agrees with the true one."""

    chamfer_mm: float
    """Mean of `forward_mm` and `backward_mm`; distances are not squared."""
    forward_mm: float
    """Mean distance from the predicted surface to the true one (accuracy)."""
    backward_mm: float
    """Mean distance from the true surface to the predicted one (completeness)."""
    normal_consistency: float
    """Mean signed cosine between the normals of a sample and of its closest face, both ways; 1 is perfect, and a
    surface turned inside out scores -1."""
    fscore_1mm: float
    """Harmonic mean of the shares of samples within 1 mm, both ways; 0-1."""
    fscore_5mm: float
    """The same within 5 mm."""


def surface_metrics(
    predicted: Mesh,
    truth: Mesh,
    *,
    samples: int = 30000,
    seed: int,
    predicted_mask: BoolArray | None = None,
    truth_mask: BoolArray | None = None,
    region: RegionTest | None = None,
) -> SurfaceMetrics:
    """Accuracy of a predicted surface, in mm.

    Mask and region limit where samples are drawn, not where the closest points lie: those may be anywhere on the other
    mesh, because what one mouth cavity shows the other may hide. Both meshes are sampled with the same seed, so
    swapping them swaps `forward_mm` and `backward_mm` and changes nothing else.

    Args:
        predicted: predicted surface, mm.
        truth: true surface in the same frame, mm.
        samples: points drawn on each mesh.
        seed: the same seed gives the same figures.
        predicted_mask: (F,) bool, the faces of `predicted` to sample, such as the visible ones; None for all.
        truth_mask: (F,) bool, the same for `truth`.
        region: points (N, 3) → (N,) bool, True where samples are drawn; None for everywhere.

    Raises:
        InputError: an empty mesh, mask or region, or a mask of the wrong shape.
    """
    ours = _masked(predicted, predicted_mask, "predicted")
    theirs = _masked(truth, truth_mask, "truth")
    forward, forward_cosine = _one_way(ours, _masked(truth, None, "truth"), samples, seed, region)
    backward, backward_cosine = _one_way(theirs, _masked(predicted, None, "predicted"), samples, seed, region)

    def fscore(limit_mm: float) -> float:
        precision, recall = float(np.mean(forward <= limit_mm)), float(np.mean(backward <= limit_mm))
        return 2.0 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0

    return SurfaceMetrics(
        chamfer_mm=float(0.5 * (forward.mean() + backward.mean())),
        forward_mm=float(forward.mean()),
        backward_mm=float(backward.mean()),
        normal_consistency=float(0.5 * (forward_cosine.mean() + backward_cosine.mean())),
        fscore_1mm=fscore(1.0),
        fscore_5mm=fscore(5.0),
    )


def _one_way(
    source: Mesh, target: Mesh, samples: int, seed: int, region: RegionTest | None
) -> tuple[FloatArray, FloatArray]:
    """Distance (samples,) and signed cosine (samples,) from samples on one mesh to the other."""
    points, face = sample_surface(source, samples, seed=seed, region=region)
    distance, _, hit = point_to_surface(points, target)
    cosine = np.einsum("nd,nd->n", face_normals(source)[face], face_normals(target)[hit])
    return distance, cosine


def _masked(mesh: Mesh, mask: BoolArray | None, name: str) -> Mesh:
    check_mesh(mesh, f"the {name} mesh")
    # a face without area is no surface, and has no normal to compare
    keep = checked_mask(mesh, mask, f"{name}_mask") & (face_areas(mesh) > 0)
    if not keep.any():
        raise InputError(f"the {name} mesh has no face left with an area; check the mesh and {name}_mask")
    return Mesh(mesh.vertices, mesh.faces[keep])
