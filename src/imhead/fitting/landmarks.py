"""Landmarks that a person clicked on a scan: region names and their places, which replace the search for the pose."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.isosurface.field import HeadField
from imhead.regions import REGIONS, resolve
from imhead.types import FloatArray


def read_landmarks(path: Path, model: Model) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Name → (scan xyz, xyz on the mean head in mm), from a JSON file {"nose_tip": [x, y, z], …}.

    Raises:
        InputError: not such a file, fewer than three, or an unknown region.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        scan = {str(name): np.array(place, dtype=np.float64) for name, place in entries.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f'{path}: is no JSON file of the form {{"nose_tip": [x, y, z]}} ({error})') from error
    if len(scan) < 3 or any(place.shape != (3,) or not np.isfinite(place).all() for place in scan.values()):
        raise InputError(f"{path}: needs three or more landmarks of three finite numbers each")
    field = HeadField(model, model.neutral())
    names = {region.name: region.index for region in REGIONS}
    result: dict[str, tuple[FloatArray, FloatArray]] = {}
    for name, place in scan.items():
        if name not in names:
            resolve(name)  # names the nearest ones
            raise InputError(f"{path}: {name} is a group; a landmark is one region")
        center = field.ball(names[name]).center_mm
        result[name] = (place, onto_surface(field, center))
    return result


def onto_surface(field: HeadField, point_mm: FloatArray) -> FloatArray:
    """The point (3,) moved onto the zero set by Newton steps along the gradient."""
    x = np.array(point_mm, dtype=np.float64)[None]
    for _ in range(8):
        gradient = field.gradient(x)
        x = x - field.sdf(x)[:, None] * gradient / np.maximum((gradient**2).sum(axis=1, keepdims=True), 0.25)
    surface: FloatArray = x[0]
    return surface
