"""Virtual patients: held-out heads whose own vertices a smooth displacement changes, scanned before and after.

The displacement is none of our model's: it moves the source's vertices, so the true change is known at each of them.

Shape legend: V vertices of the source's head.
"""

from __future__ import annotations

from dataclasses import dataclass

import igl
import numpy as np

from imhead.datasets.recipe import HELD_OUT_SEED
from imhead.evaluation.cases import HeldOutSource
from imhead.evaluation.virtual_scanner import ScannerConfig, VirtualScan, virtual_scan
from imhead.measure.volumes import swept_volumes
from imhead.sources.expressions import draw_expressions
from imhead.surfaces.normals import vertex_normals
from imhead.types import FloatArray, IntArray, Mesh

KINDS = ("nothing", "nose", "chin", "lips", "cheek")
"""What is operated on; head k has the k-th of them, cyclically."""
SCANNER = ScannerConfig(
    cameras=4, arc_deg=150.0, elevation_deg=12.0, target_points=30_000, holes=4, hole_radius_mm=7.0, unit="mm"
)
"""A stereo system from ear to ear: noise of 0.2 mm, a smooth error of 0.15 mm in each of four depth images."""
_PLACES_MM = {
    "nose": (0.0, 2.0, 118.0), "chin": (0.0, -74.0, 98.0), "lips": (0.0, -40.0, 104.0), "cheek": (46.0, -12.0, 78.0)
}  # fmt: skip
_RADIUS_MM = {"nose": (22.0, 30.0), "chin": (24.0, 34.0), "lips": (16.0, 24.0), "cheek": (26.0, 36.0)}
_LARGEST_MM = {"nose": (1.0, 4.0), "chin": (1.0, 4.0), "lips": (1.0, 3.0)}
_CHEEK_ML = (1.0, 6.0)
_SLIGHT = 0.25  # share of a drawn expression
_EXPRESSIONS = 12


@dataclass(frozen=True, eq=False)
class Patient:
    """A held-out head before and after, with a scan of each."""

    name: str
    """Of the case."""
    kind: str
    """One of `KINDS`."""
    before: Mesh
    """Head frame, mm."""
    after: FloatArray
    """(V, 3) its vertices after, without expression."""
    registered: tuple[FloatArray, FloatArray]
    """(W, 3) before and after on ICT's topology, without expression, mm."""
    change_mm: FloatArray
    """(V,) signed distance along the normals of `before` to the surface after, in the expression before."""
    raw_mm: FloatArray
    """(V,) the same with the expression after."""
    swept_ml: float
    """What the surgery added to the head's volume."""
    scans: tuple[VirtualScan, VirtualScan]
    """Before and after."""
    nose_tip_mm: FloatArray
    """(3,)."""


def patient(
    source: HeldOutSource, index: int, *, expression: bool, scanner: ScannerConfig = SCANNER, kind: str | None = None
) -> Patient:
    """Virtual patient `index`.

    Args:
        source: of the held-out heads.
        index: of the head; it also draws the surgery, the expression and the scans.
        expression: whether the second scan shows a slight expression.
        scanner: of both scans, with a pose of its own for each.
        kind: one of `KINDS`; None takes them in turns.
    """
    rng = np.random.default_rng([0x5C6, index])
    head = source.head(index)
    kind = KINDS[index % len(KINDS)] if kind is None else kind
    skin, eyes = head.source.skin_faces, head.source.eye_faces
    faces = np.concatenate([skin, eyes])
    vertices = head.neutral.astype(np.float64)
    moved = _displacement(vertices, skin, kind, rng)
    moved[np.unique(eyes)] = 0.0
    after = vertices + moved
    weights = _SLIGHT * draw_expressions(HELD_OUT_SEED + index, _EXPRESSIONS)[3 + index % 9]
    face = head.posed(weights).astype(np.float64) + moved if expression else after
    name = f"patient_{index:03d}"
    scans = (
        virtual_scan(Mesh(vertices, faces), scanner, rng, f"{name}_before"),
        virtual_scan(Mesh(face, faces), scanner, rng, f"{name}_after"),
    )
    registered = head.registered(head.neutral)
    tip = registered[int(np.argmax(source.ict.mean[:, 2]))].astype(np.float64)
    change = along_normals(vertices, after, skin)
    raw = along_normals(vertices, face, skin) if expression else change
    swept = float(swept_volumes(vertices, after, skin).sum())
    both = (registered, head.registered(after.astype(np.float32)))
    return Patient(name, kind, Mesh(vertices, faces), after, both, change, raw, swept, scans, tip)


def along_normals(before: FloatArray, after: FloatArray, faces: IntArray) -> FloatArray:
    """(V,) signed distance from vertices (V, 3) to the surface of moved ones, to first order: exact for small turns."""
    normals, _ = vertex_normals(before, faces)
    turned, _ = vertex_normals(after, faces)
    # the plane at the moved vertex, cut by the normal before
    cosine = np.einsum("vc,vc->v", normals, turned)
    distance = np.einsum("vc,vc->v", after - before, turned) / np.where(np.abs(cosine) < 0.3, 1.0, cosine)
    return np.asarray(distance)


def _displacement(vertices: FloatArray, faces: IntArray, kind: str, rng: np.random.Generator) -> FloatArray:
    """(V, 3) mm, smooth and compact."""
    moved = np.zeros(vertices.shape)
    if kind == "nothing":
        return moved
    center = vertices[np.linalg.norm(vertices - np.array(_PLACES_MM[kind]), axis=1).argmin()]
    away = np.linalg.norm(vertices - center, axis=1) / rng.uniform(*_RADIUS_MM[kind])
    bump = np.maximum(1.0 - away**2, 0.0) ** 3
    normals, _ = vertex_normals(vertices, faces)
    axis = bump @ normals
    axis /= np.linalg.norm(axis)
    unit = bump[:, None] * axis
    sign = float(rng.choice([-1.0, 1.0]))
    if kind == "cheek":
        per_mm = float(swept_volumes(vertices, vertices + unit, faces).sum())
        return unit * sign * rng.uniform(*_CHEEK_ML) / per_mm
    return unit * sign * rng.uniform(*_LARGEST_MM[kind])


def at_places(patient: Patient, values: FloatArray, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Values (V,) of the source's vertices at points (N, 3) near the surface before; and the distance (N,) to it."""
    squared, face, place = igl.point_mesh_squared_distance(points, patient.before.vertices, patient.before.faces)
    corners = patient.before.faces[face]
    a, b, c = (np.ascontiguousarray(patient.before.vertices[corners[:, k]]) for k in range(3))
    shares = igl.barycentric_coordinates(np.ascontiguousarray(place), a, b, c)
    return np.einsum("nk,nk->n", shares, values[corners]), np.sqrt(np.maximum(squared, 0.0))
