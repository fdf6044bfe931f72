"""Landmarks that a person clicked on a scan: region names and their places, which replace the search for the pose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.isosurface.field import HeadField
from imhead.regions import REGIONS, resolve
from imhead.types import FloatArray

Landmarks = Mapping[str, ArrayLike]
"""Region name → place (3,) on the scan, in the scan's own frame and units."""


def read_landmarks(path: Path) -> dict[str, FloatArray]:
    """Landmarks from a JSON file {"nose_tip": [x, y, z], …}.

    Raises:
        InputError: not such a file, fewer than three landmarks, or an unknown region.
    """
    try:
        return _checked(json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path}: is not a JSON file of the form {{"nose_tip": [x, y, z]}} ({error})') from error


def landmark_pairs(landmarks: Landmarks, model: Model) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Region name → place (3,) on the scan and place (3,) on the mean head, mm.

    Raises:
        InputError: fewer than three landmarks, or an unknown region.
    """
    field = HeadField(model, model.neutral())
    index = {region.name: region.index for region in REGIONS}
    return {
        name: (place, onto_surface(field, field.ball(index[name]).center_mm))
        for name, place in _checked(landmarks, "the landmarks").items()
    }


def _checked(landmarks: Landmarks, source: str) -> dict[str, FloatArray]:
    try:
        places: dict[str, FloatArray] = {str(k): np.array(place, dtype=np.float64) for k, place in landmarks.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f'{source}: expected the form {{"nose_tip": [x, y, z]}} ({error})') from error
    if len(places) < 3 or any(place.shape != (3,) or not np.isfinite(place).all() for place in places.values()):
        raise InputError(f"{source}: three or more landmarks of three finite numbers each are needed")
    known = {region.name for region in REGIONS}
    for name in places:
        if name not in known:
            resolve(name)  # names the nearest ones
            raise InputError(f"{source}: {name} is a group; a landmark is one region")
    return places


def onto_surface(field: HeadField, point_mm: FloatArray) -> FloatArray:
    """The point (3,) moved onto the zero set by Newton steps along the gradient."""
    x = np.array(point_mm, dtype=np.float64)[None]
    for _ in range(8):
        gradient = field.gradient(x)
        x = x - field.sdf(x)[:, None] * gradient / np.maximum((gradient**2).sum(axis=1, keepdims=True), 0.25)
    surface: FloatArray = x[0]
    return surface
