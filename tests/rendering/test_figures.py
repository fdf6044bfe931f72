"""Pictures: camera, light, colours and contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.errors import InputError
from imhead.rendering.figures import contact_sheet, heat_colors, legend, round_limit
from imhead.rendering.shading import (
    HEAD_CENTER_MM,
    HEAD_HALF_MM,
    VIEW_NAMES,
    camera,
    depth_map,
    flat_color,
    shade,
    surfels,
)
from imhead.types import Mesh

ICT = Path(__file__).resolve().parents[1] / "data" / "ict_subset.npz"


def ball(radius_mm: float = 60.0, center_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions=3, radius=radius_mm)
    return Mesh(sphere.vertices + np.array(center_mm), sphere.faces)


def drawn(picture: np.ndarray) -> np.ndarray:
    """Pixels of the subject, whose clay differs from the neutral background."""
    return np.ptp(picture.astype(int), axis=2) > 15


@pytest.mark.parametrize("view", VIEW_NAMES)
def test_every_view_is_a_right_handed_frame(view: str) -> None:
    frame = camera(view)
    axes = np.array([frame.right, frame.up, frame.toward])
    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("view", "place", "column", "row"),
    [
        ("front", (60.0, 0.0, 0.0), 1, 0),
        ("front", (0.0, 60.0, 0.0), 0, -1),
        ("profile", (0.0, 0.0, 60.0), -1, 0),
        ("profile_right", (0.0, 0.0, 60.0), 1, 0),
        ("back", (60.0, 0.0, 0.0), -1, 0),
        ("top", (0.0, 0.0, 60.0), 0, 1),
    ],
)
def test_each_view_shows_the_subject_from_its_direction(
    view: str, place: tuple[float, float, float], column: int, row: int
) -> None:
    picture = shade(ball(20.0, place), view, 64, half_mm=100.0, center_mm=(0.0, 0.0, 0.0))
    rows, columns = np.nonzero(drawn(picture))
    assert columns.mean() == pytest.approx(31.5 + 19.2 * column, abs=1.0)
    assert rows.mean() == pytest.approx(31.5 + 19.2 * row, abs=1.0)


def test_a_ball_covers_as_many_pixels_as_its_radius_in_mm_implies() -> None:
    picture = shade(ball(60.0), "front", 128, half_mm=100.0, center_mm=(0.0, 0.0, 0.0))
    assert picture.shape == (128, 128, 3) and picture.dtype == np.uint8
    assert drawn(picture).sum() == pytest.approx(np.pi * (0.6 * 64) ** 2, rel=0.04)


def test_light_comes_from_the_upper_left_of_the_viewer() -> None:
    picture = shade(ball(60.0), "front", 96, half_mm=70.0, center_mm=(0.0, 0.0, 0.0)).mean(axis=2)
    assert picture[30, 30] > picture[66, 66] + 30


def test_the_winding_of_faces_does_not_change_the_picture() -> None:
    sphere = ball()
    right = shade(sphere, size=64)
    wrong = shade(Mesh(sphere.vertices, sphere.faces[:, ::-1]), size=64)
    assert np.abs(right.astype(int) - wrong).max() <= 1


def test_creases_are_darker_than_open_skin() -> None:
    two = trimesh.util.concatenate(
        [trimesh.creation.icosphere(subdivisions=4, radius=40.0).apply_translation((x, 0, 0)) for x in (-30, 30)]
    )
    mesh = Mesh(two.vertices, two.faces)
    with_creases = shade(mesh, size=96, half_mm=90.0, center_mm=(0.0, 0.0, 0.0))
    without = shade(mesh, size=96, half_mm=90.0, center_mm=(0.0, 0.0, 0.0), occlusion=False)
    assert with_creases[48, 47:49].mean() < 0.85 * without[48, 47:49].mean()


def test_vertex_colours_are_visible() -> None:
    sphere = ball()
    red = shade(sphere, size=64, colors=flat_color((220, 40, 40), sphere))
    assert red[32 - 4, 32, 0] > red[32 - 4, 32, 1] + 60


def test_pictures_repeat_exactly() -> None:
    assert np.array_equal(shade(ball(), "three_quarter", 64), shade(ball(), "three_quarter", 64))


def test_depth_is_in_mm_towards_the_viewer() -> None:
    depth = depth_map(ball(60.0), camera("front", center_mm=(0.0, 0.0, 0.0), half_mm=100.0), 65)
    assert depth[32, 32] == pytest.approx(60.0, abs=0.5)
    assert np.isneginf(depth[0, 0])


def test_points_are_drawn_as_a_surface_without_holes() -> None:
    directions = np.random.default_rng(0).normal(size=(6000, 3))
    cloud = 60.0 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    mesh, normals, source = surfels(cloud)
    assert len(mesh.vertices) == len(normals) == len(source) == 4 * len(cloud)
    assert np.abs(np.einsum("nd,nd->n", normals, cloud[source] / 60.0)).min() > 0.9
    look = camera("front", center_mm=(0.0, 0.0, 0.0), half_mm=100.0)
    picture = shade(mesh, look, 64, normals=normals, occlusion=False)
    assert drawn(picture)[20:44, 20:44].all()


@settings(max_examples=50, deadline=None)
@given(value=st.floats(0.001, 1e3), limit=st.floats(0.01, 100.0))
def test_heat_is_red_outwards_and_blue_inwards_with_equal_lightness(value: float, limit: float) -> None:
    out, inward, zero = heat_colors(np.array([value, -value, 0.0]), limit).astype(int)
    assert out[0] - out[2] >= zero[0] - zero[2] and inward[2] - inward[0] >= zero[2] - zero[0]
    luma = np.array([0.21, 0.72, 0.07])
    assert abs(out @ luma - inward @ luma) < 30
    assert np.ptp(zero) < 8


def test_heat_becomes_steadily_darker_away_from_zero() -> None:
    for signed in (True, False):
        tone = heat_colors(np.linspace(0, 2, 50), 2.0, signed=signed) @ np.array([0.21, 0.72, 0.07])
        assert (np.diff(tone) <= 1.0).all() and tone[0] - tone[-1] > 120


def test_heat_beyond_the_limit_takes_the_end_colour_and_nan_is_grey() -> None:
    colors = heat_colors(np.array([2.0, 50.0, np.nan]), 2.0)
    assert np.array_equal(colors[0], colors[1])
    assert np.ptp(colors[2]) == 0


@settings(max_examples=50, deadline=None)
@given(largest=st.floats(0.2, 500.0))
def test_a_round_limit_holds_the_values_and_is_close_to_the_largest(largest: float) -> None:
    limit = round_limit(np.array([largest, -largest]))
    assert largest <= limit * (1 + 1e-6) <= 2.01 * largest


def test_a_contact_sheet_has_a_cell_and_a_label_for_each_picture() -> None:
    cell = np.full((40, 50, 3), 90, dtype=np.uint8)
    sheet = contact_sheet([cell] * 5, list("abcde"), columns=3)
    assert sheet.width == 3 * (50 + 6) + 6 and sheet.height > 2 * 40
    assert (np.asarray(sheet) == 90).all(axis=2).sum() >= 5 * 40 * 50
    assert np.asarray(contact_sheet([cell], columns=4)).shape[1] == 50 + 12


def test_a_legend_is_a_bar_from_blue_to_red() -> None:
    bar = np.asarray(legend(2.0, width=300)).astype(int)
    left, right = bar[12, 40], bar[12, 260]
    assert left[2] > left[0] + 50 and right[0] > right[2] + 50


def test_the_nose_of_a_head_stands_out_in_profile() -> None:
    with np.load(ICT) as data:
        vertices, polygons = data["vertices"] * 10.0 - np.array([0.0, 6.0, 10.0]), data["polygons"][:13226]
    quads = polygons[polygons[:, 3] >= 0]
    faces = np.concatenate([quads[:, :3], quads[:, [0, 2, 3]], polygons[polygons[:, 3] < 0][:, :3]])
    picture = shade(Mesh(vertices, faces), "profile", 160)
    seen = drawn(picture)
    first = np.array([np.flatnonzero(line)[0] if line.any() else 999 for line in seen])
    nose_row = 80 - round((-4.0 - HEAD_CENTER_MM[1]) / HEAD_HALF_MM * 80)
    assert abs(int(first.argmin()) - nose_row) <= 3
    assert picture[seen].std() > 15


def test_a_label_is_one_line_whatever_a_scan_is_called() -> None:
    sheet = contact_sheet([np.zeros((64, 64, 3), dtype=np.uint8)] * 2, ["a\nb\x1b[2J\udcff", "x" * 10**6])
    assert sheet.height < 64 + 60


def test_bad_arguments_are_refused_with_one_line() -> None:
    sphere = ball()
    cell = np.zeros((4, 4, 3), dtype=np.uint8)
    for attempt, words in (
        (lambda: shade(Mesh(sphere.vertices, np.zeros((0, 3), dtype=int))), "no faces"),
        (lambda: shade(sphere, "underneath"), "no view is named"),
        (lambda: shade(sphere, size=3), "out of range"),
        (lambda: shade(sphere, half_mm=-1.0), "give a size"),
        (lambda: shade(sphere, colors=cell[0]), "one for each vertex"),
        (lambda: surfels(np.zeros((3, 3))), "at least 16"),
        (lambda: heat_colors(np.zeros(3), 0.0), "positive limit"),
        (lambda: contact_sheet([]), "at least one picture"),
        (lambda: contact_sheet([cell, cell], ["one"]), "1 labels for 2 pictures"),
    ):
        with pytest.raises(InputError, match=words) as refused:
            attempt()
        assert "\n" not in str(refused.value)
