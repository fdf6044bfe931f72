"""The measurements: every distance, angle and volume in one table, with its definition and its source.

All are functions of places on the surface alone, so that moving or turning a head changes none of them.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np

from imhead.errors import InputError
from imhead.measure.landmarks import landmark_names
from imhead.types import Certainty, FloatArray

_FARKAS = "Farkas 1994"
_LEGAN = "Legan and Burstone 1980"
_OWN = "this project"


@dataclass(frozen=True)
class Measurement:
    """One measurement."""

    name: str
    """Its name in commands and JSON files."""
    kind: str
    """`distance` of two landmarks, `angle` at the middle one of three, or `forward`: how far the second of two lies in
    front of the first, along the Frankfort plane; or `volume` of a patch."""
    landmarks: tuple[str, ...]
    """Names of the landmarks, in the order of the kind; of the patch for a volume."""
    group: str
    """Group of regions that it describes and that changes it most; `face` for several."""
    definition: str
    """What is measured."""
    source: str
    """Who defined it."""
    tied: tuple[str, ...] = ()
    """Measurements that change with this one, because they share landmarks."""

    @property
    def unit(self) -> str:
        """`mm`, `degrees` or `ml`."""
        return {"angle": "degrees", "volume": "ml"}.get(self.kind, "mm")


@dataclass(frozen=True)
class MeasuredChange:
    """One measurement of two heads, or of a head before and after an edit."""

    name: str
    """What it is called."""
    unit: str
    """`mm`, `degrees` or `ml`."""
    before: float
    """Its value on the first head."""
    after: float
    """Its value on the second."""

    @property
    def change(self) -> float:
        """How much it grew."""
        return self.after - self.before


def _pair(name: str, a: str, b: str, group: str, definition: str, *tied: str) -> tuple[Measurement, ...]:
    """The same distance on both sides; a landmark or group with a `*` in front takes the side's name."""
    return tuple(
        Measurement(
            _on(side, f"*{name}"), "distance", (_on(side, a), _on(side, b)), _on(side, group), f"{definition}, {side}",
            _FARKAS, tuple(_on(side, k) for k in tied),
        )
        for side in ("left", "right")
    )  # fmt: skip


def _on(side: str, text: str) -> str:
    return text.replace("*", f"{side}_")


def _distance(name: str, a: str, b: str, group: str, definition: str, *tied: str) -> Measurement:
    return Measurement(name, "distance", (a, b), group, definition, _FARKAS, tied)


def _width(name: str, landmark: str, group: str, definition: str, *tied: str) -> Measurement:
    return _distance(name, f"left_{landmark}", f"right_{landmark}", group, definition, *tied)


_FISSURES = ("left_eye_fissure_length", "right_eye_fissure_length")

