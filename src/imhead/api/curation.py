"""Curate a folder of scans: each scan alone, each person together, the audit, and the sheet.

Work is kept in the folder as it is done. A run that was stopped goes on, and one with more scans does what is new.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from imhead.api.workers import WORKER_BYTES, Processes, Workers
from imhead.checkpoint import Model
from imhead.curation.config import CurationConfig
from imhead.curation.decisions import Decision, read_decisions
from imhead.curation.finding import found_alone
from imhead.curation.inputs import RawScan, raw_scans
from imhead.curation.joining import joined_person
from imhead.curation.page import write_page
from imhead.curation.people import TOPOLOGY, keep_only, person_is_written, write_person
from imhead.curation.problems import Problem
from imhead.curation.registering import registered_scan
from imhead.curation.store import FOUND, JOINED, PICTURE, PLACED, SCAN_PICTURE, Record, ScanFolder, mark_of, write_json
from imhead.curation.table import ROUND_COLUMNS, ROUNDS, Entry, csv_bytes, round_rows, write_summary
from imhead.curation.verdicts import audited_alone, first_of_each, verdicts
from imhead.errors import InputError, one_line, refusal
from imhead.fitting.start import pose_template
from imhead.io.atomic import check_folder, remove, write_atomically
from imhead.io.picture_file import write_picture
from imhead.template.surface import template_of

CURATED = "curated.json"
"""Name of the file that says what a folder holds."""
_LOG = logging.getLogger(__name__)
_FOUND_VERSION, _PLACED_VERSION = 1, 4  # raised whenever the same scan gets other figures
Progress = Callable[[str, int, int], None]
"""Called with what is done, and how many of how many."""


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


@dataclass(frozen=True, eq=False)
class _Run:
    """What every step of a run knows, in any process."""

    model: Model
    out: Path
    config: CurationConfig

    def folder(self, raw: RawScan) -> ScanFolder:
        """Where the work on a scan lies."""
        return ScanFolder.of(self.out, raw.digest, self.model.hash)

    def found_mark(self, raw: RawScan) -> str:
        """Mark of a scan's own fit: no limit of the audit is part of it."""
        config = self.config
        return mark_of("found", _FOUND_VERSION, self.model.hash, config.fit, config.turns, config.cleaning, raw.key)


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
    run = _Run(model, out, config)
    workers = workers or Processes(jobs, WORKER_BYTES)
    first = first_of_each(raws)
    found = _find(run, list(first.values()), workers, progress)
    alone, same = audited_alone(raws, found, config.limits)
    placed, marks = _join(run, raws, found, alone, same, decisions, workers, progress)
    entries = verdicts(raws, found, placed, alone, same, decisions, config.limits)
    _write_people(run, entries, marks, workers, progress)
    rounds = _write_tables(run, entries, decisions)
    return Curation(out, tuple(entries), tuple(rounds))


def _work(
    what: str, do: Callable[[int], None], count: int, workers: Workers, progress: Progress
) -> Iterator[tuple[int, str | None]]:
    """`do` of each item by the workers: (item, why it failed or None) as they are done."""
    if count:
        progress(what, 0, count)
    for done, (item, result) in enumerate(workers(partial(_failure, do), count), 1):
        progress(what, done, count)
        yield item, None if result is None else str(result)


def _failure(do: Callable[[int], None], item: int) -> str | None:
    """Why an item cannot be done, in words; None once it is."""
    try:
        do(item)
    except Exception as error:  # the other scans are still curated
        _LOG.debug("item %d", item, exc_info=True)
        return refusal(error) or f"internal error: {type(error).__name__}: {error}"
    return None


def _find(run: _Run, raws: Sequence[RawScan], workers: Workers, progress: Progress) -> dict[str, Record]:
    """Digest → the record of each scan's own fit, with the print of its shape as its only array."""
    missing = [raw for raw in raws if run.folder(raw).read(FOUND, run.found_mark(raw), ()) is None]
    failed: dict[str, str] = {}
    for item, why in _work("scans", partial(_find_one, run, missing), len(missing), workers, progress):
        if why is not None:
            failed[missing[item].digest] = why
    found = {}
    for raw in raws:
        record = run.folder(raw).read(FOUND, run.found_mark(raw), ("print",))
        if record is None:  # kept in no file: the next run tries again
            reason = one_line(failed.get(raw.digest, "its record cannot be read again"))
            record = Record({}, {"problem": asdict(Problem("unreadable", reason))})
        found[raw.digest] = record
    return found


def _find_one(run: _Run, raws: Sequence[RawScan], item: int) -> None:
    raw = raws[item]
    folder, mark = run.folder(raw), run.found_mark(raw)
    try:
        found = found_alone(raw, run.model, run.config)
    except InputError as error:
        folder.write(FOUND, mark, Record({}, {"problem": asdict(Problem("unreadable", str(error)))}))
        return
    if found.picture is not None:
        write_picture(found.picture, folder.folder / SCAN_PICTURE, compress_level=4)
    folder.write(FOUND, mark, found.record)


