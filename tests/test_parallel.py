"""Chunks side by side."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from imhead.checkpoint import Model, load_model
from imhead.editing import sample
from imhead.isosurface.cells import Lattice
from imhead.isosurface.feature_cache import FeatureCache
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import lattice_of
from imhead.parallel import ROWS, chunks, side_by_side

CPU = torch.device("cpu")


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts back how many threads torch uses."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("default")


@pytest.mark.parametrize("count", [0, 1, 31, 8193, 40_000, 100_001])
@pytest.mark.parametrize("threads_set", [1, 2, 3])
def test_chunks_are_all_the_rows_in_their_order(count: int, threads_set: int, threads: None) -> None:
    torch.set_num_threads(threads_set)
    rows = torch.arange(count)
    parts = chunks(rows)
    assert torch.equal(torch.cat(parts), rows)
    assert all(len(part) % ROWS == 0 for part in parts[:-1])
    assert max(map(len, parts)) <= 8192 + ROWS


def test_results_come_in_the_order_of_the_chunks(threads: None) -> None:
    torch.set_num_threads(3)
    parts = chunks(torch.arange(50_000))
    assert [int(first) for first in side_by_side(lambda part: part[0], parts, CPU)] == [int(part[0]) for part in parts]


def test_the_number_of_threads_stays_as_it_was_set(threads: None) -> None:
    torch.set_num_threads(3)
    inside = list(side_by_side(lambda part: torch.get_num_threads(), chunks(torch.arange(50_000)), CPU))
    assert set(inside) == {1}
    assert torch.get_num_threads() == 3


def test_a_fork_has_threads_of_its_own(threads: None) -> None:
    torch.set_num_threads(2)
    work = chunks(torch.arange(20_000))
    assert sum(side_by_side(len, work, CPU)) == 20_000
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_count, (work,)).get(60.0) == 20_000


def _count(parts: tuple[Tensor, ...]) -> int:
    torch.set_num_threads(2)
    return sum(side_by_side(len, parts, CPU))


def test_one_thread_and_three_give_the_same_field_bit_for_bit(model: Model, threads: None) -> None:
    field = HeadField(model, sample(model, model.neutral(), (), 3, 1.0, False))
    points = np.random.default_rng(0).uniform(-90.0, 90.0, (30_001, 3))
    lattice: Lattice = lattice_of(96)
    asked = np.random.default_rng(1).permutation(lattice.count)[:30_001]
    found = []
    for count in (1, 3):
        torch.set_num_threads(count)
        cached = FeatureCache(field, lattice).values(asked)
        found.append([field.sdf(points), field.canonical_sdf(points), cached, field.gradient(points)])
    for one, several in zip(*(values[:-1] for values in found)):
        np.testing.assert_array_equal(one, several)
    np.testing.assert_allclose(found[0][-1], found[1][-1], atol=1e-5)  # a slope is summed over a whole chunk
