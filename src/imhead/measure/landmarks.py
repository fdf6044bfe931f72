"""Named anthropometric landmarks and patches, and where each lies on the template's topology.

The table gives each landmark's place on the mean head. `tools/landmark_placement.py` found the triangle that holds it,
once, so that it is the same anatomical point on every head.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np

from imhead.types import FloatArray, IntArray

LANDMARK_FILE = "landmarks.json"


@dataclass(frozen=True)
class Landmark:
    """One anthropometric landmark of the midline, or of both sides."""

    name: str
    """Standard name; a pair has `left_` or `right_` in front."""
    symbol: str
    """The usual abbreviation."""
    paired: bool
    """Whether there is one on each side."""
    mean_mm: tuple[float, float, float]
    """Place on the mean neutral head, head frame, mm; of a pair the left one."""
    definition: str
    """Where it is."""
    vertices: tuple[int, ...] = ()
    """Vertices of the topology that it is, left before right; empty where the shipped table places it in a face."""


LANDMARKS: tuple[Landmark, ...] = tuple(
    Landmark(*row)
    for row in (
        ("vertex", "v", False, (0.0, 139.0, -9.8), "highest point of the head"),
        ("glabella", "g", False, (0.0, 49.5, 97.7), "most prominent midline point between the brows"),
        ("metopion", "m", False, (0.0, 80.9, 89.9), "midline point of the forehead, between its eminences", (23,)),
        ("nasion", "n", False, (0.0, 33.5, 96.7), "deepest midline point of the nasal root"),
        ("pronasale", "prn", False, (0.0, -4.0, 120.9), "most protruded point of the nasal tip"),
        ("columella", "c", False, (0.0, -13.6, 113.5), "most anterior point of the columella, at the nostrils' tops"),
        ("subnasale", "sn", False, (0.0, -17.6, 105.9), "where the columella meets the upper lip"),
        ("labiale_superius", "ls", False, (0.0, -30.8, 108.4), "midpoint of the upper vermilion border"),
        ("stomion_superius", "stos", False, (0.0, -39.2, 102.8), "lowest midline point of the upper lip"),
        ("stomion_inferius", "stoi", False, (0.0, -40.0, 102.5), "highest midline point of the lower lip"),
        ("labiale_inferius", "li", False, (0.0, -49.8, 105.5), "midpoint of the lower vermilion border"),
        ("sublabiale", "sl", False, (0.0, -58.8, 99.3), "deepest midline point between lower lip and chin"),
        ("pogonion", "pg", False, (0.0, -68.2, 100.6), "most anterior midline point of the chin"),
        ("gnathion", "gn", False, (0.0, -81.7, 94.3), "lowest midline point on the front of the chin"),
        ("opisthocranion", "op", False, (0.0, 50.5, -96.8), "most posterior midline point of the head"),
        ("endocanthion", "en", True, (18.4, 26.5, 82.0), "inner corner of the eye fissure"),
        ("exocanthion", "ex", True, (44.6, 28.3, 76.0), "outer corner of the eye fissure"),
        ("palpebrale_superius", "ps", True, (32.5, 33.8, 85.6), "highest point of the upper lid's margin"),
        ("palpebrale_inferius", "pi", True, (32.5, 24.0, 84.6), "lowest point of the lower lid's margin"),
        ("orbitale", "or", True, (32.0, 14.0, 84.4), "on the lower margin of the orbit, below the pupil"),
        ("alare", "al", True, (18.6, -8.8, 97.3), "most lateral point of the nostril's wing"),
        ("alar_curvature", "ac", True, (19.0, -10.8, 93.2), "where the wing's curved base meets the cheek"),
        ("subalare", "sbal", True, (15.7, -16.0, 96.1), "where the wing's base ends in the upper lip"),
        ("crista_philtri", "cph", True, (7.3, -30.2, 107.3), "peak of Cupid's bow"),
        ("cheilion", "ch", True, (25.3, -41.2, 91.9), "corner of the mouth"),
        ("zygion", "zy", True, (73.6, 18.0, 24.0), "most lateral point over the zygomatic arch"),
        ("gonion", "go", True, (62.4, -45.0, 20.0), "most lateral point of the jaw's angle"),
        ("frontotemporale", "ft", True, (59.2, 62.0, 62.0), "over the temporal crest, above the brow"),
        ("euryon", "eu", True, (79.2, 54.1, -11.8), "most lateral point of the skull"),
        ("tragion", "t", True, (74.3, 5.5, 1.2), "notch above the tragus"),
        ("superaurale", "sa", True, (86.0, 29.9, -11.2), "highest point of the ear"),
        ("subaurale", "sba", True, (72.0, -26.1, 2.0), "lowest point of the ear lobe"),
        ("preaurale", "pra", True, (78.9, 16.5, -1.5), "most anterior point of the ear, where the helix begins"),
        ("postaurale", "pa", True, (87.3, 12.0, -26.9), "most posterior point of the helix"),
        (
            "frontal_side",
            "fs",
            True,
            (40.8, 79.4, 77.0),
            "side of the forehead, before it turns into the temple",
            (1207, 8452),
        ),
        ("tip_side", "td", True, (11.0, -2.8, 113.5), "side of the tip's lobule, before the wing", (1750, 8977)),
        ("malare", "ma", True, (50.2, 12.4, 76.7), "most prominent point of the cheekbone", (6739, 13804)),
        ("buccale", "bu", True, (49.6, -29.5, 75.6), "middle of the cheek", (1430, 8674)),
    )
)


def landmark_names() -> tuple[str, ...]:
    """Names in the order of every array of landmarks: the midline, then left and right of each pair."""
    return tuple(name for landmark in LANDMARKS for name in _names(landmark))


def _names(landmark: Landmark) -> tuple[str, ...]:
    """Its name, or those of the left and the right one."""
    return tuple(side + landmark.name for side in (("left_", "right_") if landmark.paired else ("",)))


@dataclass(frozen=True, eq=False)
class SurfacePlaces:
    """Places inside faces of the topology. L places."""

    corners: IntArray
    """(L, 3) vertices of the triangle that holds each place."""
    weights: FloatArray
    """(L, 3) barycentric weights of these vertices."""

    def of(self, vertices: FloatArray) -> FloatArray:
        """Values (L, …) at the places, from values (V, …) at the topology's vertices."""
        placed: FloatArray = np.einsum("lk,lk...->l...", self.weights, vertices[self.corners])
        return placed


@lru_cache(maxsize=1)
def landmark_places() -> SurfacePlaces:
    """The places that ship with the package."""
    table = _shipped()["landmarks"]
    at_vertices = {name: vertex for k in LANDMARKS for name, vertex in zip(_names(k), k.vertices)}
    rows = [
        {"corners": [at_vertices[name]] * 3, "weights": [1.0, 0.0, 0.0]} if name in at_vertices else table[name]
        for name in landmark_names()
    ]
    return SurfacePlaces(np.array([r["corners"] for r in rows]), np.array([r["weights"] for r in rows]))


def patch_faces(name: str) -> IntArray:
    """(F, 3) the topology's faces of a patch that ships with the package."""
    return np.array(_shipped()["patches"][name])


def _shipped() -> dict[str, Any]:
    table: dict[str, Any] = json.loads((resources.files("imhead") / "assets" / LANDMARK_FILE).read_text())
    return table
