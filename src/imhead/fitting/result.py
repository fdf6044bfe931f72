"""What a fit found: the head, its mesh, and how well it explains the scan.

Shape legend: N scan points, S samples of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, ASSUMED_SCALE, FACE_RADIUS_MM, UNIT_MM
from imhead.fitting.certainty import Evidence, SurfaceCertainty, certainty_summary
from imhead.fitting.config import FitConfig
from imhead.fitting.figures import ScanFigures, explained_points, scan_figures
from imhead.fitting.hair import Hair
from imhead.fitting.mirror import MirrorSigns, mirror_signs
from imhead.fitting.pose import PoseResult
from imhead.fitting.pose_file import nose_tip_mm
from imhead.fitting.start import InitialGuess
from imhead.io.mesh_file import unit_name
from imhead.isosurface.creases import mended_head
from imhead.isosurface.field import HeadField
from imhead.isosurface.places import nearest_regions
from imhead.surfaces.distances import SurfaceTree
from imhead.surfaces.handle_mending import Mended
from imhead.surfaces.handles import handle_places
from imhead.surfaces.transforms import transform_directions, transform_points
from imhead.types import BoolArray, Certainty, FloatArray, Head, Mesh, Scan


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted head and how well it explains the scan."""

    head: Head
    """Its codes."""
    mesh: Mesh
    """The head's surface, head frame, mm."""
    pose: PoseResult
    """What the pose search, or the landmarks, gave."""
    scan_to_head: FloatArray
    """(4, 4) scan frame and units → head frame in mm, refined by the fit."""
    points_mm: FloatArray
    """(N, 3) scan points in the head frame."""
    distance_mm: FloatArray
    """(N,) unsigned distance of each scan point to the fitted surface."""
    explained: BoolArray
    """(N,) bool: scan points within 3 mm of the surface, on its side; the rest is hair, clothes, stand or noise."""
    face: BoolArray
    """(N,) bool: scan points on the face."""
    figures: ScanFigures
    """The same by area, without what no scanner sees from outside and without the eyes: the report's figures."""
    expression: dict[str, float]
    """ARKit weights, the non-zero ones."""
    start: InitialGuess
    """What the Gauss-Newton steps started from."""
    start_distance_mm: float | None
    """Median |signed distance|, mm, of the points on the face to the head that the steps started from; None without
    such points. The field's gradient is a little less than 1, and so is this than the true distance."""
    handles: int | None
    """Handles of the mesh: holes through thin walls, such as from a lip into the mouth, that are too large to be
    mended; a head has none. None where they cannot be counted."""
    iterations: int
    """Gauss-Newton steps taken."""
    seconds: float
    """Wall time of the fit."""
    warnings: tuple[str, ...]
    """Of the reader, of the pose search, and of the fit, in sentences."""
    hair: Hair = field(default_factory=Hair.none)
    """Where the scan shows hair, which was left out."""
    mirror: MirrorSigns = field(default_factory=MirrorSigns)
    """Whether the scan is mirrored, and how sure that is."""
    mended: tuple[str, ...] = ()
    """Regions nearest to each place at which the mesh had a small handle, which was mended."""
    evidence: Evidence | None = None
    """What the head's certainty was computed from; None for a model without a template."""
    mesh_certainty: SurfaceCertainty | None = None
    """How sure the mesh is at its vertices."""

    @property
    def certainty(self) -> Certainty | None:
        """How sure the head's surface is; None for a model without a template."""
        return self.head.certainty

    @property
    def scan_unit(self) -> str | float:
        """The scan's unit: a key of `UNIT_MM`, or the millimetres of one without a name."""
        return self.pose.units if self.pose.units in UNIT_MM else unit_length_mm(self.scan_to_head)

    def report(self) -> dict[str, Any]:
        """The fit's figures, as written to report.json."""
        z = np.asarray(self.head.z_id)
        return {
            **self.figures.summary(),
            "face_points": int((self.explained & self.face).sum()),
            "units": self.pose.units,
            "unit_source": self.pose.unit_source,
            "overlay_unit": unit_name(self.scan_unit),
            "pose_probability": round(self.pose.probability, 4),
            "pose": self.scan_to_head.tolist(),
            "scale_assumed": self.pose.scale_assumed,
            **self.mirror.report(),
            "identity_sigma": float(np.linalg.norm(z) / np.sqrt(len(z))),
            "detail_offset": float(np.abs(self.head.offsets).mean()),
            "expression": self.expression,
            "sigma_mm": certainty_summary(self.certainty, self.evidence),
            "handles": self.handles,
            "mended_handles": {"count": len(self.mended), "regions": sorted(set(self.mended))},
            "hair": self.hair.report(),
            "start": self.start,
            "start_to_head_face_mm": self.start_distance_mm,
            "iterations": self.iterations,
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, eq=False)
class PlacedScan:
    """A scan with its place and expression on a fitted head."""

    scan: Scan
    """In its own frame and unit."""
    samples: FloatArray
    """(S, 3) points of it, from `scan_samples`."""
    normals: FloatArray | None
    """(S, 3) of them."""
    pose: PoseResult
    """What the search found."""
    scan_to_head: FloatArray
    """(4, 4) the refined pose."""
    weights: FloatArray
    """(52,) ARKit weights."""
    hair: Hair
    """Where it shows hair, in the frame of `pose`."""


