"""What runs beside the edits: it is shown, ends when it is cancelled, and runs once."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.studio.session import scans, uploads
from imhead.studio.session import tab_session as session_module
from imhead.studio.session.jobs import Cancelled, Jobs, JobState
from imhead.studio.session.tab_session import TabSession
from imhead.studio.state.commands.library import RandomHead


class Board:
    """Records what is shown of the jobs."""

    def __init__(self) -> None:
        self.shown: list[tuple[JobState, ...]] = []

    def __call__(self, jobs: tuple[JobState, ...]) -> None:
        self.shown.append(jobs)


def test_a_job_says_what_it_does_and_how_far_it_is_and_leaves_when_it_ends() -> None:
    board = Board()
    with Jobs(board).running("face.ply", "upload", "busy") as job:
        job.tell("reading", 0.25)
    told = [(one.title, one.stage, one.part) for jobs in board.shown for one in jobs]
    assert told[-1] == ("face.ply", "reading", 0.25)
    assert board.shown[-1] == ()


def test_a_second_job_of_a_kind_is_refused_while_the_first_runs() -> None:
    jobs = Jobs(Board())
    refused = pytest.raises(InputError, match="one at a time")
    with jobs.running("a", "report", "one at a time"), refused, jobs.running("b", "report", "one at a time"):
        raise AssertionError("two at once")
    with jobs.running("c", "report", "one at a time"):
        pass


def test_a_cancelled_job_ends_without_an_error_and_calls_what_ends_its_process() -> None:
    jobs, ended = Jobs(Board()), threading.Event()
    with jobs.running("a", "report", "busy") as job:
        job.when_cancelled(ended.set)
        jobs.cancel(job.number)
        with pytest.raises(Cancelled):
            job.check()
        job.tell("more", 0.5)
        raise AssertionError("it went on")
    assert ended.is_set() and jobs.states() == ()
    jobs.cancel(99)


class Page:
    """A page that remembers errors, files and jobs."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.files: list[str] = []
        self.jobs: tuple[JobState, ...] = ()

    def show_error(self, sentence: str, nearest: object) -> None:
        self.errors.append(sentence)

    def show_jobs(self, jobs: tuple[JobState, ...]) -> None:
        self.jobs = jobs

    def download(self, name: str, content: bytes) -> None:
        self.files.append(name)

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def until(what: Any, seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(what())


@pytest.fixture
def opened(model: Model) -> Any:
    session, page = TabSession(model, threading.Lock()), Page()
    session.attach(lambda: page)  # type: ignore[arg-type,return-value]
    session.do(RandomHead(1))
    assert session.wait()
    yield session, page
    session.close()
    session.join()


def test_a_report_is_written_once_at_a_time_and_can_be_cancelled(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session, page = opened
    processes: list[Any] = []
    original = session_module.written_apart.__globals__["started"]

    def started(*words: Any) -> Any:
        processes.append(original(*words))
        return processes[-1]

    monkeypatch.setitem(session_module.written_apart.__globals__, "started", started)
    session.export("report")
    assert until(lambda: processes and page.jobs)
    session.export("report")
    assert until(lambda: page.errors)
    assert page.errors == ["the report is being written; wait for it, or cancel it"]
    session.cancel(page.jobs[0].number)
    assert until(lambda: page.jobs == ())
    assert processes[0].wait(10.0) != 0, "its process was ended"
    assert len(processes) == 1 and page.files == [] and len(page.errors) == 1


def test_a_fit_ends_where_it_next_says_how_far_it_is(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session, page = opened
    cancelled = threading.Event()

    def fit(*_: Any, progress: Any, **__: Any) -> None:
        progress("pose", 0.0)
        assert cancelled.wait(60.0)
        progress("codes", 0.2)
        raise AssertionError("it went on")

    monkeypatch.setattr(scans, "fit_scan", fit)
    monkeypatch.setattr(uploads.Reader, "vet", lambda *_: "scan")
    scan = type("Scan", (), {"colored": False, "name": "face"})()
    monkeypatch.setattr(uploads, "vetted_scan", lambda *_: scan)
    session.upload("face.ply", b"ply")
    assert until(lambda: page.jobs and page.jobs[0].stage == "looking for the face")
    session.cancel(page.jobs[0].number)
    assert page.jobs[0].ending
    cancelled.set()
    assert until(lambda: page.jobs == ())
    assert page.errors == [] and session.studio.document.names() == ("mean head", "random 1")
    assert not session._fit_lock.locked()
