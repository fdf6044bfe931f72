"""Normals of point clouds are those of the surface they were drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from imhead.errors import InputError
from imhead.surfaces.normals import plane_normals


def ball(count: int, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("count", [200, 3000])
def test_normals_of_points_on_a_sphere_are_along_its_radii(count: int) -> None:
    points = ball(count)
    assert (np.abs(np.einsum("ni,ni->n", plane_normals(points), points)) > 0.8).mean() > 0.97


def test_normals_turn_with_the_points() -> None:
    points = ball(800) * [1.0, 1.4, 0.8]
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    there = plane_normals(points @ turn.T) @ turn
    assert (np.abs(np.einsum("ni,ni->n", there, plane_normals(points))) > 0.99).mean() > 0.98


def test_units_change_no_normal() -> None:
    points = ball(500)
    np.testing.assert_allclose(np.abs(np.einsum("ni,ni->n", plane_normals(points * 1e-3), plane_normals(points))), 1.0)


@pytest.mark.parametrize("points", [np.zeros((2, 3)), np.full((10, 3), np.nan), np.zeros((10, 2))])
def test_points_without_a_surface_are_refused_with_one_line(points: np.ndarray) -> None:
    with pytest.raises(InputError) as caught:
        plane_normals(points)
    assert "\n" not in str(caught.value)