MEASUREMENTS: tuple[Measurement, ...] = (
    _distance("nasal_length", "nasion", "pronasale", "nose", "nasion to pronasale, the length of the bridge"),
    _distance("nasal_height", "nasion", "subnasale", "nose", "nasion to subnasale"),
    _distance("tip_projection", "subnasale", "pronasale", "nose", "subnasale to pronasale, the protrusion of the tip"),
    _width("alar_width", "alare", "nose", "between the wings' most lateral points"),
    Measurement("tip_width", "distance", ("left_tip_side", "right_tip_side"), "nose", "between the sides of the tip",
                _OWN),
    _width("alar_base_width", "alar_curvature", "nose", "between the wings' insertions in the cheeks"),
    Measurement("nasofrontal_angle", "angle", ("glabella", "nasion", "pronasale"), "nose",
                "glabella, nasion, pronasale", "Powell and Humphreys 1984"),
    Measurement("nasolabial_angle", "angle", ("columella", "subnasale", "labiale_superius"), "nose",
                "columella, subnasale, labiale superius", _FARKAS),
    Measurement("nasal_tip_angle", "angle", ("nasion", "pronasale", "subnasale"), "nose",
                "nasion, pronasale, subnasale", _FARKAS),
    _width("intercanthal_distance", "endocanthion", "eyes", "between the inner eye corners", *_FISSURES),
    _width("biocular_width", "exocanthion", "eyes", "between the outer eye corners", *_FISSURES),
    *_pair("eye_fissure_length", "*exocanthion", "*endocanthion", "*eye", "inner to outer eye corner",
           "intercanthal_distance", "biocular_width"),
    *_pair("eye_fissure_height", "*palpebrale_superius", "*palpebrale_inferius", "*eye", "upper to lower lid margin"),
    _width("mouth_width", "cheilion", "mouth", "between the corners of the mouth"),
    _width("philtrum_width", "crista_philtri", "mouth", "between the peaks of Cupid's bow"),
    _distance("upper_lip_height", "subnasale", "stomion_superius", "mouth", "subnasale to stomion",
              "philtrum_length", "upper_vermilion_height"),
    _distance("philtrum_length", "subnasale", "labiale_superius", "mouth", "subnasale to labiale superius",
              "upper_lip_height", "upper_vermilion_height"),
    _distance("upper_vermilion_height", "labiale_superius", "stomion_superius", "mouth",
              "labiale superius to stomion", "philtrum_length", "upper_lip_height"),
    _distance("lower_vermilion_height", "stomion_inferius", "labiale_inferius", "mouth",
              "stomion to labiale inferius"),
    _distance("lower_lip_height", "stomion_inferius", "sublabiale", "mouth", "stomion to sublabiale"),
    _distance("chin_height", "sublabiale", "gnathion", "chin", "sublabiale to gnathion"),
    Measurement("chin_projection", "forward", ("nasion", "pogonion"), "chin",
                "pogonion in front of the meridian through nasion, at right angles to the Frankfort plane",
                "Gonzalez-Ulloa and Stevens 1968"),
    Measurement("mentolabial_angle", "angle", ("labiale_inferius", "sublabiale", "pogonion"), "chin",
                "labiale inferius, sublabiale, pogonion", _LEGAN),
    _width("bizygomatic_width", "zygion", "temple", "between the zygomatic arches, the width of the face"),
    _width("bigonial_width", "gonion", "jaw", "between the angles of the jaw"),
    *(Measurement(f"{side}_ramus_height", "distance", (f"{side}_tragion", f"{side}_gonion"), "jaw",
                  f"tragion to the jaw's angle, {side}", _OWN) for side in ("left", "right")),
    Measurement("malar_width", "distance", ("left_malare", "right_malare"), "cheek", "between the cheekbones", _OWN),
    Measurement("cheek_width", "distance", ("left_buccale", "right_buccale"), "cheek",
                "between the middles of the cheeks", _OWN),
    *(Measurement(f"{side}_malar_projection", "forward", ("nasion", f"{side}_malare"), "cheek",
                  f"cheekbone in front of nasion, {side}; usually negative", _OWN) for side in ("left", "right")),
    *_pair("ear_length", "*superaurale", "*subaurale", "*ear", "highest to lowest point of the ear"),
    *_pair("ear_width", "*preaurale", "*postaurale", "*ear", "front to back of the ear"),
    Measurement("ear_spread", "distance", ("left_postaurale", "right_postaurale"), "ears",
                "between the posterior points of both ears", _OWN),
    _width("forehead_width", "frontotemporale", "temple", "between the temporal crests"),
    Measurement("upper_forehead_width", "distance", ("left_frontal_side", "right_frontal_side"), "forehead",
                "between the sides of the forehead", _OWN),
    Measurement("forehead_projection", "forward", ("nasion", "metopion"), "forehead",
                "metopion in front of nasion; negative for a sloping forehead", _OWN),
    _distance("face_height", "nasion", "gnathion", "face", "nasion to gnathion"),
    _distance("upper_face_height", "nasion", "stomion_superius", "face", "nasion to stomion"),
    _distance("lower_face_height", "subnasale", "gnathion", "face", "subnasale to gnathion"),
    Measurement("facial_convexity", "angle", ("glabella", "subnasale", "pogonion"), "face",
                "glabella, subnasale, pogonion", _LEGAN),
    _distance("head_length", "glabella", "opisthocranion", "occiput", "glabella to opisthocranion"),
    _width("head_width", "euryon", "scalp", "greatest width of the skull"),
)  # fmt: skip

