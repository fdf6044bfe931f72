"""A session's thread: it runs actions in order, drops stale ones, and survives errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from imhead.studio.session.worker import Worker


class Recorder:
    """A worker whose actions are recorded, and a gate that blocks it."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.gate = threading.Event()
        self.worker = Worker(self.done.append, lambda: self.done.append("rest"), rest_s=0.02)

    def record(self, what: object) -> Callable[[], None]:
        return lambda: self.done.append(what)

    def block(self) -> None:
        began = threading.Event()

        def action() -> None:
            began.set()
            self.gate.wait(10.0)

        self.worker.do(action)
        assert began.wait(10.0)

    def unblock(self) -> list[object]:
        self.gate.set()
        assert self.worker.wait(10.0)
        return self.done


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.gate.set()
    made.worker.close()
    made.worker.join()


def test_actions_run_in_order(recorder: Recorder) -> None:
    recorder.block()
    for k in range(20):
        recorder.worker.do(recorder.record(k))
    assert recorder.unblock() == list(range(20))


def test_only_the_latest_value_of_a_moving_slider_runs(recorder: Recorder) -> None:
    recorder.block()
    for k in range(50):
        recorder.worker.draft("slider", recorder.record(k))
    assert recorder.unblock() == [49, "rest"]


def test_the_last_value_of_a_slider_is_not_lost_when_another_one_moves(recorder: Recorder) -> None:
    recorder.block()
    recorder.worker.draft("a", recorder.record("a1"))
    recorder.worker.draft("a", recorder.record("a2"))
    recorder.worker.draft("b", recorder.record("b1"))
    recorder.worker.draft("b", recorder.record("b2"))
    assert recorder.unblock() == ["a2", "b2", "rest"]


def test_an_action_runs_after_an_earlier_draft(recorder: Recorder) -> None:
    recorder.block()
    recorder.worker.draft("a", recorder.record("draft"))
    recorder.worker.do(recorder.record("undo"))
    assert recorder.unblock() == ["draft", "undo", "rest"]


def test_an_action_can_wait_for_a_pause_of_the_slider(recorder: Recorder) -> None:
    worker, found = recorder.worker, recorder.done
    began = threading.Event()

    def action() -> None:
        began.set()
        found.append(worker.overtaken_within(10.0))

    worker.draft("slider", action)
    assert began.wait(10.0)
    worker.draft("slider", lambda: found.append(worker.overtaken_within(0.01)))
    assert worker.wait(10.0)
    assert found == [True, False, "rest"]


def test_each_rest_is_reported_once(recorder: Recorder) -> None:
    for k in range(3):
        recorder.worker.draft("a", recorder.record(k))
        assert recorder.worker.wait(10.0)
    assert recorder.done == [0, "rest", 1, "rest", 2, "rest"]


def test_an_error_is_reported_and_the_next_action_runs(recorder: Recorder) -> None:
    error = ValueError("broken")

    def fail() -> None:
        raise error

    recorder.worker.do(fail)
    recorder.worker.do(recorder.record("next"))
    assert recorder.worker.wait(10.0)
    assert recorder.done == [error, "next"]


def test_a_closed_worker_accepts_nothing_and_its_thread_ends(recorder: Recorder) -> None:
    recorder.block()
    recorder.worker.do(recorder.record("dropped"))
    recorder.worker.close()
    recorder.worker.do(recorder.record("refused"))
    recorder.worker.draft("a", recorder.record("refused"))
    recorder.gate.set()
    recorder.worker.join()
    assert recorder.done == []
    assert not any(
        thread.name == "imhead-studio" and thread is recorder.worker._thread for thread in threading.enumerate()
    )
