"""Polygons, UVs and vertex order of a mesh come back as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imhead.errors import InputError
from imhead.io.obj_polygons import polygon_obj, read_polygons

HOUSE = """\
# a quad, a triangle and a polygon of five corners
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
v 0.5 2 0
v 9 9 9
vt 0 0
vt 1 0
vt 1 1
vt 0 1
f 1/1 2/2 3/3 4/4
f 4/1 3/2 5/3
f -6/-4 -5/-3 -4/-2 -2/-1 -3/-4
"""


def test_a_mesh_comes_back_with_its_polygons_uvs_and_order(tmp_path: Path) -> None:
    path = tmp_path / "house.obj"
    path.write_text(HOUSE)
    points, polygons = read_polygons(path)
    assert points.shape == (6, 3) and points[5].tolist() == [9.0, 9.0, 9.0]  # a vertex without a face stays
    assert polygons.counts.tolist() == [4, 3, 5]
    assert polygons.corners.tolist() == [0, 1, 2, 3, 3, 2, 4, 0, 1, 2, 4, 3]
    assert polygons.uv_corners is not None
    assert polygons.uv_corners.tolist() == [0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3, 0]
    path.write_bytes(polygon_obj(points, polygons, {"note": "two\nlines"}))
    again, same = read_polygons(path)
    np.testing.assert_array_equal(again, points)
    for name in ("counts", "corners", "uv", "uv_corners"):
        np.testing.assert_array_equal(getattr(same, name), getattr(polygons, name))
    uv = polygons.uv_map()
    assert uv is not None and len(uv.faces) == len(polygons.triangles(6)) == 6


def test_normals_are_passed_over_and_a_mesh_without_uvs_has_none(tmp_path: Path) -> None:
    path = tmp_path / "plain.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 0 1\nf 1//1 2//1 3//1\n")
    _, polygons = read_polygons(path)
    assert polygons.uv_corners is None and polygons.uv_map() is None and polygons.corners.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "v 0 0 0\nv 1 0 0\nv 0 1 0\n",
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n",
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/7 3/1\n",
        "v 0 0 0\nv 1 0 0\nv nan 1 0\nv 1 1 1\nf 1 2 4\n",
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2 3\n",
    ],
)
def test_a_mesh_that_cannot_keep_its_order_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.obj"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        read_polygons(path)
    assert "bad.obj" in str(refused.value) and "\n" not in str(refused.value)
