"""What runs for a tab beside its edits: reading and fitting a scan, writing a file. Each says how far it is, and ends
when the person cancels it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from imhead.errors import InputError


class Cancelled(Exception):
    """The person cancelled the job, or its page was closed."""


@dataclass(frozen=True)
class JobState:
    """A running job as the page shows it."""

    number: int
    """Its number in this tab."""
    title: str
    """What runs, such as the name of a file."""
    stage: str
    """What it does now."""
    part: float | None
    """How far it is, 0 to 1; None if nobody can tell."""
    ending: bool
    """Whether it was cancelled and has yet to end."""


class Job:
    """One running job."""

    def __init__(self, number: int, title: str, key: str, changed: Callable[[], None]) -> None:
        self.number, self.title, self.key = number, title, key
        self._stage, self._changed = "starting", changed
        self._part: float | None = None
        self._cancelled = threading.Event()
        self._at_end: Callable[[], None] | None = None

    @property
    def state(self) -> JobState:
        """What the page shows of it."""
        return JobState(self.number, self.title, self._stage, self._part, self._cancelled.is_set())

    def tell(self, stage: str, part: float | None = None) -> None:
        """Say how far the job is.

        Raises:
            Cancelled: it is to end.
        """
        self.check()
        self._stage, self._part = stage, part
        self._changed()

    def check(self) -> None:
        """Go on, unless the job was cancelled.

        Raises:
            Cancelled: it is to end.
        """
        if self._cancelled.is_set():
            raise Cancelled

    def when_cancelled(self, action: Callable[[], None]) -> None:
        """Call an action when the job is cancelled, or at once if it was; it ends what cannot look by itself."""
        self._at_end = action
        if self._cancelled.is_set():
            action()

    def cancel(self) -> None:
        """Ask the job to end."""
        self._cancelled.set()
        if self._at_end is not None:
            self._at_end()
        self._changed()


class Jobs:
    """The jobs of one tab.

    Args:
        changed: called with all of them whenever one changes.
    """

    def __init__(self, changed: Callable[[tuple[JobState, ...]], None]) -> None:
        self._changed = changed
        self._lock = threading.Lock()
        self._running: dict[int, Job] = {}
        self._count = 0

    @contextmanager
    def running(self, title: str, key: str, refusal: str) -> Iterator[Job]:
        """Be a job until the end of the context, which it leaves quietly when it is cancelled.

        Args:
            key: jobs of one key run one at a time.
            refusal: what is said while another one runs.

        Raises:
            InputError: another job of the key runs.
        """
        with self._lock:
            if any(job.key == key for job in self._running.values()):
                raise InputError(refusal)
            self._count += 1
            job = self._running[self._count] = Job(self._count, title, key, self.tell)
        self.tell()
        try:
            yield job
        except Cancelled:
            pass
        finally:
            with self._lock:
                del self._running[job.number]
            self.tell()

    def states(self) -> tuple[JobState, ...]:
        """What the page shows, in the order of their starts."""
        with self._lock:
            return tuple(job.state for job in self._running.values())

    def cancel(self, number: int) -> None:
        """Cancel one job; one that has ended is none."""
        with self._lock:
            job = self._running.get(number)
        if job is not None:
            job.cancel()

    def cancel_all(self) -> None:
        """Cancel every job."""
        for state in self.states():
            self.cancel(state.number)

    def tell(self) -> None:
        """Show the jobs."""
        self._changed(self.states())
