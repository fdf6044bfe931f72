"""A curation on a cluster: the same work by the machines of a local Ray, whatever dies."""

from __future__ import annotations

import operator
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tools.curation_kills import local_ray, trial

from imhead.api.cluster import cluster_at, workers_at
from imhead.errors import InputError
from imhead.io.mesh_file import write_mesh
from imhead.io.scan_file import read_scan
from imhead.types import Mesh

DEMO_SCAN = Path(__file__).resolve().parents[2] / "src" / "imhead" / "assets" / "demo_scan.ply"


@pytest.fixture(scope="module")
def ray() -> Iterator[tuple[str, int]]:
    """The address of a cluster of two workers, and its process."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'imhead[cluster]'")
    with local_ray(2) as started:
        yield started


@pytest.mark.slow
def test_whatever_dies_a_cluster_ends_with_the_bytes_of_two_processes(ray: tuple[str, int], tmp_path: Path) -> None:
    scans, demo = tmp_path / "scans", read_scan(DEMO_SCAN)
    assert demo.faces is not None
    # stretched: a copy in another size would be a duplicate
    for name, depth in (("anna/neutral", 1.0), ("anna/smile", 1.005), ("ben/neutral", 0.97)):
        write_mesh(Mesh(demo.points * [1.0, 1.0, depth], demo.faces), scans / f"{name}.ply")
    (scans / "broken.ply").write_bytes(b"ply\nformat ascii 1.0\n")
    found = trial(scans, tmp_path, *ray, kills=4, seed=1, quick=True)
    assert found["differing"] == []
    assert found["runs"] and sum(found["killed"].values()) == 4


@pytest.mark.slow
def test_each_item_is_done_once_and_a_machine_that_cannot_do_them_says_why(
    ray: tuple[str, int], tmp_path: Path
) -> None:
    with cluster_at(ray[0], [tmp_path]) as workers:
        assert dict(workers(partial(operator.mul, 3), 5)) == {k: 3 * k for k in range(5)}
    with cluster_at(ray[0], [tmp_path / "elsewhere"]) as workers, pytest.raises(InputError, match="does not see"):
        list(workers(partial(operator.mul, 3), 1))
    with pytest.raises(InputError, match=r"1024\.0 GiB"), cluster_at(ray[0], memory_bytes=1 << 40):
        pass


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_item(ray: tuple[str, int], tmp_path: Path) -> None:
    def work(item: int) -> int:
        tries = tmp_path / f"{item}_{os.getpid()}"
        tries.touch()
        if item % 4 == 0 and len(list(tmp_path.glob(f"{item}_*"))) == 1:
            os.kill(os.getpid(), signal.SIGKILL)  # at its first try
        return item * item

    with cluster_at(ray[0], [tmp_path]) as workers:
        assert dict(workers(work, 9)) == {item: item * item for item in range(9)}
    assert all(len(list(tmp_path.glob(f"{item}_*"))) == 2 for item in (0, 4, 8))


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'imhead[cluster]'")
    with pytest.raises(InputError, match="no Ray cluster answers"), workers_at("127.0.0.1:1", 1, tmp_path, [], None):
        pass


def test_processes_of_this_machine_and_a_cluster_are_not_asked_for_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave the number of jobs out"), workers_at("auto", 2, tmp_path, [], None):
        pass
