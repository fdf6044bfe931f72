"""Eyes of an avatar: a white ball with an iris behind a clear cornea, that turns about its centre."""

from __future__ import annotations

import numpy as np
import pytest

from imhead.avatar.avatar import PosedTemplate
from imhead.avatar.eyes import LIMBUS, angle_at, eye_faces, eye_mesh, eye_shapes, eye_vertices, looks, uv_radius
from imhead.conventions import ARKIT_NAMES
from imhead.surfaces.eyeballs import eye_centers
from imhead.surfaces.normals import vertex_normals


@pytest.mark.parametrize("side", [0, 1])
def test_the_iris_lies_behind_the_cornea(mean_template: PosedTemplate, side: int) -> None:
    ball = eye_vertices("ball", mean_template.eyes, side)
    cornea = eye_vertices("cornea", mean_template.eyes, side)
    iris = eye_mesh("ball").angles < LIMBUS
    assert ball[iris, 2].max() < cornea[0, 2] - 1.0


@pytest.mark.parametrize("kind", ["ball", "cornea"])
@pytest.mark.parametrize("side", [0, 1])
def test_faces_look_outwards(mean_template: PosedTemplate, kind: str, side: int) -> None:
    vertices = eye_vertices(kind, mean_template.eyes, side)
    normals, _ = vertex_normals(vertices, eye_faces(kind, side))
    away = vertices - eye_centers(mean_template.eyes)[side]
    assert ((normals * away).sum(axis=1) > 0.0).all()


@pytest.mark.parametrize(
    ("name", "side", "axis", "sign"),
    [("eyeLookUpLeft", 0, 1, 1), ("eyeLookDownRight", 1, 1, -1), ("eyeLookOutLeft", 0, 0, 1),
     ("eyeLookInLeft", 0, 0, -1), ("eyeLookOutRight", 1, 0, -1), ("eyeLookInRight", 1, 0, 1)],
)  # fmt: skip
def test_a_look_turns_the_pupil_the_way_that_its_name_says(
    mean_template: PosedTemplate, name: str, side: int, axis: int, sign: int
) -> None:
    vertices = eye_vertices("ball", mean_template.eyes, side)
    moved = eye_shapes(vertices, mean_template.eyes, side)[ARKIT_NAMES.index(name)]
    assert sign * moved[0, axis] > 4.0
    # as a rigid body, about a centre that yields by less than half a millimetre
    center = eye_centers(mean_template.eyes)[side]
    before, after = np.linalg.norm(vertices - center, axis=1), np.linalg.norm(vertices + moved - center, axis=1)
    assert np.abs(before - after).max() < 0.5
    spread = [np.linalg.norm(points - points[0], axis=1) for points in (vertices, vertices + moved)]
    assert np.abs(spread[0] - spread[1]).max() < 1e-9


def test_each_eye_has_its_own_four_looks() -> None:
    assert {name for side in (0, 1) for name in looks(side)} == {n for n in ARKIT_NAMES if n.startswith("eyeLook")}


def test_the_picture_s_layout_can_be_turned_round() -> None:
    angles = np.linspace(0.0, 2.0, 50)
    assert np.allclose(angle_at(uv_radius(angles)), angles)
