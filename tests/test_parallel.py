"""Work side by side gives what work one after the other gives: chunks on threads, cases in processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from imhead import parallel
from imhead.checkpoint import Model, load_model
from imhead.editing import sample
from imhead.isosurface.cells import Lattice
from imhead.isosurface.feature_cache import FeatureCache
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import lattice_of
from imhead.parallel import ROWS, chunks, in_processes, in_threads, side_by_side

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


@pytest.mark.parametrize("processes", [0, 1, 2])
@pytest.mark.parametrize("chunk", [1, 4])
def test_processes_give_what_a_plain_map_gives_in_order_or_as_they_finish(processes: int, chunk: int) -> None:
    offset = 7  # a closure: it is inherited, not pickled
    wanted = [k * k + offset for k in range(11)]
    ordered = in_processes(lambda k: k * k + offset, 11, processes, chunk=chunk)
    assert list(ordered) == wanted
    unordered = in_processes(lambda k: k * k + offset, 11, processes, ordered=False, chunk=chunk)
    assert sorted(unordered) == wanted
    assert parallel._forked is None


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_in_a_process_reaches_the_caller_and_leaves_nothing_behind(processes: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_processes(lambda k: 1 // (k - 3), 8, processes))
    assert parallel._forked is None
    assert list(in_processes(lambda k: -k, 3, processes)) == [0, -1, -2]


def test_a_caller_that_stops_early_leaves_nothing_behind() -> None:
    results = in_processes(lambda k: k, 50, 2)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert parallel._forked is None


def test_threads_give_results_in_the_order_of_what_they_were_given() -> None:
    assert list(in_threads(lambda k: k * 2, range(20), 3)) == list(range(0, 40, 2))
