"""The thread of a session: in order, nothing stale, and no way for a failure to end it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from imhead.studio.session.worker import Worker


class Recorder:
    """A worker whose actions are written down, and a gate that holds it."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.gate = threading.Event()
        self.worker = Worker(self.done.append, lambda: self.done.append("rest"), rest_s=0.02)

    def write(self, what: object) -> Callable[[], None]:
        return lambda: self.done.append(what)

    def hold(self) -> None:
        began = threading.Event()

        def action() -> None:
            began.set()
            self.gate.wait(10.0)

        self.worker.do(action)
        assert began.wait(10.0)

    def let_go(self) -> list[object]:
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


def test_actions_are_carried_out_in_order(recorder: Recorder) -> None:
    recorder.hold()
    for k in range(20):
        recorder.worker.do(recorder.write(k))
    assert recorder.let_go() == list(range(20))


def test_of_a_moving_slider_only_the_newest_place_is_carried_out(recorder: Recorder) -> None:
    recorder.hold()
    for k in range(50):
        recorder.worker.draft("slider", recorder.write(k))
    assert recorder.let_go() == [49, "rest"]


def test_the_last_place_of_one_slider_is_not_lost_to_the_next_slider(recorder: Recorder) -> None:
    recorder.hold()
    recorder.worker.draft("a", recorder.write("a1"))
    recorder.worker.draft("a", recorder.write("a2"))
    recorder.worker.draft("b", recorder.write("b1"))
    recorder.worker.draft("b", recorder.write("b2"))
    assert recorder.let_go() == ["a2", "b2", "rest"]


def test_an_action_comes_after_the_draft_before_it(recorder: Recorder) -> None:
    recorder.hold()
    recorder.worker.draft("a", recorder.write("draft"))
    recorder.worker.do(recorder.write("undo"))
    assert recorder.let_go() == ["draft", "undo", "rest"]


def test_a_pointer_that_rests_is_told_once(recorder: Recorder) -> None:
    for k in range(3):
        recorder.worker.draft("a", recorder.write(k))
        assert recorder.worker.wait(10.0)
    assert recorder.done == [0, "rest", 1, "rest", 2, "rest"]


def test_a_failure_is_told_and_the_next_action_is_carried_out(recorder: Recorder) -> None:
    error = ValueError("broken")

    def fail() -> None:
        raise error

    recorder.worker.do(fail)
    recorder.worker.do(recorder.write("next"))
    assert recorder.worker.wait(10.0)
    assert recorder.done == [error, "next"]


def test_a_closed_worker_takes_nothing_and_its_thread_ends(recorder: Recorder) -> None:
    recorder.hold()
    recorder.worker.do(recorder.write("dropped"))
    recorder.worker.close()
    recorder.worker.do(recorder.write("refused"))
    recorder.worker.draft("a", recorder.write("refused"))
    recorder.gate.set()
    recorder.worker.join()
    assert recorder.done == []
    assert not any(
        thread.name == "imhead-studio" and thread is recorder.worker._thread for thread in threading.enumerate()
    )
