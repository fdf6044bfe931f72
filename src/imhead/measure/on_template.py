"""Landmarks and measurements of the template as it lies on a person: of a registered head, or of corresponding scans.

Shape legend: V vertices of the template.
"""

from __future__ import annotations

import numpy as np

from imhead.measure.landmarks import landmark_names, landmark_places, patch_faces
from imhead.measure.table import VOLUMES, values
from imhead.measure.volumes import cone_volume
from imhead.types import FloatArray


def landmarks_on(vertices: FloatArray) -> dict[str, FloatArray]:
    """Landmarks by name on template vertices (V, 3)."""
    return dict(zip(landmark_names(), landmark_places().of(vertices)))


def values_on(vertices: FloatArray) -> dict[str, float]:
    """Every measurement by name on template vertices (V, 3) in mm."""
    found = values(landmark_places().of(vertices))
    for kind in VOLUMES:
        used, faces = np.unique(patch_faces(kind.landmarks[0]), return_inverse=True)
        found[kind.name] = cone_volume(vertices[used], faces.reshape(-1, 3))
    return found
