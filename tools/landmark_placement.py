"""Place the landmarks, and the patches between them, on the template's topology.

    python tools/landmark_placement.py ICT_FACEKIT

Run it when the topology or the table of landmarks has changed.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path

import igl
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from imhead.io.atomic import write_atomically
from imhead.measure.landmarks import LANDMARK_FILE, LANDMARKS, SurfacePlaces, landmark_names
from imhead.sources.ict import read_ict
from imhead.template.topology import SKIN, Topology, load_topology
from imhead.types import FloatArray, IntArray

_LARGEST_MM = 1.5  # largest distance of a landmark of the table from the mean surface


def place_landmarks(topology: Topology, mean: FloatArray) -> SurfacePlaces:
    """Place every landmark on the neutral mean head's vertices (V, 3); the right one of a pair mirrors the left."""
    skin = topology.faces[(topology.part[topology.faces] == SKIN).all(axis=1)]
    corners: list[IntArray] = []
    weights: list[FloatArray] = []
    for landmark in LANDMARKS:
        point = np.array(landmark.mean_mm)[None]
        squared, face, closest = igl.point_mesh_squared_distance(point, mean, skin)
        if squared[0] > _LARGEST_MM**2:
            raise RuntimeError(f"{landmark.name} lies {squared[0] ** 0.5:.1f} mm from the mean surface")
        corner = skin[face[0]]
        a, b, c = (np.ascontiguousarray(mean[corner[k]][None]) for k in range(3))
        weight = np.clip(igl.barycentric_coordinates(np.ascontiguousarray(closest), a, b, c), 0.0, 1.0)[0]
        corners += [corner, topology.twin[corner]] if landmark.paired else [corner]
        weights += [weight / weight.sum()] * (2 if landmark.paired else 1)
    return SurfacePlaces(np.stack(corners), np.stack(weights))


def nose_patch(topology: Topology, mean: FloatArray, places: SurfacePlaces) -> IntArray:
    """Faces (F, 3) of the nose on the neutral mean head (V, 3): in front of the plane through nasion and both alar
    curvatures, from nasion down to subnasale.
    """
    at = dict(zip(landmark_names(), places.of(mean)))
    top, base = at["nasion"], at["subnasale"]
    left, right = at["left_alar_curvature"], at["right_alar_curvature"]
    normal = np.cross(left - top, right - top)
    normal *= np.sign(normal[2])
    inside = ((mean - top) @ normal >= 0.0) & (mean[:, 1] <= top[1]) & (mean[:, 1] >= base[1])
    inside &= np.abs(mean[:, 0]) <= left[0]
    faces = topology.faces[(inside & (topology.part == SKIN))[topology.faces].all(axis=1)]
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (len(mean), len(mean)))
    label = connected_components(graph, directed=False)[1][faces[:, 0]]
    result: IntArray = faces[label == np.bincount(label).argmax()]
    return result


def main(source: Path) -> None:
    """Write the landmarks and patches, from the registered source of the topology."""
    topology = load_topology()
    mean = topology.place(read_ict(source).mean.astype(np.float64))
    places = place_landmarks(topology, mean)
    rows = {
        name: {"corners": corners.tolist(), "weights": np.round(weights, 5).tolist()}
        for name, corners, weights in zip(landmark_names(), places.corners, places.weights)
    }
    patch = json.dumps(nose_patch(topology, mean, places).tolist())
    lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in rows.items())
    text = f'{{"landmarks": {{\n{lines}\n}},\n"patches": {{"nose": {patch}}}}}\n'
    write_atomically(Path(str(resources.files("imhead") / "assets" / LANDMARK_FILE)), text.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
