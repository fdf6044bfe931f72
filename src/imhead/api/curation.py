"""Curate a folder of scans: each scan alone, each person together, the audit, and the sheet.

Work is kept in the folder as it is done. A run that was stopped goes on, and one with more scans does what is new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imhead.api.curation_steps import Progress, Run, find, join, write_people
from imhead.api.workers import WORKER_BYTES, Processes, Workers
from imhead.checkpoint import Model
from imhead.curation.config import CurationConfig
from imhead.curation.decisions import Decision, read_decisions
from imhead.curation.inputs import raw_scans
from imhead.curation.page import write_page
from imhead.curation.store import write_json
from imhead.curation.table import ROUND_COLUMNS, ROUNDS, Entry, round_rows, write_summary
from imhead.curation.verdicts import audited_alone, first_of_each, verdicts
from imhead.fitting.start import pose_template
from imhead.io.atomic import check_folder, write_atomically
from imhead.io.csv_file import csv_bytes
from imhead.io.json_file import read_json_object
from imhead.template.surface import template_of

CURATED = "curated.json"
"""Name of the file that says what a folder holds."""


@dataclass(frozen=True, eq=False)
class Curation:
    """What became of a folder of scans."""

    folder: Path
    """Where the results lie."""
    entries: tuple[Entry, ...]
    """A verdict on each file, in the order of the files."""
    rounds: tuple[tuple[Any, ...], ...]
    """A row of figures for each model that the scans were fitted with, the present one last."""

    @property
    def accepted(self) -> tuple[Entry, ...]:
        """The scans to learn from."""
        return tuple(entry for entry in self.entries if entry.verdict.accepted)

    def report(self) -> dict[str, Any]:
        """Counts, and the kinds of problems, for a program."""
        kinds: dict[str, int] = {}
        for entry in self.entries:
            if not entry.verdict.accepted:
                kind = entry.verdict.problems[0].kind
                kinds[kind] = kinds.get(kind, 0) + 1
        return {
            "scans": len(self.entries),
            "accepted": len(self.accepted),
            "refused": len(self.entries) - len(self.accepted),
            "people": len({entry.raw.person for entry in self.accepted}),
            "reasons": dict(sorted(kinds.items())),
            "rounds": [dict(zip(ROUND_COLUMNS, row)) for row in self.rounds],
        }


def curate(
    scans: Path,
    out: Path,
    model: Model,
    *,
    people: Path | None = None,
    jobs: int = 1,
    workers: Workers | None = None,
    config: CurationConfig = CurationConfig(),
    progress: Progress = lambda what, done, total: None,
) -> Curation:
    """Curate the scans of a folder into another.

    Args:
        scans: `person/expression.ply`, or plain files.
        out: made where missing; earlier work in it is kept.
        model: to fit; with another than before, the scans are fitted again beside the earlier round.
        people: a CSV that says who is who, and more.
        jobs: processes, of one thread each; 1 works in this process, with all its threads.
        workers: who does the work instead, as a `cluster_at` an address.
        config: settings.
        progress: called with `scans`, `people`, `registrations` and `files` of people, before each and as it is done.

    Raises:
        InputError: no scans, a table that cannot be read, a folder that cannot be written to, or a model without a
            template.
    """
    check_folder(out)
    raws = raw_scans(scans, people)
    decisions = read_decisions(out)
    template_of(model)
    pose_template(model)  # made once, before the workers are forked
    run = Run.of(model, out, config)
    workers = workers or Processes(jobs, WORKER_BYTES)
    first = first_of_each(raws)
    found = find(run, list(first.values()), workers, progress)
    alone, same = audited_alone(raws, found, config.limits)
    placed, marks = join(run, raws, found, alone, same, decisions, workers, progress)
    entries = verdicts(raws, found, placed, alone, same, decisions, config.limits)
    write_people(run, entries, marks, workers, progress)
    rounds = _write_tables(run, entries, decisions)
    return Curation(out, tuple(entries), tuple(rounds))


def _write_tables(run: Run, entries: Sequence[Entry], decisions: Mapping[str, Decision]) -> list[tuple[Any, ...]]:
    path = run.out / CURATED
    try:
        kept = (read_json_object(path) or {})["rounds"]
        earlier = {name: (int(a), int(r)) for name, (a, r) in kept.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        earlier = {}
    earlier.pop(run.model.hash, None)
    rounds = round_rows(run.out, entries, run.model.hash, earlier)
    write_summary(run.out, entries)
    write_atomically(run.out / ROUNDS, csv_bytes(ROUND_COLUMNS, rounds))
    write_page(run.out, entries, run.model.hash, decisions, rounds)
    accepted = sum(entry.verdict.accepted for entry in entries)
    counts = {
        name: list(pair) for name, pair in (earlier | {run.model.hash: (accepted, len(entries) - accepted)}).items()
    }
    write_json(
        path,
        {"format": "imhead-curated-1", "model": run.model.hash, "limits": asdict(run.config.limits), "rounds": counts},
    )
    return rounds
