"""A session's thread: it runs actions in order, and only the latest one of a moving slider."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Action = Callable[[], None]


class Worker:
    """Runs actions one after another on a thread of its own.

    Args:
        on_error: called with every exception; the thread goes on.
        on_rest: called once when nothing has come for `rest_s` after a draft.
        rest_s: seconds of rest.
    """

    def __init__(self, on_error: Callable[[Exception], None], on_rest: Action, rest_s: float = 0.35) -> None:
        self._on_error, self._on_rest, self._rest_s = on_error, on_rest, rest_s
        self._wake = threading.Condition()
        self._queue: deque[tuple[Action, bool]] = deque()
        self._draft: tuple[str, Action] | None = None
        self._rest_due = False
        self._closed = False
        self._idle = True
        self._thread = threading.Thread(target=self._run, name="imhead-studio", daemon=True)
        self._thread.start()

    def do(self, action: Action, *, refreshes: bool = False) -> None:
        """Run an action after all earlier ones; a pending draft runs first.

        Args:
            refreshes: the action ends by showing the state, so earlier actions need not.
        """
        with self._wake:
            if self._closed:
                return
            self._queue_draft()
            self._queue.append((action, refreshes))
            self._wake.notify_all()

    def draft(self, control: str, action: Action) -> None:
        """Run an action unless a newer one of the same control replaces it first.

        So a moving slider never shows a stale value, and its last value is never lost.
        """
        with self._wake:
            if self._closed:
                return
            if self._draft is not None and self._draft[0] != control:
                self._queue_draft()
            self._draft = (control, action)
            self._wake.notify_all()

    def wait(self, timeout_s: float = 60.0) -> bool:
        """Wait until nothing is left to do, rest included; returns whether that was in time."""
        with self._wake:
            return self._wake.wait_for(lambda: self._closed or self._settled(), timeout_s)

    @property
    def overtaken(self) -> bool:
        """Whether a later action will show the state again, so that the current one need not."""
        with self._wake:
            return self._is_overtaken()

    def overtaken_within(self, seconds: float) -> bool:
        """`overtaken`, waiting for it for some seconds; any other action ends the wait, too."""
        with self._wake:
            self._wake.wait_for(lambda: self._closed or self._queue or self._draft is not None, seconds)
            return self._is_overtaken()

    def close(self) -> None:
        """Drop all pending actions, and end the thread after the current one."""
        with self._wake:
            self._closed = True
            self._queue.clear()
            self._draft = None
            self._wake.notify_all()

    def join(self, timeout_s: float = 10.0) -> None:
        """Wait for the end of the thread."""
        self._thread.join(timeout_s)

    def _is_overtaken(self) -> bool:
        # a draft is followed by a rest, which shows the state
        return self._draft is not None or any(refreshes for _, refreshes in self._queue)

    def _queue_draft(self) -> None:
        if self._draft is not None:
            self._queue.append((self._draft[1], False))
            self._draft, self._rest_due = None, True

    def _settled(self) -> bool:
        return self._idle and not self._queue and self._draft is None and not self._rest_due

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception as error:  # the person reads a message and goes on
                self._on_error(error)
            del action  # it may refer to a page, and the wait for the next one is long
            with self._wake:
                self._idle = True
                self._wake.notify_all()

    def _next(self) -> Action | None:
        with self._wake:
            while not self._closed:
                if self._queue:
                    self._idle = False
                    return self._queue.popleft()[0]
                if self._draft is not None:
                    action, self._draft = self._draft[1], None
                    self._idle, self._rest_due = False, True
                    return action
                woken = self._wake.wait(self._rest_s if self._rest_due else None)
                if self._rest_due and not woken:
                    self._idle, self._rest_due = False, False
                    return self._on_rest
            return None