def unit_length_mm(scan_to_head: FloatArray) -> float:
    """Millimetres of one unit of a scan, from its pose (4, 4)."""
    return float(np.cbrt(abs(np.linalg.det(scan_to_head[:3, :3]))))


def fit_result(
    model: Model,
    placed: PlacedScan,
    head: Head,
    config: FitConfig,
    start: InitialGuess,
    start_distance_mm: float | None,
    iterations: int,
    began: float,
) -> FitResult:
    """The mesh of a fitted head, and how well it explains a scan.

    Args:
        model: of the head.
        placed: the scan.
        head: in the scan's expression.
        config: settings.
        start: what the steps started from.
        start_distance_mm: as in the result.
        iterations: steps taken.
        began: `time.perf_counter` at the start of the fit.
    """
    scan, pose, hair, scan_to_head = placed.scan, placed.pose, placed.hair, placed.scan_to_head
    points = transform_points(scan_to_head, scan.points)
    field = HeadField(model, head)
    surface = mended_head(field, config.resolution)
    mesh = surface.mesh
    tree = SurfaceTree(mesh)
    own_normals = None if scan.normals is None else transform_directions(scan_to_head, scan.normals)
    distance, explained = explained_points(points, own_normals, tree)
    explained &= ~hair.covers(transform_points(pose.scan_to_head, scan.points))
    tip = nose_tip_mm(mesh, field)
    face = np.linalg.norm(points - tip, axis=1) < FACE_RADIUS_MM
    figures = scan_figures(scan, placed.samples, placed.normals, scan_to_head, tree, field.eyes, tip, FACE_RADIUS_MM)
    handle_warnings = _handle_warnings(surface)
    mirror = mirror_signs(scan, scan_to_head, distance, field, mesh, tip)
    assumed = (f"one unit was taken as {unit_length_mm(scan_to_head):.4g} mm; {ASSUMED_SCALE}",)
    doubts = (*pose.warnings, *(assumed if pose.scale_assumed else ()), *mirror.warnings())
    warnings = (*handle_warnings, *scan.warnings, *doubts, *hair.warnings(), *_fit_warnings(figures))
    expression = {n: round(float(w), 4) for n, w in zip(ARKIT_NAMES, placed.weights.tolist()) if w > 0.005}
    return FitResult(
        head, mesh, pose, scan_to_head, points, distance, explained, face, figures, expression, start,
        start_distance_mm, surface.left, iterations, time.perf_counter() - began, warnings, hair, mirror,
        nearest_regions(surface.places),
    )  # fmt: skip


def _handle_warnings(surface: Mended) -> tuple[str, ...]:
    """A warning if the surface has handles, or if they cannot be counted."""
    if surface.left is None:
        return ("holes through thin walls could not be counted: the surface touches itself; look at it",)
    if not surface.left:
        return ()
    holes = "a hole through a thin wall" if surface.left == 1 else f"{surface.left} holes through thin walls"
    near = sorted(set(nearest_regions(handle_places(surface.mesh))))
    return (f"the surface has {holes} (near {', '.join(near)}); look there, or try --no-detail",)


def _fit_warnings(figures: ScanFigures) -> list[str]:
    warnings: list[str] = []
    explained, face, distance = figures.explained, figures.face, figures.distance_mm
    if face.sum() < 100:
        warnings.append("fewer than 100 scan points lie on the face; the fit rests on little")
    elif explained[face].mean() < 0.6:
        part = 100 * explained[face].mean()
        warnings.append(f"only {part:.0f} % of the points on the face are explained; look at overlay.ply before use")
    elif np.median(distance[face & explained]) > 1.0:
        warnings.append("the face fits worse than 1 mm; look at overlay.ply before use")
    return warnings