VOLUMES: tuple[Measurement, ...] = (
    Measurement("nose_volume", "volume", ("nose",), "nose",
                "between the skin of the nose and a cone over its border, from nasion to subnasale", _OWN),
)  # fmt: skip

_INDEX = {name: k for k, name in enumerate(landmark_names())}


def measurement(name: str) -> Measurement:
    """A measurement by name.

    Raises:
        InputError: no measurement has this name; the message lists the nearest ones.
    """
    by_name = {m.name: m for m in (*MEASUREMENTS, *VOLUMES)}
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, n=3, cutoff=0.4) or list(by_name)[:5]
        raise InputError(f"no measurement is named {name!r}; did you mean {', '.join(near)}?")
    return by_name[name]


def landmark_rows(kind: Measurement) -> list[int]:
    """Rows of the landmarks that a distance or an angle depends on."""
    names = list(kind.landmarks)
    if kind.kind == "forward":
        names += ["left_tragion", "right_tragion", "left_orbitale", "right_orbitale"]
    return [_INDEX[name] for name in names]


def value(kind: Measurement, landmarks: FloatArray) -> float:
    """A distance or an angle of landmarks (L, 3) in mm: mm or degrees."""
    points = landmarks[landmark_rows(kind)].astype(np.float64)
    if kind.kind == "distance":
        return float(np.linalg.norm(points[1] - points[0]))
    if kind.kind == "angle":
        first, second = points[0] - points[1], points[2] - points[1]
        return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(first, second)), first @ second)))
    start, end, left_t, right_t, left_o, right_o = points
    across = left_t - right_t
    forward = left_o + right_o - left_t - right_t
    forward = forward - across * (forward @ across) / (across @ across)
    return float((end - start) @ forward / np.linalg.norm(forward))


def values(landmarks: FloatArray) -> dict[str, float]:
    """Every distance and angle of landmarks (L, 3) in mm, by name."""
    return {m.name: value(m, landmarks) for m in MEASUREMENTS}


def errors(landmarks: FloatArray, certainty: Certainty) -> dict[str, float]:
    """± of every distance and angle of landmarks (L, 3) in mm, by name: half of the interval that holds the person's
    with 68 % probability.

    Raises:
        InputError: the certainty is of other landmarks.
    """
    if len(certainty.landmark_mm) != len(landmarks):
        raise InputError(f"the head's certainty is of {len(certainty.landmark_mm)} landmarks; fit the scan again")
    variances = {}
    for kind in MEASUREMENTS:
        by_place = slope(kind, landmarks)
        variances[kind.name] = float(((by_place.reshape(-1) @ certainty.landmarks) ** 2).sum())
        variances[kind.name] += float((by_place**2).sum(axis=1) @ certainty.landmark_mm**2)
        if kind.kind != "angle":  # of a head of another size only the lengths change
            variances[kind.name] += (certainty.size_share * value(kind, landmarks)) ** 2
    return {name: float(np.sqrt(variance)) for name, variance in variances.items()}


def slope(kind: Measurement, landmarks: FloatArray, step_mm: float = 1e-3) -> FloatArray:
    """(L, 3) gradient of a measurement by the landmarks, in its unit per mm."""
    result = np.zeros(landmarks.shape)
    for row in landmark_rows(kind):
        for axis in range(3):
            ahead, behind = (np.array(landmarks, dtype=np.float64) for _ in range(2))
            ahead[row, axis] += step_mm
            behind[row, axis] -= step_mm
            result[row, axis] = (value(kind, ahead) - value(kind, behind)) / (2.0 * step_mm)
    return result