def _join(
    run: _Run,
    raws: Sequence[RawScan],
    found: Mapping[str, Record],
    alone: Mapping[str, list[Problem]],
    same: Mapping[str, Problem],
    decisions: Mapping[str, Decision],
    workers: Workers,
    progress: Progress,
) -> tuple[dict[str, Record], dict[str, str]]:
    """Digest → the record of each scan on its person's head, without arrays, and its mark."""
    groups: dict[str, list[RawScan]] = {}
    for raw in raws:
        decision = decisions.get(raw.digest)
        if raw.file in same or (decision is not None and not decision.accept):
            continue
        kinds = {problem.kind for problem in alone[raw.file]}
        # a profile may be found with the person's own head
        if not kinds or kinds == {"no_head"} or (decision is not None and found[raw.digest].figures["problem"] is None):
            groups.setdefault(raw.person, []).append(raw)
    people = [
        members for members in groups.values() if any(found[raw.digest].figures["problem"] is None for raw in members)
    ]
    marks: dict[str, str] = {}
    for members in people:
        # the one limit on which it depends who shapes the person's head
        asked = (run.config.kept_points, run.config.limits.mirror_excess_mm)
        mark = mark_of("placed", _PLACED_VERSION, *asked, *map(run.found_mark, members))
        marks |= {raw.digest: mark for raw in members}
    waiting = [raw for members in people for raw in members if _lacks(run, raw, PLACED, marks)]
    waits = {raw.digest for raw in waiting if _lacks(run, raw, JOINED, marks)}
    missing = [members for members in people if any(raw.digest in waits for raw in members)]
    # people with many scans first: no process is left alone with one in the end
    missing.sort(key=lambda members: (-len(members), members[0].file))
    failed: dict[str, str] = {}
    for item, why in _work("people", partial(_join_one, run, missing, marks), len(missing), workers, progress):
        if why is not None:
            failed |= {raw.digest: one_line(why) for raw in missing[item]}
    waiting = [raw for raw in waiting if not _lacks(run, raw, JOINED, marks) and _lacks(run, raw, PLACED, marks)]
    work = partial(_register_one, run, waiting, marks)
    for item, why in _work("registrations", work, len(waiting), workers, progress):
        if why is not None:
            failed[waiting[item].digest] = one_line(why)
    placed: dict[str, Record] = {}
    for members in people:
        for raw in members:
            record = run.folder(raw).read(PLACED, marks[raw.digest], ())
            if record is None:
                record = Record({}, {"found": False, "failed": failed.get(raw.digest, "its record cannot be read")})
            else:
                remove(run.folder(raw).folder / JOINED)
            placed[raw.digest] = record
    return placed, marks


def _lacks(run: _Run, raw: RawScan, name: str, marks: Mapping[str, str]) -> bool:
    return run.folder(raw).read(name, marks[raw.digest], ()) is None


def _join_one(run: _Run, people: Sequence[Sequence[RawScan]], marks: Mapping[str, str], item: int) -> None:
    members = []
    for raw in people[item]:
        record = run.folder(raw).read(FOUND, run.found_mark(raw))
        if record is None:
            raise InputError(f"{raw.path}: its record was removed; run the command again")
        members.append((raw, record))
    for (raw, _), record in zip(members, joined_person(members, run.model, run.config)):
        folder = run.folder(raw)
        if record.arrays:
            folder.write(JOINED, marks[raw.digest], record)
        else:
            remove(folder.folder / PICTURE)
            folder.write(PLACED, marks[raw.digest], record)


def _register_one(run: _Run, raws: Sequence[RawScan], marks: Mapping[str, str], item: int) -> None:
    raw = raws[item]
    folder, mark = run.folder(raw), marks[raw.digest]
    joined = folder.read(JOINED, mark)
    if joined is None:
        raise InputError(f"{raw.path}: its record was removed; run the command again")
    found = registered_scan(raw, joined, run.model, run.config)
    if found.picture is None:
        remove(folder.folder / PICTURE)
    else:
        write_picture(found.picture, folder.folder / PICTURE, compress_level=4)
    folder.write(PLACED, mark, found.record)


def _write_people(
    run: _Run, entries: Sequence[Entry], marks: Mapping[str, str], workers: Workers, progress: Progress
) -> None:
    groups: dict[str, list[RawScan]] = {}
    for entry in entries:
        folder = run.folder(entry.raw)
        if entry.verdict.accepted:
            folder.accept()
            groups.setdefault(entry.raw.person, []).append(entry.raw)
        elif entry.alone is not None:  # a copy has no folder of its own
            problem = entry.verdict.problems[0]
            folder.refuse(problem.kind, problem.sentence)
    missing = [
        members for person, members in groups.items() if not person_is_written(run.out, person, members, marks)
    ]  # fmt: skip
    for item, why in _work("files", partial(_write_one, run, missing, marks), len(missing), workers, progress):
        if why is not None:
            raise InputError(f"the file of {missing[item][0].person} cannot be written: {why}; run the command again")
    keep_only(run.out, list(groups))
    topology = (resources.files("imhead") / "assets" / TOPOLOGY).read_bytes()
    path = run.out / TOPOLOGY
    if not path.is_file() or path.read_bytes() != topology:
        write_atomically(path, topology)


def _write_one(run: _Run, people: Sequence[Sequence[RawScan]], marks: Mapping[str, str], item: int) -> None:
    placed = [(raw, run.folder(raw).read(PLACED, marks[raw.digest])) for raw in people[item]]
    known = [(raw, record) for raw, record in placed if record is not None]
    if len(known) < len(placed):
        raise InputError("the record of a scan was removed")
    write_person(run.out, people[item][0].person, known, run.model, marks)


def _write_tables(run: _Run, entries: Sequence[Entry], decisions: Mapping[str, Decision]) -> list[tuple[Any, ...]]:
    path = run.out / CURATED
    try:
        earlier = {name: (int(a), int(r)) for name, (a, r) in json.loads(path.read_text())["rounds"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
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
