"""Landmarks that a person picked on a scan, beside those of the template registered on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from imhead.errors import InputError
from imhead.measure.landmarks import LANDMARKS, landmark_names
from imhead.measure.on_template import landmarks_on
from imhead.surfaces.transforms import transform_points
from imhead.types import FloatArray

_SIDES = {"l": "left", "left": "left", "lt": "left", "r": "right", "right": "right", "rt": "right"}
_STEMS = {landmark.symbol: landmark.name for landmark in LANDMARKS} | {k.name: k.name for k in LANDMARKS}


@dataclass(frozen=True)
class PickedLandmark:
    """One landmark, picked and ours."""

    name: str
    """Name in `landmark_names`."""
    distance_mm: float
    """Between both."""
    picked_mm: tuple[float, float, float]
    """The picked place, head frame."""
    ours_mm: tuple[float, float, float]
    """Ours, head frame."""


def landmark_named(text: str) -> str | None:
    """The landmark that a name in a file means, such as `Pronasale`, `en_l` or `left exocanthion`; None for another."""
    words = [word for word in re.split(r"[^a-z0-9]+", text.lower()) if word]
    sides = [_SIDES[word] for word in words if word in _SIDES]
    stem = "_".join(word for word in words if word not in _SIDES)
    stem = _STEMS.get(stem, stem)
    found = f"{sides[0]}_{stem}" if len(sides) == 1 else stem
    return found if found in landmark_names() else None


def compared_landmarks(
    picked: Mapping[str, FloatArray], vertices: FloatArray, scan_to_head: FloatArray, source: str
) -> list[PickedLandmark]:
    """Picked landmarks beside those of a registered template; names that mean no landmark are left out.

    Args:
        picked: name → place (3,), in the scan's own frame and unit.
        vertices: (V, 3) the template on the scan in the scan's expression, head frame, mm.
        scan_to_head: (4, 4).
        source: what the file of the picked ones is called.

    Raises:
        InputError: no name means a landmark.
    """
    ours = landmarks_on(vertices)
    rows = []
    for text, place in picked.items():
        name = landmark_named(text)
        if name is None:
            continue
        there = transform_points(scan_to_head, place[None])[0]
        distance = float(np.linalg.norm(there - ours[name]))
        rows.append(PickedLandmark(name, distance, _triple(there), _triple(ours[name])))
    if not rows:
        given = ", ".join(ascii(name[:30]) for name in list(picked)[:5]) or "none"
        raise InputError(f"{source}: none of its names ({given}) is a landmark; use names such as pronasale or en_l")
    return rows


def _triple(place: FloatArray) -> tuple[float, float, float]:
    x, y, z = (round(float(k), 3) for k in place)
    return x, y, z
