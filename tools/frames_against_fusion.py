"""How far the joint fit of some frames of a head lies from the fusion of all of them: a reference that no fit saw.

    python tools/frames_against_fusion.py FUSED.ply FRAME.ply FRAME.ply ...

Prints one JSON object: the distances, mm, of the fused face to the joint head and, with --alone, to the head of each
frame alone, after rigid alignment. Each head has the expression that its frames show.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import igl
import numpy as np
from scipy.spatial.transform import Rotation

from imhead import load
from imhead.checkpoint import Model
from imhead.conventions import FACE_RADIUS_MM
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.fitting.person import fit_person
from imhead.fitting.pose_file import nose_tip_mm
from imhead.fitting.pose_scan import ScanOfPerson
from imhead.io.scan_file import read_scan
from imhead.isosurface.creases import head_mesh
from imhead.isosurface.field import HeadField, code_of_weights
from imhead.surfaces.properties import face_normals
from imhead.surfaces.transforms import matrix_of, transform_points
from imhead.types import FloatArray, Head, Mesh, Scan

_STEPS = 25
_ROBUST_MM = 0.5
_NEAR_MM = 3.0


def aligned_distances(points: FloatArray, mesh: Mesh, tip: FloatArray) -> FloatArray:
    """Distances (N,), mm, of points (M, 3) on the face to a mesh, after rigid point-to-plane steps."""
    normals = face_normals(mesh)
    for step in range(_STEPS + 1):
        face = points[np.linalg.norm(points - tip, axis=1) < FACE_RADIUS_MM]
        squared, nearest, foot = igl.point_mesh_squared_distance(face, mesh.vertices, mesh.faces)
        distance = np.sqrt(np.maximum(squared, 0.0))
        if step == _STEPS:
            return distance[distance < _NEAR_MM]
        normal = normals[nearest]
        residual = ((face - foot) * normal).sum(axis=1)
        weight = (_ROBUST_MM**2 / (_ROBUST_MM**2 + distance**2)) ** 2
        jacobian = np.concatenate([np.cross(face - tip, normal), normal], axis=1)
        hessian = jacobian.T @ (jacobian * weight[:, None]) + 1e-6 * np.eye(6)
        twist = -np.linalg.solve(hessian, jacobian.T @ (weight * residual))
        rotation = Rotation.from_rotvec(twist[:3]).as_matrix()
        points = transform_points(matrix_of(rotation, tip - rotation @ tip + twist[3:]), points)
    raise AssertionError


def against(model: Model, head: Head, points: FloatArray) -> dict[str, Any]:
    """Figures of a head in its own expression against the fused points (M, 3), placed by their own fit."""
    field = HeadField(model, head)
    mesh = head_mesh(field, 256)
    distance = aligned_distances(points, mesh, nose_tip_mm(mesh, field))
    return {
        "median_mm": round(float(np.median(distance)), 3),
        "mean_mm": round(float(distance.mean()), 3),
        "p90_mm": round(float(np.quantile(distance, 0.9)), 3),
    }


def posed_head(model: Model, head: Head, scans: tuple[ScanOfPerson, ...]) -> Head:
    """The person in the median expression of the scans that show them."""
    weights = np.median([scan.weights for scan in scans if scan.same_person], axis=0)
    return replace(head, z_exp=code_of_weights(model, weights))


def main() -> None:
    """Fit, align, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fused", type=Path)
    parser.add_argument("frames", type=Path, nargs="+")
    parser.add_argument("--model", default="default")
    parser.add_argument("--alone", action="store_true", help="Also fit each frame alone.")
    given = parser.parse_args()
    model, config = load(given.model).model, FitConfig()
    fused_scan = read_scan(given.fused)
    scans: list[Scan] = [read_scan(path) for path in given.frames]
    fused = fit_scan(fused_scan, model, config)
    points = transform_points(fused.scan_to_head, fused_scan.points)
    person = fit_person(scans, model, config)
    found: dict[str, Any] = {
        "model": model.hash,
        "fused_itself": against(model, fused.head, points),
        "joint": against(model, posed_head(model, person.head, person.scans), points),
        "frames": [scan.name for scan in person.scans if scan.same_person],
    }
    if given.alone:
        for scan in scans:
            found[scan.name] = against(model, fit_scan(scan, model, config).head, points)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
