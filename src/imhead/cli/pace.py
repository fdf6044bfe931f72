"""How fast many pieces of work are done, and how long the others will take."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.progress import Progress, TaskID

from imhead.cli.console import say

_LINE_S = 60.0  # between two lines where no bar can be drawn


def pace(what: str, done: int, total: int, seconds: float) -> str:
    """`scans: 12 of 300, 410 an hour, 42 min left`; without the pace before the first piece is done.

    Args:
        what: the pieces.
        done: those that took `seconds`.
        total: all of them.
        seconds: time on the clock.
    """
    said = f"{what}: {done} of {total}"
    if done <= 0 or seconds <= 0.0:
        return said
    hourly = 3600.0 * done / seconds
    said += f", {hourly:.0f} an hour" if hourly >= 10.0 else f", {hourly:.1f} an hour"
    left = (total - done) * seconds / done
    if left <= 0.0:
        return said
    if left < 90.0:
        return f"{said}, {left:.0f} s left"
    return f"{said}, {left / 60.0:.0f} min left" if left < 5400.0 else f"{said}, {left / 3600.0:.1f} h left"


class PaceBars:
    """A bar with its pace for each kind of work, or a line a minute where the screen is a file."""

    def __init__(
        self, bar: Progress, clock: Callable[[], float] = time.monotonic, tell: Callable[[str], None] = say.print
    ) -> None:
        self._bar, self._clock, self._tell = bar, clock, tell
        self._known: dict[str, tuple[TaskID, float]] = {}
        self._said = clock()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` are done; the first call for a kind of work begins it."""
        now = self._clock()
        if what not in self._known:
            self._known[what] = (self._bar.add_task(what, total=total), now)
        task, began = self._known[what]
        told = pace(what, done, total, now - began)
        self._bar.update(task, total=total, completed=done, description=told)
        if not self._bar.console.is_terminal and now > self._said + _LINE_S:
            self._said = now
            self._tell(told)
