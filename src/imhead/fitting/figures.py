"""How well a head explains a scan, by area: of what a scanner sees from outside, and not of its eyes.

Vertices of a mesh crowd in eyes, mouth bags and the inner walls of hollow shells, and a median over them says little.

Shape legend: K samples of the scan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.surfaces.distances import SurfaceTree
from imhead.surfaces.eyeballs import eyes_distance, near_eyes
from imhead.surfaces.properties import face_cross
from imhead.surfaces.rays import first_hit, ray_caster
from imhead.surfaces.sampling import fibonacci_sphere
from imhead.surfaces.transforms import transform_directions, transform_points
from imhead.types import BoolArray, FloatArray, Mesh, Scan

EXPLAINED_MM = 3.0
_SAMPLES = 20_000
_DIRECTIONS = 20
_START_SHARE = 1e-4  # rays start this share of the scan's extent off its surface
_EYE_MM = 1.5  # samples nearer than this to an eyeball, and nearer to it than to the skin, lie on an eye


@dataclass(frozen=True, eq=False)
class ScanFigures:
    """Distances from a scan to a head, at samples even by area."""

    distance_mm: FloatArray
    """(K,) unsigned."""
    explained: BoolArray
    """(K,) within 3 mm of the surface, on its side; the rest is hair, clothes, stand or noise."""
    face: BoolArray
    """(K,) on the face."""

    def summary(self) -> dict[str, object]:
        """The figures of report.json."""
        return {
            "scan_to_head_mm": distance_summary(self.distance_mm[self.explained]),
            "scan_to_head_face_mm": distance_summary(self.distance_mm[self.explained & self.face]),
            "explained_fraction": float(self.explained.mean()) if len(self.explained) else 0.0,
        }


def distance_summary(distance: FloatArray) -> dict[str, float | None]:
    """Median, mean and 90th percentile of distances (N,); None of no distances."""
    if not len(distance):
        return {"median": None, "mean": None, "p90": None}
    return {
        "median": float(np.median(distance)),
        "mean": float(distance.mean()),
        "p90": float(np.percentile(distance, 90)),
    }


def scan_figures(
    scan: Scan,
    samples: FloatArray,
    normals: FloatArray | None,
    scan_to_head: FloatArray,
    surface: SurfaceTree,
    eyes: FloatArray,
    nose_tip_mm: FloatArray,
    face_radius_mm: float,
) -> ScanFigures:
    """The figures of a fitted head.

    Args:
        scan: the scan.
        samples: (S, 3) points of it, even by area or as dense as the cloud, in random order.
        normals: (S, 3) of them, or None.
        scan_to_head: (4, 4) scan frame and units → head frame, mm.
        surface: the head's.
        eyes: (2, 5) its eyeballs.
        nose_tip_mm: (3,) on the head.
        face_radius_mm: distance from it within which a point lies on the face.
    """
    chosen, own = samples[:_SAMPLES], None if normals is None else normals[:_SAMPLES]
    if scan.faces is not None:
        seen = seen_from_outside(Mesh(scan.points, scan.faces), chosen)
        chosen, own = chosen[seen], None if own is None else own[seen]
    points = transform_points(scan_to_head, chosen)
    directions = None if own is None else transform_directions(scan_to_head, own)
    distance, explained = explained_points(points, directions, surface)
    kept = ~on_eyes(points, eyes)
    face = np.linalg.norm(points - nose_tip_mm, axis=1) < face_radius_mm
    return ScanFigures(distance[kept], explained[kept], face[kept])


def explained_points(
    points: FloatArray, normals: FloatArray | None, surface: SurfaceTree
) -> tuple[FloatArray, BoolArray]:
    """Distance (N,) of scan points (N, 3) in the head frame to a head's surface, mm, and whether (N,) it explains them.

    Args:
        normals: (N, 3) of the points, or None.
    """
    distance, nearest = surface.nearest(points)
    explained = distance < EXPLAINED_MM
    if normals is not None:
        cosine = np.einsum("nc,nc->n", face_cross(surface.mesh.vertices, surface.mesh.faces[nearest]), normals)
        # the normals of an inside-out scan all point inwards; the majority decides on the sign
        explained &= (cosine if np.median(cosine) >= 0 else -cosine) > 0.0
    return distance, explained


def seen_from_outside(mesh: Mesh, points: FloatArray) -> BoolArray:
    """(N,) True for points (N, 3) of a mesh from which a ray in one of 20 directions leaves it without a hit."""
    caster = ray_caster(mesh)
    start = _START_SHARE * float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
    seen = np.zeros(len(points), dtype=bool)
    for direction in fibonacci_sphere(_DIRECTIONS):
        asked = np.flatnonzero(~seen)
        ways = np.broadcast_to(direction, (len(asked), 3))
        seen[asked] = first_hit(caster, points[asked] + start * direction, ways) < 0
    return seen


def on_eyes(points: FloatArray, eyes: FloatArray) -> BoolArray:
    """(K,) bool: points (K, 3) that lie on an eyeball (2, 5)."""
    found = np.zeros(len(points), dtype=bool)
    near = near_eyes(points, eyes)
    found[near] = np.abs(eyes_distance(points[near], eyes)) < _EYE_MM
    return found
