"""Errors of a learnt topology beside the template's own, on held-out heads whose ICT vertices are known.

    imhead topology learn ict.obj --name ict        # ICT's own mesh, as a user's
    python tools/topology_error.py ict path/to/ict 20

The mesh must have ICT-FaceKit's first 11 248 vertices first and in its order: face, head and neck.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import imhead
from imhead.conventions import FACE_RADIUS_MM
from imhead.evaluation.cases import HeldOutSource, held_out
from imhead.sources.ict import read_ict
from imhead.surfaces.properties import face_cross
from imhead.surfaces.transforms import transform_points
from imhead.template.topology import load_topology
from imhead.topology.store import open_topology
from imhead.types import FloatArray, IntArray

SKIN = 11248


def turned_over(before: FloatArray, after: FloatArray, faces: IntArray) -> int:
    """Faces (F, 3) that look against most of their neighbours after, and did not before."""

    def against(vertices: FloatArray) -> np.ndarray:
        normal = face_cross(vertices, faces)
        around = np.zeros_like(vertices)
        for corner in faces.T:
            np.add.at(around, corner, normal)
        return np.einsum("fc,fc->f", around[faces].sum(axis=1) - 3.0 * normal, normal) < 0.0

    return int((against(after) & ~against(before)).sum())


def main(name: str, ict: str, heads: int, first: int = 0) -> None:
    model, source = imhead.load(device="cpu"), HeldOutSource.composed(read_ict(Path(ict)))
    topology, template = open_topology(name, model.template), load_topology()
    triangles = topology.triangles()
    shown = triangles[(triangles < SKIN).all(axis=1)]
    rows = []
    for index in range(first, first + heads):
        case = held_out(source, index)
        fitted = model.fit(case.scan, config=imhead.FitConfig(resolution=64))
        to_truth = np.linalg.inv(case.head_to_scan) @ np.linalg.inv(fitted.result.scan_to_head)
        vertices = fitted.mesh(surface="template").vertices
        mine = topology.placed(model.template, vertices)
        errors = []
        for placed, truth, skin in (
            (vertices, template.place(case.registered), model.template.on_surface > 0.5),
            (mine[:SKIN], case.registered[:SKIN], np.ones(SKIN, dtype=bool)),
        ):
            away = np.linalg.norm(transform_points(to_truth, placed) - truth, axis=1)
            face = skin & (np.linalg.norm(truth - case.nose_tip_mm, axis=1) < FACE_RADIUS_MM)
            errors += [float(away[face].mean()), float(away[skin].mean())]
        flipped = turned_over(topology.binding.rest, mine, shown)
        truth_flipped = turned_over(topology.binding.rest[:SKIN], case.registered[:SKIN].astype(float), shown)
        rows.append((*errors, flipped, truth_flipped))
        said = "  ".join(f"{k:.3f}" for k in errors)
        print(
            f"head {index}: template face, all; topology face, all: {said}  turned over {flipped} ({truth_flipped})",
            flush=True,
        )
    mean = np.mean(rows, axis=0)
    print(
        f"mean of {heads}: template {mean[0]:.3f} and {mean[1]:.3f} mm, topology {mean[2]:.3f} and {mean[3]:.3f} mm, "
        f"{mean[2] / mean[0]:.2f} and {mean[3] / mean[1]:.2f} times; turned over {mean[4]:.1f}, truth {mean[5]:.1f}"
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *(int(k) for k in sys.argv[4:]))
