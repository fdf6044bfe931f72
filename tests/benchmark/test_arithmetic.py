"""Operations are counted as they are run, and the floor of a mesh holds what no way of meshing can leave out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from imhead.benchmark.arithmetic import counted, crossing_cells, field_flop, floor
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


def test_what_other_threads_would_do_is_counted_too(model: Model, several_threads: None) -> None:
    points = np.random.default_rng(0).uniform(BOUNDS_MIN_MM, BOUNDS_MAX_MM, (20000, 3))
    field = HeadField(model, model.neutral())
    work = counted(lambda: field.sdf(points), model.net.fusion_net)
    assert work.flop == pytest.approx(field_flop(model, field, points), rel=0.02)
    assert torch.get_num_threads() == 2


def test_the_operations_of_the_field_are_those_that_torch_runs(model: Model) -> None:
    points = np.random.default_rng(0).uniform(BOUNDS_MIN_MM, BOUNDS_MAX_MM, (6016, 3))
    field = HeadField(model, model.neutral())
    work = counted(lambda: field.sdf(points), model.net.fusion_net)
    assert work.evaluations == len(points)
    # a network with a handful of points is given some more; nothing else is spent
    assert work.flop == pytest.approx(field_flop(model, field, points), rel=0.02)


def test_backward_passes_count_too() -> None:
    net = nn.Linear(10, 20, bias=False)
    x = torch.randn(5, 10)
    assert counted(lambda: net(x), net).flop == 2 * 5 * 10 * 20
    # the input wants no gradient, so the backward pass is one product
    assert counted(lambda: net(x).sum().backward(), net).flop == 2 * 2 * 5 * 10 * 20


def test_a_benchmark_that_counts_at_the_wrong_module_says_so() -> None:
    with pytest.raises(RuntimeError, match="wrong module"):
        counted(lambda: None, nn.Linear(1, 1))


def test_the_crossing_cells_of_a_mesh_are_the_cells_of_the_grid_whose_corners_change_sign() -> None:
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


def test_a_floor_says_what_was_counted_and_how_long_it_takes_at_least() -> None:
    found = floor(1e9, torch.device("cpu"), of="something")
    assert found["of"] == "something" and found["flop"] == 1e9
    assert found["seconds"] * found["flop_per_second"] == pytest.approx(1e9)
