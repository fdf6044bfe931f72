"""Registration: the template's vertices on held-out heads that a virtual scanner saw, beside a peer.

Shape legend: V vertices of the template, F faces.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import igl
import numpy as np
import trimesh

from imhead.checkpoint import Model
from imhead.conventions import FACE_RADIUS_MM
from imhead.evaluation.cases import HeldOut, HeldOutSource, held_out
from imhead.evaluation.runner import CaseRunner, Row, rounded
from imhead.evaluation.virtual_scanner import ScannerConfig, virtual_scan
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.fitting.start import pose_template
from imhead.registration.matching import shown_faces
from imhead.registration.register import Registration, register
from imhead.surfaces.crossings import crossing_edges
from imhead.surfaces.transforms import transform_points
from imhead.template.surface import template_of
from imhead.template.topology import LEFT_EYE, load_topology
from imhead.types import BoolArray, FloatArray

CLEAN = ScannerConfig(
    cameras=5, arc_deg=200.0, elevation_deg=12.0, target_points=40_000, depth_noise_mm=0.0, wave_noise_mm=0.0,
    unit="mm",
)  # fmt: skip
"""Five exact depth images from ear to ear, with two holes."""
NOISE_MM = 1.0


def registration_suite(
    model: Model, source: HeldOutSource, heads: int, config: FitConfig, runner: CaseRunner, peers: int
) -> list[Row]:
    """One row over held-out heads, each scanned without noise and with 1 mm, fitted and registered.

    Means over the heads, mm, `fit` before and `registered` after the registration:

    - `face_vertex_…_mm`: mean distance of the template's vertices on the face to their own places on the truth.
    - `face_surface_…_mm`: mean distance of the template's visible vertices on the face to the true surface.
    - `noisy_surface_…_mm`: the same for the scan with noise.
    - `scan_to_surface_mm`: median distance of the clean scan's points to the registered template.
    - `crossing_edges_…`: edges of skin that pass through a face.
    - `peer_…`: trimesh's `nricp_amberg` on the face, from the same start, on the first heads.

    Args:
        peers: heads on which the peer runs: it takes minutes.
    """
    pose_template(model)  # made once, before the workers are forked
    cases = runner.run(partial(_case, model, source, config, peers), heads, rounded)
    keys = sorted({key for case in cases for key in case if key != "name"})
    row: Row = {"suite": "registration", "model": model.name, "heads": len(cases)}
    return [row | {key: float(np.mean([c[key] for c in cases if key in c])) for key in keys} | {"cases": cases}]


def _case(model: Model, source: HeldOutSource, config: FitConfig, peers: int, index: int) -> Row:
    case = held_out(source, index)
    row: Row = {"name": case.scan.name}
    for kind, scanner in (("clean", CLEAN), ("noisy", replace(CLEAN, depth_noise_mm=NOISE_MM))):
        view = virtual_scan(case.truth, scanner, np.random.default_rng([0x4E6, index]), case.scan.name)
        result = fit_scan(view.scan, model, config)
        found = register(result, view.scan, model)
        to_truth = np.linalg.inv(view.head_to_scan) @ np.linalg.inv(result.scan_to_head)
        before, after = (transform_points(to_truth, mesh.vertices) for mesh in (found.start, found.mesh))
        if kind == "noisy":
            row |= {
                "noisy_surface_fit_mm": _surface_error(case, model, before),
                "noisy_surface_registered_mm": _surface_error(case, model, after),
            }
            continue
        row |= {
            "face_vertex_fit_mm": _vertex_error(case, model, before),
            "face_vertex_registered_mm": _vertex_error(case, model, after),
            "face_surface_fit_mm": _surface_error(case, model, before),
            "face_surface_registered_mm": _surface_error(case, model, after),
            "scan_to_surface_mm": found.scan_to_surface_mm["median"],
            "measured_fraction": found.measured_fraction,
            "crossing_edges_fit": _crossings(found, before),
            "crossing_edges_registered": _crossings(found, after),
            "seconds": found.seconds,
        }
        if index < peers:
            row |= _peer(case, model, found, to_truth)
    return row


def _face(case: HeldOut, model: Model) -> tuple[FloatArray, BoolArray]:
    """The true places (V, 3) of the template's vertices, mm, and which (V,) lie on the visible face."""
    truth = load_topology().place(case.registered).astype(np.float64)
    near = np.linalg.norm(truth - case.nose_tip_mm, axis=1) < FACE_RADIUS_MM
    return truth, near & (template_of(model).on_surface > 0.5)


def _vertex_error(case: HeldOut, model: Model, vertices: FloatArray) -> float:
    truth, face = _face(case, model)
    return float(np.linalg.norm(vertices - truth, axis=1)[face].mean())


def _surface_error(case: HeldOut, model: Model, vertices: FloatArray) -> float:
    _, face = _face(case, model)
    skin = vertices[face & (template_of(model).part < LEFT_EYE)]
    squared, _, _ = igl.point_mesh_squared_distance(skin, case.truth.vertices, case.truth.faces)
    return float(np.sqrt(np.maximum(squared, 0.0)).mean())


def _crossings(found: Registration, vertices: FloatArray) -> int:
    faces = found.template.faces
    return len(crossing_edges(vertices, faces[(found.template.part[faces] < LEFT_EYE).all(axis=1)]))


def _peer(case: HeldOut, model: Model, found: Registration, to_truth: FloatArray) -> Row:
    """Error and time of the peer on the shown skin of the face; the other vertices stay where the fit has them."""
    start = found.start.vertices
    tip = transform_points(np.linalg.inv(to_truth), case.nose_tip_mm[None])[0]
    faces = found.template.faces[shown_faces(found.template)]
    faces = faces[(np.linalg.norm(start[faces] - tip, axis=2) < FACE_RADIUS_MM + 10.0).all(axis=1)]
    used, local = np.unique(faces, return_inverse=True)
    near = np.linalg.norm(found.points.points - tip, axis=1) < FACE_RADIUS_MM + 20.0
    began = time.perf_counter()
    moved = start.copy()
    moved[used] = trimesh.registration.nricp_amberg(
        trimesh.Trimesh(start[used], local.reshape(-1, 3), process=False),
        trimesh.PointCloud(found.points.points[near]),
        use_faces=False,  # closest faces would need rtree
    )
    seconds = time.perf_counter() - began
    placed = transform_points(to_truth, moved)
    return {
        "peer_face_vertex_mm": _vertex_error(case, model, placed),
        "peer_face_surface_mm": _surface_error(case, model, placed),
        "peer_crossing_edges": _crossings(found, placed),
        "peer_seconds": seconds,
    }
