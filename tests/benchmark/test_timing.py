"""The order of timed runs, and the rows made of them."""

from __future__ import annotations

import json
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imhead.benchmark.timing import Task, Timing, conditions, interleaved, medians, pooled, result_row

CPU = torch.device("cpu")
SECONDS = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=9)


def timing(seconds: list[float]) -> Timing:
    return Timing(tuple(seconds), tuple(2.0 * s for s in seconds), 1.0)


@pytest.mark.parametrize("runs", [1, 2, 5])
def test_ours_and_the_peer_take_turns_after_a_warm_up_of_each(runs: int) -> None:
    calls: list[str] = []
    tasks = [
        Task("ours", lambda: calls.append("ours")),
        Task("peer", lambda: calls.append("peer"), lambda: calls.append("peer, a little")),
    ]
    timings = interleaved(tasks, runs, CPU)
    assert calls[:2] == ["ours", "peer, a little"]
    rounds = [calls[k : k + 2] for k in range(2, len(calls), 2)]
    assert len(rounds) == runs
    # each goes first as often as the other
    assert rounds == [["ours", "peer"] if k % 2 == 0 else ["peer", "ours"] for k in range(runs)]
    assert len(timings["ours"].seconds) == len(timings["peer"].cpu_seconds) == runs


@given(ours=SECONDS, peer=SECONDS, scale=st.floats(1e-3, 1e6))
def test_the_ratio_is_that_of_the_seconds(ours: list[float], peer: list[float], scale: float) -> None:
    row = result_row(
        "x", timing(ours), timing(peer), peer_description="p", evaluations=1, equal_to_reference=True, peer_scale=scale
    )
    assert row["ours_seconds"] == statistics.median(ours)
    assert row["ratio"] * row["ours_seconds"] == pytest.approx(row["peer_seconds"])
    assert row["peer_seconds"] == pytest.approx(scale * statistics.median(peer))
    assert row["ours_cpu_seconds"] == pytest.approx(2.0 * row["ours_seconds"])
    assert row["peer_cpu_seconds"] == pytest.approx(2.0 * row["peer_seconds"])
    json.dumps(row, allow_nan=False)


@given(st.lists(SECONDS, min_size=1, max_size=5))
def test_several_tasks_are_combined_by_all_their_runs_or_by_their_medians(all_seconds: list[list[float]]) -> None:
    timings = [timing(seconds) for seconds in all_seconds]
    assert pooled(timings).median == statistics.median(s for seconds in all_seconds for s in seconds)
    assert medians(timings).median == statistics.median(statistics.median(seconds) for seconds in all_seconds)


def test_wall_time_and_processor_time_are_separate(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, processor = iter([0.0, 9.0, 10.0, 15.0]), iter([0.0, 1.0, 100.0, 102.0])
    monkeypatch.setattr("imhead.benchmark.timing.time.perf_counter", lambda: next(wall))
    monkeypatch.setattr("imhead.benchmark.timing.time.process_time", lambda: next(processor))
    found = interleaved([Task("work", lambda: None)], 1, CPU)["work"]
    assert found == Timing((5.0,), (2.0,), 9.0)


def test_the_conditions_name_threads_torch_and_chip() -> None:
    found = conditions(CPU)
    assert found["threads"] == torch.get_num_threads() and found["torch"] == torch.__version__
    assert found["device"] == "cpu" and found["chip"]
