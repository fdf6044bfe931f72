"""Landmark files of other programs: MeshLab (.pp), 3D Slicer (.fcsv, .mrk.json), menpo (.ljson), or a plain JSON.

Shape legend: a place is (3,), in the frame and unit of the scan's own file.
"""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from imhead.errors import InputError
from imhead.io.scan_file import one_line
from imhead.io.xml_stream import number_attribute, read_xml
from imhead.types import FloatArray

_MAX_BYTES = 4 << 20
_SHOWN_CHARACTERS = 80
LANDMARK_FORMS = '{"nose_tip": [x, y, z]}, .pp of MeshLab, .fcsv or .mrk.json of Slicer, .ljson of menpo'
"""What can be read, for messages."""

# the points of the 68 of iBUG that lie on a keypoint; the set counts from the subject's right
_IBUG = {
    30: "nose_tip", 36: "right_eye_outer", 39: "right_eye_inner", 42: "left_eye_inner", 45: "left_eye_outer",
    48: "right_mouth_corner", 54: "left_mouth_corner", 51: "upper_lip", 57: "lower_lip",
}  # fmt: skip
_IBUG_POINTS = 68
_SLICER_SWITCHED = (4, 11)
"""Version from which Slicer reads meshes in LPS, as they are written, and no longer in RAS."""


def read_named_places(path: Path) -> dict[str, FloatArray]:
    """The named landmarks of a file, in file order, in the scan's own frame; points that are switched off are left out.

    Slicer's RAS coordinates are turned to LPS, in which it reads meshes.

    Raises:
        InputError: the file cannot be opened, is too large, of none of the forms, or a place is not three finite
            numbers; one line.
    """
    label = one_line(Path(path))
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(f"{label}: has {size} bytes, far more than landmarks need; is it the scan itself?")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{label}: cannot be opened ({reason}); check the path and its permissions") from None
    text = data.decode("utf-8-sig", errors="replace").lstrip()
    if text.startswith("<"):
        pairs = _of_picked_points(data, label)
    elif text.startswith("#"):
        pairs = _of_fcsv(text, label)
    else:
        pairs = _of_json(text, label)
    places: dict[str, FloatArray] = {}
    for name, place in pairs:
        if name in places:
            raise InputError(f"{label}: has two landmarks named {_shown(name)}; rename one")
        places[name] = _checked(place, name, label)
    return places


def _shown(name: Any) -> str:
    return ascii(str(name)[:_SHOWN_CHARACTERS])


def _checked(place: Any, name: str, label: str) -> FloatArray:
    try:
        values = np.array([float(x) for x in place], dtype=np.float64)
        if values.shape == (3,) and all(math.isfinite(x) for x in values):
            return values
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"{label}: the place of {_shown(name)} is not three finite numbers; click it again")


def _of_picked_points(data: bytes, label: str) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    seen: list[str] = []

    def begin(element: str, attributes: dict[str, str]) -> None:
        seen.append(element)
        if element == "point" and attributes.get("active", "1") != "0":
            place = [number_attribute(attributes, axis, label) for axis in "xyz"]
            pairs.append((attributes.get("name", ""), place))

    read_xml(data, label, begin, lambda element, text: None)
    if seen[0] != "PickedPoints":
        raise InputError(f"{label}: is an XML of another kind; give {LANDMARK_FORMS}")
    return pairs


def _of_fcsv(text: str, label: str) -> list[tuple[str, Any]]:
    comments = [line for line in text.splitlines() if line.startswith("#")]
    head = dict(re.findall(r"#\s*([\w ]+?)\s*=\s*(.*)", "\n".join(comments)))
    if not any("arkups" in line for line in comments):
        raise InputError(f"{label}: is no landmark file that is known; give {LANDMARK_FORMS}")
    columns = [word.strip() for word in head.get("columns", "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label").split(",")]
    version = tuple(int(n) for n in re.findall(r"\d+", head.get("Markups fiducial file version", "5.0"))[:2])
    ras = head.get("CoordinateSystem", "LPS").strip() in ("RAS", "0") and version >= _SLICER_SWITCHED
    pairs: list[tuple[str, Any]] = []
    for row in csv.reader(line for line in text.splitlines() if line.strip() and not line.startswith("#")):
        cells = dict(zip(columns, row))
        place = [cells.get(axis, "") for axis in "xyz"]
        pairs.append((cells.get("label", ""), _from_ras(place, cells.get("label", ""), label) if ras else place))
    return pairs


def _from_ras(place: Any, name: str, label: str) -> FloatArray:
    return _checked(place, name, label) * (-1.0, -1.0, 1.0)


def _of_json(text: str, label: str) -> list[tuple[str, Any]]:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:_SHOWN_CHARACTERS]
        raise InputError(f"{label}: is not a JSON file ({reason}); give {LANDMARK_FORMS}") from None
    if not isinstance(tree, dict):
        raise InputError(f"{label}: is no landmark file that is known; give {LANDMARK_FORMS}")
    try:
        if "markups" in tree:
            return _of_markups(tree["markups"], label)
        if "groups" in tree or "landmarks" in tree:
            groups = tree.get("groups", {"": tree})
            return [pair for group in groups.values() for pair in _of_ljson(group, label)]
    except (LookupError, TypeError, AttributeError) as error:
        reason = ascii(str(error)[:_SHOWN_CHARACTERS])
        raise InputError(f"{label}: its landmarks are not as they should be ({reason}); save it again") from None
    return list(tree.items())


def _of_markups(markups: Any, label: str) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for markup in markups:
        ras = markup.get("coordinateSystem", "LPS") in ("RAS", "0", 0)
        for point in markup.get("controlPoints", ()):
            if point.get("positionStatus", "defined") != "defined":
                continue
            name = str(point.get("label", ""))
            place = point["position"]
            pairs.append((name, _from_ras(place, name, label) if ras else place))
    return pairs


def _of_ljson(group: Any, label: str) -> list[tuple[str, Any]]:
    """Points that a label names alone, or the known ones of the 68 of iBUG."""
    points = group["landmarks"]["points"]
    if points and len(points[0]) != 3:
        raise InputError(f"{label}: its landmarks are flat, of a picture; give landmarks on the scan itself")
    if len(points) == _IBUG_POINTS:
        return [(name, points[k]) for k, name in _IBUG.items()]
    pairs: list[tuple[str, Any]] = []
    for entry in group.get("labels", ()):
        chosen = [k for k, on in enumerate(entry["mask"]) if on]
        if len(chosen) == 1:
            pairs.append((str(entry["label"]), points[chosen[0]]))
    return pairs
