"""The points of a scan that show the skin of a fitted head, and their noise.

Shape legend: N points.
"""

from __future__ import annotations

from dataclasses import dataclass

import igl
import numpy as np
import torch
from scipy.spatial import cKDTree

from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.errors import InputError
from imhead.fitting.config import FitConfig
from imhead.fitting.figures import seen_from_outside
from imhead.fitting.hair import Hair
from imhead.fitting.points import independent_noise_mm, samples_near_head, scan_samples
from imhead.fitting.pose import PoseResult
from imhead.fitting.result import FitResult
from imhead.surfaces.normals import plane_normals
from imhead.surfaces.properties import face_cross
from imhead.surfaces.transforms import transform_directions, transform_points
from imhead.types import BoolArray, FloatArray, Mesh, Scan

_LEAST_POINTS = 100
_PAIRS = 8000  # of neighbours, from which the noise is measured
_NEAR_MM = 6.0  # points farther from the fitted surface say nothing of the noise


@dataclass(frozen=True, eq=False)
class ScanPoints:
    """Points of a scan, head frame, mm, without hair and inner walls."""

    points: FloatArray
    """(N, 3)."""
    normals: FloatArray
    """(N, 3) unit vectors."""
    oriented: bool
    """Whether normals point outwards; if not, only their line is known."""
    share: float
    """Independent measurements over N: samples of one triangle repeat its corners."""
    noise_mm: float
    """Standard deviation of the noise that is independent between neighbours."""
    spacing_mm: float
    """Median distance to the nearest other point."""


def registration_points(result: FitResult, scan: Scan) -> ScanPoints:
    """The points of a fitted scan that a registration uses.

    Raises:
        InputError: there are fewer than 100.
    """
    return skin_points(scan, result.pose, result.hair, result.scan_to_head, measured_noise_mm(result))


def skin_points(scan: Scan, pose: PoseResult, hair: Hair, scan_to_head: FloatArray, noise_mm: float) -> ScanPoints:
    """The points of a scan that show the skin of the head on which it lies.

    Args:
        scan: in its own frame and unit.
        pose: in whose frame the hair was found.
        hair: left out.
        scan_to_head: (4, 4) scan frame and unit → head frame, mm.
        noise_mm: standard deviation of the scan's independent noise.

    Raises:
        InputError: there are fewer than 100.
    """
    samples, given = samples_near_head(scan, *scan_samples(scan, FitConfig()), scan_to_head, FitConfig())
    covered = hair.covers(transform_points(pose.scan_to_head, samples))
    found = shown_points(scan, samples, given, covered, scan_to_head, noise_mm)
    if found is None:
        raise InputError(f"{scan.name}: hardly a point shows the head's skin; a registration needs {_LEAST_POINTS}")
    return found


def shown_points(
    scan: Scan,
    samples: FloatArray,
    given: FloatArray | None,
    covered: BoolArray,
    scan_to_head: FloatArray,
    noise_mm: float = 0.0,
) -> ScanPoints | None:
    """Those samples of a scan that show the skin of the head on which it lies; None of fewer than 100.

    Args:
        scan: in its own frame and unit.
        samples: (S, 3) points of it.
        given: (S, 3) their normals, or None.
        covered: (S,) samples on hair.
        scan_to_head: (4, 4) scan frame and unit → head frame, mm.
        noise_mm: standard deviation of the scan's independent noise, for those who ask for it.
    """
    points = transform_points(scan_to_head, samples)
    rows = np.flatnonzero(~covered & ((points > BOUNDS_MIN_MM) & (points < BOUNDS_MAX_MM)).all(axis=1))
    if scan.faces is not None:
        rows = rows[seen_from_outside(Mesh(scan.points, scan.faces), samples[rows])]
    if len(rows) < _LEAST_POINTS:
        return None
    points = points[rows]
    if given is None:
        normals = plane_normals(points)
    else:
        normals = transform_directions(scan_to_head, given[rows])
        normals = normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-30)
    spacing = float(np.median(cKDTree(points).query(points, k=2)[0][:, 1]))
    share = min(1.0, len(scan.points) / len(samples))
    return ScanPoints(points, normals, given is not None, share, noise_mm, spacing)


def measured_noise_mm(result: FitResult) -> float:
    """Standard deviation of the independent noise in the distances of a scan's own points to the fitted surface."""
    near = result.explained & (result.distance_mm < _NEAR_MM)
    return noise_over(result.points_mm[near], result.mesh)


def noise_over(points: FloatArray, surface: Mesh) -> float:
    """Standard deviation of the independent noise in the heights of a scan's own points (N, 3) over a surface near by.

    Not of samples drawn on triangles: two of them on one triangle share its corners' noise.
    """
    near = np.unique(points, axis=0)
    if len(near) < 2:
        return 0.0
    chosen = np.random.default_rng(0).permutation(len(near))[:_PAIRS]
    other = cKDTree(near).query(near[chosen], k=2)[1][:, 1]
    both = np.concatenate([near[chosen], near[other]])
    _, face, closest = igl.point_mesh_squared_distance(both, surface.vertices, surface.faces)
    normal = face_cross(surface.vertices, surface.faces[face])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-30)
    height = torch.from_numpy(np.einsum("nc,nc->n", both - closest, normal))
    # the first half are the chosen points, the second half their neighbours
    return independent_noise_mm(height, torch.arange(len(both)).roll(len(chosen)))
