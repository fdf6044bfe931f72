"""The values that flow through the package: checked and read-only from the moment they exist."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import trimesh

from imhead.errors import InputError
from imhead.types import Head, Mesh, Scan

POINTS = np.arange(12.0).reshape(4, 3)
FACES = np.array([[0, 1, 2], [0, 2, 3]])
NORMALS = np.tile([0.0, 0.0, 1.0], (4, 1))


def head(**change: Any) -> Head:
    values: dict[str, Any] = {
        "model_id": "m", "model_hash": "h", "z_id": np.ones(5), "z_exp": np.zeros(3), "offsets": np.zeros((39, 4))
    }  # fmt: skip
    return Head(**{**values, **change})


def poisoned(array: np.ndarray, value: float) -> np.ndarray:
    result = np.array(array, dtype=np.float64)
    result.flat[-1] = value
    return result


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda v: Mesh(poisoned(POINTS, v), FACES), "Mesh.vertices"),
        (lambda v: Scan("s", poisoned(POINTS, v)), "Scan.points"),
        (lambda v: Scan("s", POINTS, poisoned(NORMALS, v)), "Scan.normals"),
        (lambda v: head(z_id=poisoned(np.ones(5), v)), "Head.z_id"),
        (lambda v: head(z_exp=poisoned(np.ones(3), v)), "Head.z_exp"),
        (lambda v: head(offsets=poisoned(np.ones((39, 4)), v)), "Head.offsets"),
        (lambda v: head(eyes=poisoned(np.ones((2, 5)), v)), "Head.eyes"),
    ],
)
def test_a_number_that_is_not_finite_is_refused_by_name(make: Any, name: str, value: float) -> None:
    with pytest.raises(InputError, match="NaN or infinite") as caught:
        make(value)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "name", "wanted"),
    [
        (lambda: Mesh(POINTS[:, :2], FACES), "Mesh.vertices", r"\(n, 3\)"),
        (lambda: Mesh(POINTS[0], FACES), "Mesh.vertices", r"\(n, 3\)"),
        (lambda: Mesh(POINTS, np.zeros((1, 4))), "Mesh.faces", r"\(n, 3\)"),
        (lambda: Scan("s", POINTS.ravel()), "Scan.points", r"\(n, 3\)"),
        (lambda: Scan("s", POINTS, NORMALS[:3]), "Scan.normals", r"\(4, 3\)"),
        (lambda: Scan("s", POINTS, None, np.zeros((1, 4))), "Scan.faces", r"\(n, 3\)"),
        (lambda: head(z_id=np.zeros((1, 5))), "Head.z_id", r"\(n\)"),
        (lambda: head(offsets=np.zeros(39)), "Head.offsets", r"\(n, n\)"),
        (lambda: head(eyes=np.zeros((1, 5))), "Head.eyes", r"\(2, 5\)"),
    ],
)
def test_a_wrong_shape_is_refused_with_the_shape_that_is_expected(make: Any, name: str, wanted: str) -> None:
    with pytest.raises(InputError, match=wanted) as caught:
        make()
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("index", [-1, 4, 10**9])
def test_a_face_that_points_outside_the_vertices_is_refused(index: int) -> None:
    faces = np.array([[0, 1, 2], [0, 1, index]])
    with pytest.raises(InputError, match=r"Mesh\.faces holds an index outside"):
        Mesh(POINTS, faces)
    with pytest.raises(InputError, match=r"Scan\.faces holds an index outside"):
        Scan("s", POINTS, None, faces)


def test_arrays_are_read_only_and_are_not_the_caller_s() -> None:
    points = POINTS.copy()
    mesh = Mesh(points, FACES)
    points[0] = 99.0
    assert mesh.vertices[0, 0] == 0.0
    scan = Scan("s", POINTS, NORMALS, FACES)
    made = head()
    for array in (
        mesh.vertices, mesh.faces, scan.points, scan.normals, scan.faces, made.z_id, made.z_exp, made.offsets,
        made.eyes,
    ):  # fmt: skip
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError):
        mesh.vertices = points  # type: ignore[misc]


def test_numbers_are_kept_in_the_precision_that_the_fields_promise() -> None:
    mesh = Mesh(POINTS.astype(np.float32), FACES.astype(np.uint8))
    assert mesh.vertices.dtype == np.float64 and mesh.faces.dtype == np.int64
    assert head().z_id.dtype == head().z_exp.dtype == head().offsets.dtype == head().eyes.dtype == np.float32


def test_an_empty_mesh_and_a_scan_without_faces_are_allowed() -> None:
    assert len(Mesh(np.zeros((0, 3)), np.zeros((0, 3))).faces) == 0
    scan = Scan("cloud", POINTS)
    assert scan.normals is None and scan.faces is None and scan.warnings == ()


def test_a_mesh_a_scan_and_a_head_print_one_line_each_and_no_arrays() -> None:
    assert repr(Mesh(POINTS * 1000.0, FACES)) == "Mesh(4 vertices, 2 faces, extent 9000 × 9000 × 9000)"
    assert repr(Mesh(np.zeros((12345, 3)), FACES)).startswith("Mesh(12 345 vertices, 2 faces")
    assert repr(Mesh(np.zeros((0, 3)), np.zeros((0, 3)))) == "Mesh(0 vertices, 0 faces, empty)"
    assert repr(Scan("ada", POINTS, NORMALS, FACES)) == "Scan('ada', 4 points, 2 faces, extent 9 × 9 × 9)"
    assert repr(Scan("ada", POINTS)) == "Scan('ada', 4 points, no normals, extent 9 × 9 × 9)"
    edited = head(z_id=[3.0, 4.0], offsets=np.eye(39, 4), provenance=("mean head", "nose wider"))
    assert repr(edited) == "Head(model 'm', |z_id| = 5, |z_exp| = 0, 4 of 39 regions offset, 'nose wider')"


def test_a_mesh_becomes_a_trimesh_with_the_same_vertices_in_the_same_order() -> None:
    doubled = Mesh(POINTS[[0, 1, 2, 0, 2, 3]], np.arange(6).reshape(2, 3))
    made = doubled.to_trimesh()
    np.testing.assert_array_equal(made.vertices, doubled.vertices)
    np.testing.assert_array_equal(made.faces, doubled.faces)
    made.vertices[0] = 7.0  # the copy is the caller's
    assert doubled.vertices[0, 0] == 0.0


def test_a_scan_becomes_a_trimesh_or_without_faces_a_point_cloud() -> None:
    assert isinstance(Scan("mesh", POINTS, NORMALS, FACES).to_trimesh(), trimesh.Trimesh)
    cloud = Scan("cloud", POINTS).to_trimesh()
    assert isinstance(cloud, trimesh.PointCloud)
    np.testing.assert_array_equal(cloud.vertices, POINTS)
