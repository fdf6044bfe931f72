"""Counts of operations, and the lower bound on the time of a mesh."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from imhead.benchmark.arithmetic import count_operations, crossing_cells, field_flop, time_floor
from imhead.checkpoint import Model
from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import dense_grid, extract_mesh


@pytest.fixture
def several_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_operations_of_all_threads_are_counted(model: Model, several_threads: None) -> None:
    points = np.random.default_rng(0).uniform(BOUNDS_MIN_MM, BOUNDS_MAX_MM, (20000, 3))
    field = HeadField(model, model.neutral())
    work = count_operations(lambda: field.sdf(points), model.net.fusion_net)
    assert work.flop == pytest.approx(field_flop(model, field, points), rel=0.02)
    assert torch.get_num_threads() == 2


def test_the_operations_of_the_field_are_those_that_torch_executes(model: Model) -> None:
    points = np.random.default_rng(0).uniform(BOUNDS_MIN_MM, BOUNDS_MAX_MM, (6016, 3))
    field = HeadField(model, model.neutral())
    work = count_operations(lambda: field.sdf(points), model.net.fusion_net)
    assert work.evaluations == len(points)
    # networks with few points are padded
    assert work.flop == pytest.approx(field_flop(model, field, points), rel=0.02)


def test_operations_of_backward_passes_are_counted() -> None:
    net = nn.Linear(10, 20, bias=False)
    x = torch.randn(5, 10)
    assert count_operations(lambda: net(x), net).flop == 2 * 5 * 10 * 20
    # the input needs no gradient, so the backward pass is one product
    assert count_operations(lambda: net(x).sum().backward(), net).flop == 2 * 2 * 5 * 10 * 20


def test_a_module_that_is_never_called_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="never called"):
        count_operations(lambda: None, nn.Linear(1, 1))


def test_the_crossing_cells_of_a_mesh_are_the_grid_cells_whose_corners_differ_in_sign() -> None:
    def ball(points: np.ndarray) -> np.ndarray:
        distance: np.ndarray = (np.linalg.norm(points - [1.0, 2.0, 3.0], axis=1) - 80.0).astype(np.float32)
        return distance

    cells, corners = crossing_cells(extract_mesh(ball, 48), 48)
    values = dense_grid(ball, 48).values < 0
    x, y, z = values.shape
    inside = sum(values[i : x - 1 + i, j : y - 1 + j, k : z - 1 + k].astype(int) for i, j, k in np.ndindex(2, 2, 2))
    expected = np.argwhere((inside > 0) & (inside < 8))
    np.testing.assert_array_equal(cells, expected)
    assert len(cells) < len(corners) < 8 * len(cells)
    assert np.abs(ball(corners)).max() < np.sqrt(3.0) * 420.0 / 48.0


def test_the_floor_is_the_time_of_the_operations_at_the_rate_of_the_machine() -> None:
    found = time_floor(1e9, torch.device("cpu"), of="something")
    assert found["of"] == "something" and found["flop"] == 1e9
    assert found["seconds"] * found["flop_per_second"] == pytest.approx(1e9)
