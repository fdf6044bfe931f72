"""The values that flow through the package: checked and read-only from the moment they exist."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imhead.errors import InputError
from imhead.types import Head, Mesh, RegisteredHead, Scan

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
        mesh.vertices, mesh.faces, scan.points, scan.normals, scan.faces, made.z_id, made.z_exp, made.offsets
    ):  # fmt: skip
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError):
        mesh.vertices = points  # type: ignore[misc]


def test_numbers_are_kept_in_the_precision_that_the_fields_promise() -> None:
    mesh = Mesh(POINTS.astype(np.float32), FACES.astype(np.uint8))
    assert mesh.vertices.dtype == np.float64 and mesh.faces.dtype == np.int64
    assert head().z_id.dtype == head().z_exp.dtype == head().offsets.dtype == np.float32


def test_an_empty_mesh_and_a_scan_without_faces_are_allowed() -> None:
    assert len(Mesh(np.zeros((0, 3)), np.zeros((0, 3))).faces) == 0
    scan = Scan("cloud", POINTS)
    assert scan.normals is None and scan.faces is None and scan.warnings == ()


def test_a_registered_head_names_its_closed_solids() -> None:
    made = RegisteredHead(POINTS, ((FACES, 0, 4),))
    faces, first, past = made.solids[0]
    assert faces.max() < past and first == 0
