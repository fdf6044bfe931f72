"""How fast work goes, and how long the rest takes, as a person reads it."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress

from imhead.cli.pace import PaceBars, pace


def test_a_pace_names_the_work_the_rate_and_the_time_left() -> None:
    assert pace("scans", 0, 300, 0.0) == "scans: 0 of 300"
    assert pace("scans", 12, 300, 108.0) == "scans: 12 of 300, 400 an hour, 43 min left"
    assert pace("people", 1, 3, 600.0) == "people: 1 of 3, 6.0 an hour, 20 min left"
    assert pace("scans", 299, 300, 2691.0) == "scans: 299 of 300, 400 an hour, 9 s left"
    assert pace("scans", 10, 50_000, 90.0) == "scans: 10 of 50000, 400 an hour, 125.0 h left"


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.floats(1e-3, 1e7))
def test_at_the_end_nothing_is_left(done: int, more: int, seconds: float) -> None:
    assert ("left" in pace("scans", done, done + more, seconds)) == (more > 0)


def test_where_no_bar_can_be_drawn_a_line_is_said_each_minute() -> None:
    now = [0.0]
    said = Console(file=io.StringIO(), force_terminal=False)
    bars = PaceBars(Progress(console=said), clock=lambda: now[0], tell=lambda line: lines.append(line))
    lines: list[str] = []
    for second in range(0, 181, 10):
        now[0] = float(second)
        bars("scans", second // 10, 100)
    assert [line.split(",")[0] for line in lines] == ["scans: 7 of 100", "scans: 14 of 100"]
