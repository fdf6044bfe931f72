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

from imhead.api.workers import Lost, in_workers
from imhead.checkpoint import Model
from imhead.curation.config import CurationConfig
from imhead.curation.decisions import Decision, read_decisions
from imhead.curation.duplicates import shape_print
from imhead.curation.finding import found_alone, open_scan
from imhead.curation.inputs import RawScan, raw_scans
from imhead.curation.joining import joined_person
from imhead.curation.page import write_page
from imhead.curation.people import TOPOLOGY, keep_only, write_person
from imhead.curation.pictures import scan_picture
from imhead.curation.problems import Problem
from imhead.curation.store import FOUND, PICTURE, PLACED, SCAN_PICTURE, Record, ScanFolder, mark_of, write_json
from imhead.curation.table import ROUND_COLUMNS, ROUNDS, Entry, csv_bytes, round_rows, write_summary
from imhead.curation.verdicts import audited_alone, first_of_each, verdicts
from imhead.errors import InputError, one_line, refusal
from imhead.fitting.start import pose_template
from imhead.io.atomic import check_folder, remove, write_atomically
from imhead.io.limited import read_scan_limited
from imhead.io.picture_file import write_picture
from imhead.template.surface import template_of

CURATED = "curated.json"
"""Name of the file that says what a folder holds."""
_LOG = logging.getLogger(__name__)
_FOUND_VERSION, _PLACED_VERSION = 1, 2  # raised whenever the same scan gets other figures
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
    jobs: int

    def folder(self, raw: RawScan) -> ScanFolder:
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
        config: settings.
        progress: called after each piece of work.

    Raises:
        InputError: no scans, a table that cannot be read, a folder that cannot be written to, or a model without a
            template.
    """
    check_folder(out)
    raws = raw_scans(scans, people)
    decisions = read_decisions(out)
    template_of(model)
    pose_template(model)  # made once, before the workers are forked
    run = _Run(model, out, config, jobs)
    first = first_of_each(raws)
    found = _find(run, list(first.values()), progress)
    alone, same = audited_alone(raws, found, config.limits)
    placed, marks = _join(run, raws, found, alone, same, decisions, progress)
    entries = verdicts(raws, found, placed, alone, same, decisions, config.limits)
    _write_people(run, entries, marks)
    rounds = _write_tables(run, entries, decisions)
    return Curation(out, tuple(entries), tuple(rounds))


def _work(
    what: str, do: Callable[[int], None], count: int, jobs: int, progress: Progress
) -> Iterator[tuple[int, str | None]]:
    """`do` of each item, in processes or here: (item, why it failed or None) as they are done."""
    kept = partial(_failure, do)
    results: Iterator[tuple[int, str | Lost | None]] = (
        ((item, kept(item)) for item in range(count)) if jobs == 1 else in_workers(kept, count, jobs)
    )
    for done, (item, result) in enumerate(results, 1):
        progress(what, done, count)
        yield item, str(result) if isinstance(result, Lost) else result


def _failure(do: Callable[[int], None], item: int) -> str | None:
    """Why an item cannot be done, in words; None once it is."""
    try:
        do(item)
    except Exception as error:  # the other scans are still curated
        _LOG.debug("item %d", item, exc_info=True)
        return refusal(error) or f"internal error: {type(error).__name__}: {error}"
    return None


def _find(run: _Run, raws: Sequence[RawScan], progress: Progress) -> dict[str, Record]:
    """Digest → the record of each scan's own fit, with the print of its shape as its only array."""
    missing = [raw for raw in raws if run.folder(raw).read(FOUND, run.found_mark(raw), ()) is None]
    failed: dict[str, str] = {}
    for item, why in _work("scans", partial(_find_one, run, missing), len(missing), run.jobs, progress):
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
        marks = shape_print(read_scan_limited(raw.path).points)
        record = found_alone(raw, run.model, run.config)
        scan, _ = open_scan(raw, run.config)
    except InputError as error:
        folder.write(FOUND, mark, Record({}, {"problem": asdict(Problem("unreadable", str(error)))}))
        return
    picture = scan_picture(scan, record.arrays.get("scan_to_head"))
    if picture is not None:
        write_picture(picture, folder.folder / SCAN_PICTURE, compress_level=4)
    folder.write(FOUND, mark, Record(record.arrays | {"print": marks}, record.figures))


def _join(
    run: _Run,
    raws: Sequence[RawScan],
    found: Mapping[str, Record],
    alone: Mapping[str, list[Problem]],
    same: Mapping[str, Problem],
    decisions: Mapping[str, Decision],
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
    missing = [
        members for members in people
        if any(run.folder(raw).read(PLACED, marks[raw.digest], ()) is None for raw in members)
    ]  # fmt: skip
    # people with many scans first: no process is left alone with one in the end
    missing.sort(key=lambda members: (-len(members), members[0].file))

    work = partial(_join_one, run, missing, marks)
    failed: dict[str, str] = {}
    for item, why in _work("people", work, len(missing), run.jobs, progress):
        if why is not None:
            failed |= {raw.digest: one_line(why) for raw in missing[item]}
    placed: dict[str, Record] = {}
    for members in people:
        for raw in members:
            record = run.folder(raw).read(PLACED, marks[raw.digest], ())
            if record is None:
                record = Record({}, {"found": False, "failed": failed.get(raw.digest, "its record cannot be read")})
            placed[raw.digest] = record
    return placed, marks


def _join_one(run: _Run, people: Sequence[Sequence[RawScan]], marks: Mapping[str, str], item: int) -> None:
    members = []
    for raw in people[item]:
        record = run.folder(raw).read(FOUND, run.found_mark(raw))
        if record is None:
            raise InputError(f"{raw.path}: its record was removed; run the command again")
        members.append((raw, record))
    for (raw, _), result in zip(members, joined_person(members, run.model, run.config)):
        folder = run.folder(raw)
        if result.picture is None:
            remove(folder.folder / PICTURE)
        else:
            write_picture(result.picture, folder.folder / PICTURE, compress_level=4)
        folder.write(PLACED, marks[raw.digest], result.record)


def _write_people(run: _Run, entries: Sequence[Entry], marks: Mapping[str, str]) -> None:
    groups: dict[str, list[RawScan]] = {}
    for entry in entries:
        folder = run.folder(entry.raw)
        if entry.verdict.accepted:
            folder.accept()
            groups.setdefault(entry.raw.person, []).append(entry.raw)
        elif entry.alone is not None:  # a copy has no folder of its own
            problem = entry.verdict.problems[0]
            folder.refuse(problem.kind, problem.sentence)
    for person, members in groups.items():
        placed = [run.folder(raw).read(PLACED, marks[raw.digest]) for raw in members]
        known = [(raw, record) for raw, record in zip(members, placed) if record is not None]
        write_person(run.out, person, known, run.model, marks)
    keep_only(run.out, list(groups))
    topology = (resources.files("imhead") / "assets" / TOPOLOGY).read_bytes()
    path = run.out / TOPOLOGY
    if not path.is_file() or path.read_bytes() != topology:
        write_atomically(path, topology)


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
