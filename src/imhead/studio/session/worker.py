"""One thread for each session: what a person does is carried out in order, and of a moving slider only the newest."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Action = Callable[[], None]


class Worker:
    """Carries out actions one after the other on a thread of its own.

    Args:
        failed: told of every exception; the thread goes on.
        rested: called once when nothing has come for a while after a draft.
        rest_s: that while, seconds.
    """

    def __init__(self, failed: Callable[[Exception], None], rested: Action, rest_s: float = 0.35) -> None:
        self._failed, self._rested, self._rest_s = failed, rested, rest_s
        self._wake = threading.Condition()
        self._queue: deque[tuple[Action, bool]] = deque()
        self._draft: tuple[str, Action] | None = None
        self._restless = False
        self._closed = False
        self._idle = True
        self._thread = threading.Thread(target=self._run, name="imhead-studio", daemon=True)
        self._thread.start()

    def do(self, action: Action, *, shows: bool = False) -> None:
        """Carry out an action after all that came before. A draft that has not begun is carried out first.

        Args:
            shows: it ends with showing the state, so what came before it need not.
        """
        with self._wake:
            if self._closed:
                return
            self._queue_draft()
            self._queue.append((action, shows))
            self._wake.notify_all()

    def draft(self, control: str, action: Action) -> None:
        """Carry out an action unless a newer one of the same control comes first.

        So of a slider that moves no stale place is ever shown, and the last place of a slider is never lost.
        """
        with self._wake:
            if self._closed:
                return
            if self._draft is not None and self._draft[0] != control:
                self._queue_draft()
            self._draft = (control, action)
            self._wake.notify_all()

    def wait(self, timeout_s: float = 60.0) -> bool:
        """Wait until nothing is left to do, rest included. Whether that came to be in time."""
        with self._wake:
            return self._wake.wait_for(lambda: self._closed or self._settled(), timeout_s)

    @property
    def overtaken(self) -> bool:
        """Whether something has come that will show the state anew: what is being made for a long look can be left."""
        with self._wake:  # after a draft comes a rest, and that shows
            return self._draft is not None or any(shows for _, shows in self._queue)

    def close(self) -> None:
        """Drop what has not begun, and end the thread when its action is done."""
        with self._wake:
            self._closed = True
            self._queue.clear()
            self._draft = None
            self._wake.notify_all()

    def join(self, timeout_s: float = 10.0) -> None:
        """Wait for the end of the thread."""
        self._thread.join(timeout_s)

    def _queue_draft(self) -> None:
        if self._draft is not None:
            self._queue.append((self._draft[1], False))
            self._draft, self._restless = None, True

    def _settled(self) -> bool:
        return self._idle and not self._queue and self._draft is None and not self._restless

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception as error:  # whatever goes wrong, a person reads a sentence and goes on
                self._failed(error)
            del action  # it may hold a page, and the wait for the next one is long
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
                    self._idle, self._restless = False, True
                    return action
                came = self._wake.wait(self._rest_s if self._restless else None)
                if self._restless and not came:
                    self._idle, self._restless = False, False
                    return self._rested
            return None
