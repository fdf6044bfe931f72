"""Normals of bare points: the right planes, one side, outward."""

from __future__ import annotations

import numpy as np
import pytest

from imhead.curation.normals import estimate_normals, orient_outward, plane_normals
from imhead.errors import InputError


def ball(count: int, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def outward_share(normals: np.ndarray, truth: np.ndarray) -> float:
    return float((np.einsum("ni,ni->n", normals, truth) > 0.8).mean())


@pytest.mark.parametrize("count", [200, 3000])
def test_normals_of_a_ball_point_outward(count: int) -> None:
    points = ball(count)
    assert outward_share(estimate_normals(points), points) > 0.97


def test_each_of_two_separate_pieces_faces_outward() -> None:
    points = ball(2000)
    both = np.concatenate([points, points * 0.5 + [4.0, 0.0, 0.0]])
    assert outward_share(estimate_normals(both), np.concatenate([points, points])) > 0.99


def test_an_open_bowl_has_one_side_the_outer_one() -> None:
    points = ball(4000)
    points = points[points[:, 2] > 0.2]
    assert outward_share(estimate_normals(points), points) > 0.98


def test_the_two_walls_of_a_shell_do_not_mix() -> None:
    points = ball(9000)
    shell = np.concatenate([points[:5000], 0.85 * points[5000:]])
    side = np.einsum("ni,ni->n", estimate_normals(shell), points)
    for wall in (side[:5000], side[5000:]):
        assert abs(np.sign(wall).mean()) > 0.95


def test_normals_turn_with_the_points() -> None:
    points = ball(800) * [1.0, 1.4, 0.8]
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    there = estimate_normals(points @ turn.T) @ turn
    assert (np.einsum("ni,ni->n", there, estimate_normals(points)) > 0.99).mean() > 0.98


def test_units_change_no_normal() -> None:
    points = ball(500)
    np.testing.assert_allclose(np.abs(np.einsum("ni,ni->n", plane_normals(points * 1e-3), plane_normals(points))), 1.0)


def test_inverted_normals_are_turned_as_a_whole() -> None:
    points = ball(500)
    np.testing.assert_array_equal(orient_outward(points, -points), points)


def test_sixty_thousand_points_on_a_plane_stay_finite() -> None:
    grid = np.stack(np.meshgrid(np.arange(245.0), np.arange(245.0)), -1).reshape(-1, 2)
    normals = estimate_normals(np.concatenate([grid, np.zeros((len(grid), 1))], 1))
    assert np.isfinite(normals).all() and abs(normals[:, 2].mean()) > 0.999


@pytest.mark.parametrize("points", [np.zeros((2, 3)), np.full((10, 3), np.nan), np.zeros((10, 2))])
def test_points_without_a_surface_are_refused_with_one_line(points: np.ndarray) -> None:
    with pytest.raises(InputError) as caught:
        estimate_normals(points)
    assert "\n" not in str(caught.value)
