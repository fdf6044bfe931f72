"""The measurements as functions of places: what moves, turns and scales a head does to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from tools.measurements_page import page

from imhead.errors import InputError
from imhead.measure.landmarks import LANDMARKS, landmark_names
from imhead.measure.table import MEASUREMENTS, VOLUMES, measurement, slope, value, values
from imhead.measure.volumes import cone_volume, swept_volumes
from imhead.regions import groups


def mean_landmarks() -> np.ndarray:
    places = []
    for landmark in LANDMARKS:
        place = np.array(landmark.mean_mm)
        places += [place, place * [-1.0, 1.0, 1.0]] if landmark.paired else [place]
    return np.stack(places)


def some_head(seed: int) -> np.ndarray:
    return mean_landmarks() + np.random.default_rng(seed).normal(0.0, 2.0, (len(landmark_names()), 3))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), turn=st.integers(0, 999))
def test_moving_and_turning_a_head_changes_no_measurement(seed: int, turn: int) -> None:
    head = some_head(seed)
    moved = Rotation.random(random_state=turn).apply(head) + [300.0, -80.0, 1000.0]
    before, after = values(head), values(moved)
    assert max(abs(after[name] - before[name]) for name in before) < 0.01


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 999))
def test_a_head_ten_percent_larger_has_lengths_ten_percent_larger_and_the_same_angles(seed: int) -> None:
    head = some_head(seed)
    before, after = values(head), values(1.1 * head)
    for kind in MEASUREMENTS:
        factor = 1.1 if kind.unit == "mm" else 1.0
        assert after[kind.name] == pytest.approx(factor * before[kind.name], abs=1e-6), kind.name


def test_a_mirrored_head_has_its_sides_swapped_and_all_else_alike() -> None:
    head, names = some_head(3), list(landmark_names())
    other = {"left": "right", "right": "left"}
    swapped = [names.index("_".join([other.get(n.split("_")[0], n.split("_")[0]), *n.split("_")[1:]])) for n in names]
    before, after = values(head), values(head[swapped] * [-1.0, 1.0, 1.0])
    for name, found in before.items():
        side = name.split("_")[0]
        there = name.replace(side, other[side], 1) if side in other else name
        assert after[there] == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize("name", ["tip_projection", "nasolabial_angle", "chin_projection"])
def test_slopes_foretell_what_a_small_move_does(name: str) -> None:
    head, kind = some_head(1), measurement(name)
    step = np.random.default_rng(0).normal(0.0, 0.01, head.shape)
    foretold = float((slope(kind, head) * step).sum())
    assert value(kind, head + step) - value(kind, head) == pytest.approx(foretold, rel=0.05, abs=1e-4)


def test_a_chin_behind_the_meridian_of_the_nasion_is_negative() -> None:
    head, kind, row = mean_landmarks(), measurement("chin_projection"), landmark_names().index("pogonion")
    back, forth = head.copy(), head.copy()
    back[row, 2] -= 40.0
    forth[row, 2] += 40.0
    assert value(kind, back) < 0.0 < value(kind, forth)


def test_every_row_of_the_table_is_whole() -> None:
    names = [m.name for m in (*MEASUREMENTS, *VOLUMES)]
    assert len(set(names)) == len(names)
    for m in MEASUREMENTS:
        assert set(m.landmarks) <= set(landmark_names()) and m.definition and m.source
        assert set(m.tied) <= set(names) - {m.name}
        assert m.group in groups() or m.group == "face"


def test_an_unknown_measurement_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(InputError, match="tip_projection"):
        measurement("tip_projektion")


def test_the_page_of_measurements_is_the_table() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "measurements.md").read_text(encoding="utf-8")
    assert text == page(), "run python tools/measurements_page.py > docs/measurements.md"


def test_the_volume_over_a_rim_is_that_of_the_half_ball_and_goes_with_the_cube_of_its_size() -> None:
    ball = trimesh.creation.icosphere(4, radius=20.0)
    upper = ball.faces[(ball.vertices[ball.faces][:, :, 2] >= -1e-9).all(axis=1)]
    points = np.asarray(ball.vertices)
    found = cone_volume(points, upper)
    assert found == pytest.approx(2.0 / 3.0 * np.pi * 20.0**3 / 1000.0, rel=0.03)
    turned = Rotation.random(random_state=0).apply(points) + [100.0, 0.0, -50.0]
    assert cone_volume(turned, upper) == pytest.approx(found, rel=1e-9)
    assert cone_volume(1.1 * points, upper) == pytest.approx(1.331 * found, rel=1e-9)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 99))
def test_what_the_vertices_of_a_closed_surface_sweep_adds_up_to_its_change_in_volume(seed: int) -> None:
    ball = trimesh.creation.icosphere(2, radius=20.0)
    after = np.asarray(ball.vertices) + np.random.default_rng(seed).normal(0.0, 1.0, ball.vertices.shape)
    swept = swept_volumes(np.asarray(ball.vertices), after, np.asarray(ball.faces))
    change = trimesh.Trimesh(after, ball.faces, process=False).volume - ball.volume
    assert swept.sum() == pytest.approx(change / 1000.0, abs=1e-9)
