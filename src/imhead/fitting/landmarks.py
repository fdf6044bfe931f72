"""Landmarks that a person clicked on a scan: region names and their places, which replace the search for the pose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.io.landmark_file import read_named_places
from imhead.io.scan_file import one_line
from imhead.isosurface.field import HeadField
from imhead.regions import REGIONS, resolve
from imhead.types import FloatArray

Landmarks = Mapping[str, ArrayLike]
"""Region name → place (3,) on the scan, in the scan's own frame and units."""


# names of anthropometry for places that are keypoints here
_STANDARD_NAMES = {
    "pronasale": "nose_tip", "prn": "nose_tip", "labiale_superius": "upper_lip", "ls": "upper_lip",
    "labiale_inferius": "lower_lip", "li": "lower_lip", "endocanthion": "eye_inner", "en": "eye_inner",
    "exocanthion": "eye_outer", "ex": "eye_outer", "cheilion": "mouth_corner", "ch": "mouth_corner",
    "tragion": "ear_canal",
}  # fmt: skip
_SIDES = {"l": "left", "left": "left", "r": "right", "right": "right"}


def read_landmarks(path: Path) -> dict[str, FloatArray]:
    """Landmarks from a JSON file {"nose_tip": [x, y, z], …}, or a file of MeshLab, Slicer or menpo.

    In the files of other programs, names may be written with spaces, in any case, with the side first or last, or as in
    anthropometry (`Pronasale`, `en_l`); points of other names are left out.

    Raises:
        InputError: not such a file, fewer than three landmarks, or an unknown region in a plain JSON.
    """
    places = read_named_places(path)
    plain = path.suffix.lower() == ".json" and not path.name.lower().endswith(".mrk.json")
    source = one_line(path)
    if plain:
        return _checked({_region_name(name) or name: place for name, place in places.items()}, source)
    known = {region: place for name, place in places.items() if (region := _region_name(name)) is not None}
    if len(known) < 3:
        named = ", ".join(ascii(name[:30]) for name in list(places)[:5]) or "none"
        raise InputError(
            f"{source}: {len(known)} of its landmarks have a name that is known ({named}); name three or more after "
            "regions, such as nose_tip and left_eye_outer"
        )
    return _checked(known, source)


def _region_name(name: str) -> str | None:
    """The region that a name in a file means; None if it means none."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    sides = [_SIDES[word] for word in words if word in _SIDES]
    stem = "_".join(word for word in words if word not in _SIDES)
    stem = _STANDARD_NAMES.get(stem, stem)
    found = f"{sides[0]}_{stem}" if len(sides) == 1 else stem
    return found if found in {region.name for region in REGIONS} else None


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
