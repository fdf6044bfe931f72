"""Accuracy figures of surfaces with a known shift, rotation, growth or mask."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from imhead.errors import InputError
from imhead.surfaces.distances import _signed, point_to_surface, signed_distance
from imhead.surfaces.metrics import surface_metrics
from imhead.surfaces.properties import face_areas, is_closed, vertex_areas, volume_ml
from imhead.surfaces.sampling import sample_surface
from imhead.types import Mesh


def sphere(radius_mm: float, center_mm: tuple[float, float, float] = (0.0, 0.0, 0.0), detail: int = 3) -> Mesh:
    ball = trimesh.creation.icosphere(subdivisions=detail, radius=radius_mm)
    return Mesh(ball.vertices + np.array(center_mm), ball.faces)


def plane(height_mm: float, half_mm: float = 50.0, steps: int = 8) -> Mesh:
    axis = np.linspace(-half_mm, half_mm, steps + 1)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    index = np.arange(x.size).reshape(x.shape)
    a, b, c, d = index[:-1, :-1].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel(), index[:-1, 1:].ravel()
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, height_mm)], axis=1)
    return Mesh(points, np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]))


def turned_inside_out(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices, mesh.faces[:, ::-1])


def moved(mesh: Mesh, turn: np.ndarray, shift: np.ndarray) -> Mesh:
    return Mesh(mesh.vertices @ turn.T + shift, mesh.faces)


def off_the_thresholds(shift_mm: float) -> bool:
    """At a threshold of the F-score itself, rounding decides."""
    return all(abs(abs(shift_mm) - threshold_mm) > 1e-6 for threshold_mm in (1.0, 5.0))


@settings(max_examples=25, deadline=None)
@given(shift_mm=st.floats(-20.0, 20.0).filter(off_the_thresholds))
def test_a_shifted_plane_is_as_far_away_as_its_shift(shift_mm: float) -> None:
    result = surface_metrics(plane(shift_mm), plane(0.0), samples=400, seed=1)
    assert result.chamfer_mm == pytest.approx(abs(shift_mm), abs=1e-9)
    assert result.forward_mm == pytest.approx(result.backward_mm, abs=1e-9)
    assert result.normal_consistency == pytest.approx(1.0)
    assert result.fscore_1mm == (1.0 if abs(shift_mm) <= 1.0 else 0.0)
    assert result.fscore_5mm == (1.0 if abs(shift_mm) <= 5.0 else 0.0)


@settings(max_examples=10, deadline=None)
@given(growth_mm=st.floats(-10.0, 10.0))
def test_a_grown_sphere_is_as_far_away_as_its_growth(growth_mm: float) -> None:
    result = surface_metrics(sphere(50.0 + growth_mm), sphere(50.0), samples=500, seed=2)
    assert result.chamfer_mm == pytest.approx(abs(growth_mm), abs=0.25)
    assert result.normal_consistency > 0.99


def test_a_mesh_is_no_distance_from_itself() -> None:
    result = surface_metrics(sphere(50.0), sphere(50.0), samples=1000, seed=0)
    assert result.chamfer_mm < 1e-9
    assert result.normal_consistency == pytest.approx(1.0, abs=1e-3)
    assert result.fscore_1mm == result.fscore_5mm == 1.0


def test_chamfer_is_the_mean_of_the_two_ways_and_is_not_squared() -> None:
    result = surface_metrics(plane(3.0, half_mm=20.0), plane(0.0, half_mm=50.0), samples=2000, seed=0)
    assert result.forward_mm == pytest.approx(3.0)
    assert result.backward_mm > 10.0
    assert result.chamfer_mm == pytest.approx((result.forward_mm + result.backward_mm) / 2)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), shift_mm=st.floats(0.0, 8.0))
def test_swapping_the_meshes_swaps_the_ways_and_nothing_else(seed: int, shift_mm: float) -> None:
    one, other = sphere(40.0), sphere(43.0, (0.0, shift_mm, 0.0), detail=2)
    there = surface_metrics(one, other, samples=300, seed=seed)
    back = surface_metrics(other, one, samples=300, seed=seed)
    assert there.chamfer_mm == pytest.approx(back.chamfer_mm, rel=1e-12)
    assert there.forward_mm == back.backward_mm and there.backward_mm == back.forward_mm
    assert there.normal_consistency == pytest.approx(back.normal_consistency)
    assert there.fscore_1mm == pytest.approx(back.fscore_1mm)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), shift=st.tuples(*[st.floats(-500.0, 500.0)] * 3))
def test_turning_and_moving_both_meshes_changes_no_figure(seed: int, shift: tuple[float, float, float]) -> None:
    turn = Rotation.random(random_state=seed).as_matrix()
    one, other = sphere(40.0, detail=2), sphere(44.0, (1.0, 2.0, 0.0))
    still = surface_metrics(one, other, samples=2000, seed=3)
    away = surface_metrics(moved(one, turn, np.array(shift)), moved(other, turn, np.array(shift)), samples=2000, seed=3)
    assert away.chamfer_mm == pytest.approx(still.chamfer_mm, abs=1e-2)
    assert away.normal_consistency == pytest.approx(still.normal_consistency, abs=1e-3)
    assert away.fscore_5mm == pytest.approx(still.fscore_5mm, abs=1e-2)


def test_a_surface_turned_inside_out_scores_minus_one_in_normals() -> None:
    ball = sphere(50.0)
    assert surface_metrics(turned_inside_out(ball), ball, samples=500, seed=0).normal_consistency < -0.99


def test_masked_faces_give_no_samples_but_still_catch_them() -> None:
    both = plane(0.0)
    low = both.vertices[both.faces].mean(axis=1)[:, 0] < 0
    left = Mesh(both.vertices, both.faces[low])
    result = surface_metrics(left, both, samples=1000, seed=0, truth_mask=low)
    assert result.chamfer_mm < 1e-9
    assert surface_metrics(left, both, samples=1000, seed=0).backward_mm > 10.0
    other = surface_metrics(left, both, samples=1000, seed=0, truth_mask=~low)
    assert other.forward_mm < 1e-9 and other.backward_mm > 10.0


def test_a_region_limits_where_samples_are_drawn_but_not_where_they_may_land() -> None:
    bump = plane(0.0, steps=20)
    lifted = bump.vertices.copy()
    lifted[np.linalg.norm(lifted[:, :2], axis=1) < 10.0, 2] = 4.0
    near = surface_metrics(
        Mesh(lifted, bump.faces), bump, samples=800, seed=0, region=lambda p: np.linalg.norm(p[:, :2], axis=1) < 8.0
    )
    far = surface_metrics(Mesh(lifted, bump.faces), bump, samples=800, seed=0, region=lambda p: p[:, 0] > 20.0)
    assert near.forward_mm > 3.0 and far.chamfer_mm < 1e-9


def test_as_many_samples_are_drawn_in_a_small_region_as_were_asked_for() -> None:
    points, face = sample_surface(sphere(50.0), 700, seed=5, region=lambda p: p[:, 2] > 48.0)
    assert points.shape == (700, 3) and face.shape == (700,)
    assert points[:, 2].min() > 48.0


def test_samples_follow_area_and_repeat_with_their_seed() -> None:
    mesh = Mesh([[0, 0, 0], [3, 0, 0], [0, 1, 0], [-1, 0, 0]], [[0, 1, 2], [0, 2, 3]])
    points, face = sample_surface(mesh, 8000, seed=9)
    assert np.mean(face == 0) == pytest.approx(0.75, abs=0.02)
    assert np.array_equal(points, sample_surface(mesh, 8000, seed=9)[0])
    assert not np.array_equal(points, sample_surface(mesh, 8000, seed=10)[0])


def test_point_to_surface_names_the_closest_point_and_its_face() -> None:
    mesh = plane(0.0)
    distance, closest, face = point_to_surface(np.array([[10.0, 5.0, 7.0], [60.0, 0.0, 0.0]]), mesh)
    assert distance == pytest.approx([7.0, 10.0])
    assert closest == pytest.approx(np.array([[10.0, 5.0, 0.0], [50.0, 0.0, 0.0]]))
    corners = mesh.vertices[mesh.faces[face[0]]]
    assert (corners.min(axis=0)[:2] <= [10.0, 5.0]).all() and (corners.max(axis=0)[:2] >= [10.0, 5.0]).all()


@settings(max_examples=20, deadline=None)
@given(
    direction=st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda d: np.linalg.norm(d) > 0.1), r=st.floats(1.0, 99.0)
)
def test_signed_distance_is_negative_inside_whether_or_not_the_mesh_is_closed(
    direction: tuple[float, float, float], r: float
) -> None:
    ball = sphere(50.0)
    point = r * np.array([direction]) / np.linalg.norm(direction)
    opened = Mesh(ball.vertices, ball.faces[10:])
    assert signed_distance(point, ball)[0] == pytest.approx(r - 50.0, abs=0.6)
    if point[0] @ ball.vertices[ball.faces[:10]].mean(axis=(0, 1)) < 0:
        assert signed_distance(point, opened)[0] == pytest.approx(r - 50.0, abs=0.6)


def test_faces_without_area_spoil_neither_distance_nor_normals() -> None:
    ball = sphere(50.0)
    spoilt = Mesh(ball.vertices, np.concatenate([ball.faces, [[0, 0, 1], [2, 2, 2]]]))
    assert surface_metrics(spoilt, ball, samples=500, seed=0).normal_consistency == pytest.approx(1.0, abs=1e-3)
    assert np.isfinite(signed_distance(np.array([[0.0, 0.0, 70.0]]), Mesh(spoilt.vertices, spoilt.faces[5:]))).all()


def test_volume_of_a_sphere_in_millilitres_does_not_depend_on_where_it_is() -> None:
    ball = sphere(50.0, detail=4)
    assert volume_ml(ball) == pytest.approx(4 / 3 * np.pi * 50.0**3 / 1000, rel=0.01)
    assert volume_ml(moved(ball, np.eye(3), np.array([9e4, 0, 0]))) == pytest.approx(volume_ml(ball), rel=1e-9)
    assert volume_ml(turned_inside_out(ball)) == pytest.approx(-volume_ml(ball))


def test_an_open_or_half_turned_mesh_is_not_closed_and_has_no_volume() -> None:
    ball = sphere(50.0)
    half_turned = Mesh(ball.vertices, np.concatenate([ball.faces[:1, ::-1], ball.faces[1:]]))
    assert is_closed(ball)
    assert not is_closed(Mesh(ball.vertices, ball.faces[1:])) and not is_closed(half_turned)
    with pytest.raises(InputError, match="not watertight"):
        volume_ml(Mesh(ball.vertices, ball.faces[1:]))


def test_vertex_areas_add_up_to_the_area_of_the_faces() -> None:
    ball = sphere(50.0)
    assert vertex_areas(ball).sum() == pytest.approx(face_areas(ball).sum())


@pytest.mark.parametrize(
    ("points", "faces", "words"),
    [
        (np.zeros((0, 3)), [[0, 1, 2]], "points is empty"),
        (np.zeros((4, 2)), [[0, 1, 2]], "expected \\(n, 3\\)"),
        (np.full((4, 3), np.nan), [[0, 1, 2]], "NaN"),
        (np.zeros((4, 3)), np.zeros((0, 3), dtype=int), "no faces"),
    ],
)
def test_what_would_crash_the_distance_library_is_refused_with_one_line(
    points: np.ndarray, faces: object, words: str
) -> None:
    mesh = Mesh(np.eye(3), faces)
    for query in (lambda: point_to_surface(points, mesh), lambda: signed_distance(points, mesh)):
        with pytest.raises(InputError, match=words) as refused:
            query()
        assert "\n" not in str(refused.value)


def test_bad_masks_and_empty_regions_are_refused_with_one_line() -> None:
    ball = sphere(50.0, detail=1)
    none = np.zeros(len(ball.faces), dtype=bool)
    for arguments, words in (
        ({"predicted_mask": none}, "no face left"),
        ({"truth_mask": none[:3]}, "truth_mask is bool"),
        ({"truth_mask": none.astype(int)}, "truth_mask is int"),
        ({"region": lambda p: p[:, 0] > 1e6}, "region of interest"),
        ({"region": lambda p: p[:, 0]}, "region returned float"),
        ({"samples": 0}, "at least one"),
    ):
        with pytest.raises(InputError, match=words) as refused:
            surface_metrics(ball, ball, **{"samples": 100, "seed": 0, **arguments})
        assert "\n" not in str(refused.value)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), closed=st.booleans())
def test_points_that_are_vertices_of_the_mesh_have_the_distance_that_others_would(seed: int, closed: bool) -> None:
    ball = sphere(20.0)
    mesh = ball if closed else Mesh(ball.vertices, ball.faces[5:])
    rng = np.random.default_rng(seed)
    points = mesh.vertices[rng.integers(0, len(mesh.vertices), 50)] + rng.normal(size=(50, 3)) * rng.integers(
        0, 2, (50, 1)
    )
    each = _signed(points, mesh.vertices, mesh.faces.astype(np.int64), closed)
    assert np.array_equal(signed_distance(points, mesh), each)
