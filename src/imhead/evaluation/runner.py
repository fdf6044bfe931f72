"""Runs the cases of a suite in forked processes and reports each one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from imhead.parallel import in_processes

Row = dict[str, Any]
"""Figures of a case or of a suite, ready for JSON."""


@dataclass(frozen=True)
class CaseRunner:
    """How the cases of a suite are run."""

    progress: Callable[[str], None]
    """Receives a line of JSON after each case."""
    processes: int = 2
    """Cases that run at the same time."""

    def run(self, case: Callable[[int], Row], count: int, shown: Callable[[Row], Row] = dict) -> list[Row]:
        """`case(0) … case(count - 1)`, in order.

        Args:
            case: index → its figures.
            count: number of cases.
            shown: figures of a case → those that its progress line shows.
        """
        cases: list[Row] = []
        for row in in_processes(case, count, self.processes):
            cases.append(row)
            self.progress(json.dumps(shown(row)))
        return cases


def rounded(row: Row) -> Row:
    """A row with its floats rounded to three decimals."""
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}
