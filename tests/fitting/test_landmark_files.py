"""Landmarks from the files of MeshLab, Slicer and menpo are those that were clicked, in the frame of the scan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from imhead.errors import InputError
from imhead.fitting.landmarks import read_landmarks
from imhead.io.landmark_file import read_named_places

PLACES = {"nose_tip": [1.5, -4.0, 116.0], "left_eye_outer": [45.0, 28.0, 76.0], "chin": [0.0, -76.0, 88.0]}


def saved(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def picked_points(names: list[str]) -> str:
    rows = "".join(
        f'<point y="{y}" z="{z}" active="1" x="{x}" name="{name}"/>' for name, (x, y, z) in zip(names, PLACES.values())
    )
    head = "<DocumentData><DataFileName name='scan.ply'/></DocumentData>"
    off = '<point x="9" y="9" z="9" active="0" name="brow"/>'
    return f"<!DOCTYPE PickedPoints>\n<PickedPoints>{head}{rows}{off}</PickedPoints>\n"


def fcsv(system: str, version: str, names: list[str], sign: int = 1) -> str:
    rows = "".join(
        f'vtkMRMLMarkupsFiducialNode_{k},{sign * x},{sign * y},{z},0,0,0,1,1,1,0,"{name}",,\n'
        for k, (name, (x, y, z)) in enumerate(zip(names, PLACES.values()))
    )
    return (
        f"# Markups fiducial file version = {version}\n# CoordinateSystem = {system}\n"
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n" + rows
    )


def markups(system: str, sign: int = 1) -> str:
    points: list[dict[str, object]] = [
        {"label": name, "position": [sign * x, sign * y, z], "positionStatus": "defined"}
        for name, (x, y, z) in PLACES.items()
    ]
    points.append({"label": "brow", "position": [0, 0, 0], "positionStatus": "undefined"})
    return json.dumps({"markups": [{"type": "Fiducial", "coordinateSystem": system, "controlPoints": points}]})


def ljson(version: int) -> str:
    masks = [[k == j for j in range(3)] for k in range(3)]
    labels = [{"label": name, "mask": mask} for name, mask in zip(PLACES, masks)]
    labels.append({"label": "all", "mask": [True] * 3})
    group = {"labels": labels, "landmarks": {"points": list(PLACES.values()), "connectivity": []}}
    return json.dumps({"version": 3, "groups": {"face": group}} if version == 3 else {"version": 2, **group})


FILES = {
    "a.json": json.dumps(PLACES),
    "b.pp": picked_points(list(PLACES)),
    "c.fcsv": fcsv("LPS", "5.2", list(PLACES)),
    "d.fcsv": fcsv("RAS", "5.2", list(PLACES), -1),
    "e.fcsv": fcsv("1", "4.11", list(PLACES)),
    "f.fcsv": fcsv("0", "4.10", list(PLACES)),
    "g.mrk.json": markups("LPS"),
    "h.mrk.json": markups("RAS", -1),
    "i.ljson": ljson(2),
    "j.ljson": ljson(3),
    "k.pp": picked_points(["Nose Tip", "Exocanthion L", "CHIN"]),
    "l.pp": picked_points(["prn", "ex_l", "chin"]),
    "m.fcsv": fcsv("LPS", "5.2", ["Pronasale", "Left-Eye Outer", "chin"]),
}


@pytest.mark.parametrize("name", FILES)
def test_landmarks_of_every_program_are_those_that_were_clicked(tmp_path: Path, name: str) -> None:
    found = read_landmarks(saved(tmp_path, name, FILES[name]))
    assert found.keys() == PLACES.keys()
    for region, place in PLACES.items():
        np.testing.assert_allclose(found[region], place)


def test_points_of_other_names_are_left_out_of_the_files_of_other_programs(tmp_path: Path) -> None:
    more = FILES["c.fcsv"] + "x,1,2,3,0,0,0,1,1,1,0,F-7,,\n"
    assert read_landmarks(saved(tmp_path, "a.fcsv", more)).keys() == PLACES.keys()


def test_the_68_points_of_ibug_give_the_places_that_are_known(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(68, 3))
    group = {"labels": [], "landmarks": {"points": points.tolist()}}
    found = read_landmarks(saved(tmp_path, "a.ljson", json.dumps({"version": 2, **group})))
    np.testing.assert_array_equal(found["nose_tip"], points[30])
    np.testing.assert_array_equal(found["right_eye_outer"], points[36])
    np.testing.assert_array_equal(found["left_mouth_corner"], points[54])


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("a.json", "[" * 100_000, "JSON"),
        ("b.ljson", '{"landmarks":' * 100_000, "JSON"),
        ("c.json", b"\xff\xfe\x00", "JSON"),
        ("d.json", "[1, 2, 3]", "no landmark file"),
        ("e.json", '{"nose_tip": [1, 2], "chin": [1, 2, 3], "upper_lip": [1, 2, 3]}', "three finite numbers"),
        ("f.json", '{"nose_tip": [1, 2, NaN], "chin": [1, 2, 3], "upper_lip": [1, 2, 3]}', "three finite numbers"),
        ("g.pp", "<PickedPoints><point x='1,5' y='2' z='3' name='a'/></PickedPoints>", "decimal comma"),
        ("h.pp", "<svg/>", "another kind"),
        ("i.pp", "<PickedPoints><point", "truncated"),
        ("j.pp", picked_points(["0", "1", "2"]), "'0', '1', '2'"),
        ("k.fcsv", "# a list\n1,2,3\n", "no landmark file"),
        ("l.fcsv", FILES["c.fcsv"].replace("116.0", "abc"), "three finite numbers"),
        ("m.mrk.json", '{"markups": [{"controlPoints": [{"label": "a"}]}]}', "save it again"),
        ("n.mrk.json", '{"markups": 7}', "save it again"),
        ("o.ljson", '{"landmarks": {"points": [[1, 2], [3, 4]]}}', "flat"),
        ("p.pp", picked_points(["chin", "chin", "nose_tip"]), "two landmarks"),
    ],
)
def test_a_landmark_file_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, name: str, content: str | bytes, cause: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_landmarks(saved(tmp_path, name, content))
    message = str(caught.value)
    assert cause in message and message.isprintable() and name in message


def test_a_scan_in_place_of_landmarks_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is it the scan"):
        read_named_places(saved(tmp_path, "a.json", bytes(5 << 20)))
    with pytest.raises(InputError, match="cannot be opened"):
        read_named_places(tmp_path / "none.json")


def test_an_unknown_region_in_a_plain_json_is_still_named_with_its_nearest(tmp_path: Path) -> None:
    wrong = PLACES | {"nose_tipp": [0.0, 0.0, 0.0]}
    with pytest.raises(InputError, match="did you mean nose_tip"):
        read_landmarks(saved(tmp_path, "a.json", json.dumps(wrong)))
