"""Landmark files for other programs: MeshLab (.pp) and 3D Slicer (.fcsv, .mrk.json).

Places are written as they are, and called LPS for Slicer, which reads meshes in LPS too: so they lie on their mesh.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

from imhead.errors import InputError, one_line
from imhead.io.atomic import write_atomically
from imhead.types import FloatArray

LANDMARK_EXTENSIONS: tuple[str, ...] = (".fcsv", ".mrk.json", ".pp")
"""Extensions that can be written, lower case, with their dot."""
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_DIGITS = 4  # after the point: a ten-thousandth of a millimetre


def write_landmarks(places: Mapping[str, FloatArray], path: Path) -> None:
    """Write named landmarks, each (3,) in mm.

    Raises:
        InputError: another extension, or the file cannot be written.
    """
    name = path.name.lower()
    if name.endswith(".fcsv"):
        content = _fcsv(places)
    elif name.endswith(".mrk.json"):
        content = _markups(places)
    elif name.endswith(".pp"):
        content = _picked_points(places)
    else:
        raise InputError(f"{path}: landmarks are written as {', '.join(LANDMARK_EXTENSIONS)}; rename it")
    write_atomically(path, content.encode())


def _rows(places: Mapping[str, FloatArray]) -> list[tuple[str, list[float]]]:
    return [(one_line(name), [round(float(x), _DIGITS) for x in place]) for name, place in places.items()]


def _fcsv(places: Mapping[str, FloatArray]) -> str:
    text = io.StringIO()
    text.write("# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n")
    text.write("# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n")
    table = csv.writer(text, lineterminator="\n")
    for k, (name, place) in enumerate(_rows(places), 1):
        table.writerow((k, *place, 0, 0, 0, 1, 1, 1, 0, name, "", ""))
    return text.getvalue()


def _markups(places: Mapping[str, FloatArray]) -> str:
    points = [
        {
            "id": str(k), "label": name, "description": "", "associatedNodeID": "", "position": place,
            "orientation": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], "selected": True, "locked": False,
            "visibility": True, "positionStatus": "defined",
        }
        for k, (name, place) in enumerate(_rows(places), 1)
    ]  # fmt: skip
    markup = {
        "type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "locked": False,
        "labelFormat": "%N-%d", "controlPoints": points,
    }  # fmt: skip
    return json.dumps({"@schema": _SCHEMA, "markups": [markup]}, indent=1) + "\n"


def _picked_points(places: Mapping[str, FloatArray]) -> str:
    lines = ["<!DOCTYPE PickedPoints>", "<PickedPoints>", " <DocumentData>", '  <templateName name=""/>',
             " </DocumentData>"]  # fmt: skip
    for name, (x, y, z) in _rows(places):
        lines.append(f' <point x="{x}" y="{y}" z="{z}" active="1" name={quoteattr(name)}/>')
    return "\n".join([*lines, "</PickedPoints>"]) + "\n"
