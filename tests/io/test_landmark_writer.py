"""Landmark files are read back by readers that know nothing of imhead: an XML parser, a CSV reader, JSON."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from imhead.errors import InputError
from imhead.io.landmark_file import read_named_places
from imhead.io.landmark_writer import LANDMARK_EXTENSIONS, write_landmarks

PLACES = {
    "pronasale": np.array([0.0, -4.25, 120.5]),
    "left_endocanthion": np.array([18.4, 26.5, -82.0]),
    'odd, "name" <&>': np.array([1e-5, 2.0, 3.0]),
}


def by_name(rows: list[tuple[str, list[float]]]) -> dict[str, list[float]]:
    return dict(rows)


def read_independently(path: Path) -> dict[str, list[float]]:
    text = path.read_text()
    if path.suffix == ".pp":
        root = ET.fromstring(text)
        assert root.tag == "PickedPoints"
        return by_name([(p.attrib["name"], [float(p.attrib[k]) for k in "xyz"]) for p in root.iter("point")])
    if path.suffix == ".fcsv":
        assert "# CoordinateSystem = LPS" in text
        columns = next(k for k in text.splitlines() if k.startswith("# columns = ")).removeprefix("# columns = ")
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        rows = csv.DictReader(lines, fieldnames=columns.split(","))
        return by_name([(row["label"], [float(row[k]) for k in "xyz"]) for row in rows])
    markup = json.loads(text)["markups"][0]
    assert markup["type"] == "Fiducial" and markup["coordinateSystem"] == "LPS" and markup["coordinateUnits"] == "mm"
    assert all(p["positionStatus"] == "defined" and len(p["orientation"]) == 9 for p in markup["controlPoints"])
    return by_name([(p["label"], p["position"]) for p in markup["controlPoints"]])


@pytest.mark.parametrize("extension", LANDMARK_EXTENSIONS)
def test_landmarks_come_back_from_a_file(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"anna{extension}"
    write_landmarks(PLACES, path)
    for found in (read_independently(path), read_named_places(path)):
        assert list(found) == list(PLACES)
        for name, place in PLACES.items():
            np.testing.assert_allclose(found[name], place, atol=1e-4)


def test_another_extension_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rename it"):
        write_landmarks(PLACES, tmp_path / "anna.txt")
