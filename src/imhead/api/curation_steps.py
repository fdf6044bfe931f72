"""The steps of a curation: each item of work writes a file, whole or not at all, and is done by any process once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import resources
from pathlib import Path

from imhead.api.workers import Workers
from imhead.checkpoint import Model
from imhead.curation.config import CurationConfig
from imhead.curation.decisions import Decision
from imhead.curation.finding import found_alone
from imhead.curation.inputs import RawScan, content_digest
from imhead.curation.joining import joined_person
from imhead.curation.people import TOPOLOGY, keep_only, person_is_written, write_person
from imhead.curation.problems import SOUGHT, Problem
from imhead.curation.registering import registered_scan
from imhead.curation.store import FOUND, JOINED, PICTURE, PLACED, SCAN_PICTURE, Record, ScanFolder, mark_of
from imhead.curation.table import Entry
from imhead.encoding.encoder import encoder_path
from imhead.errors import InputError, one_line, refusal
from imhead.io.atomic import remove, write_atomically
from imhead.io.picture_file import write_picture
from imhead.template.surface import template_path

_LOG = logging.getLogger(__name__)
_FOUND_VERSION, _PLACED_VERSION = 2, 5  # raised whenever the same scan gets other figures
Progress = Callable[[str, int, int], None]
"""Called with what is done, and how many of how many."""


@dataclass(frozen=True, eq=False)
class Run:
    """What every step of a run knows, in any process."""

    model: Model
    out: Path
    config: CurationConfig
    encoder: str
    """Hash of the model's encoder, which may be trained anew, as the template may."""
    template: str
    """Hash of its template."""

    @classmethod
    def of(cls, model: Model, out: Path, config: CurationConfig) -> Run:
        """That of a model with a template."""
        assert model.path is not None
        encoder = encoder_path(model.path)
        known = content_digest(encoder) if encoder.is_file() else "none"
        return cls(model, out, config, known, content_digest(template_path(model.path)))

    def folder(self, raw: RawScan) -> ScanFolder:
        """Where the work on a scan lies."""
        return ScanFolder.of(self.out, raw.digest, self.model.hash)

    def found_mark(self, raw: RawScan) -> str:
        """Mark of a scan's own fit: no limit of the audit is part of it."""
        config = self.config
        return mark_of(
            "found", _FOUND_VERSION, self.model.hash, self.encoder, config.fit, config.turns, config.cleaning, raw.key
        )


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


def find(run: Run, raws: Sequence[RawScan], workers: Workers, progress: Progress) -> dict[str, Record]:
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


def _find_one(run: Run, raws: Sequence[RawScan], item: int) -> None:
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


def join(
    run: Run,
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
    sought: dict[str, Problem] = {}  # by the person's own head, as a profile may have to be
    for raw in raws:
        decision = decisions.get(raw.digest)
        if raw.file in same or (decision is not None and not decision.accept):
            continue
        problems = alone[raw.file]
        wanted = decision is not None and found[raw.digest].figures["problem"] is None
        if problems and not wanted and all(problem.kind in SOUGHT for problem in problems):
            sought[raw.digest] = problems[0]
        if wanted or not problems or raw.digest in sought:
            groups.setdefault(raw.person, []).append(raw)
    people = [members for members in groups.values() if any(raw.digest not in sought for raw in members)]
    marks: dict[str, str] = {}
    for members in people:
        # one limit, and who is only sought: on these it depends who shapes the person's head
        asked = (run.config.kept_points, run.config.limits.mirror_excess_mm)
        own = [(run.found_mark(raw), raw.digest in sought) for raw in members]
        mark = mark_of("placed", _PLACED_VERSION, run.template, *asked, *own)
        marks |= {raw.digest: mark for raw in members}
    waiting = [raw for members in people for raw in members if _lacks(run, raw, PLACED, marks)]
    waits = {raw.digest for raw in waiting if _lacks(run, raw, JOINED, marks)}
    missing = [members for members in people if any(raw.digest in waits for raw in members)]
    # people with many scans first: no process is left alone with one in the end
    missing.sort(key=lambda members: (-len(members), members[0].file))
    failed: dict[str, str] = {}
    for item, why in _work("people", partial(_join_one, run, missing, marks, sought), len(missing), workers, progress):
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


def _lacks(run: Run, raw: RawScan, name: str, marks: Mapping[str, str]) -> bool:
    return run.folder(raw).read(name, marks[raw.digest], ()) is None


def _join_one(
    run: Run, people: Sequence[Sequence[RawScan]], marks: Mapping[str, str], sought: Mapping[str, Problem], item: int
) -> None:  # fmt: skip
    members = []
    for raw in people[item]:
        record = run.folder(raw).read(FOUND, run.found_mark(raw))
        if record is None:
            raise InputError(f"{raw.path}: its record was removed; run the command again")
        if raw.digest in sought:
            record = Record({}, {"problem": asdict(sought[raw.digest])})
        members.append((raw, record))
    for (raw, _), record in zip(members, joined_person(members, run.model, run.config)):
        folder = run.folder(raw)
        if record.arrays:
            folder.write(JOINED, marks[raw.digest], record)
        else:
            remove(folder.folder / PICTURE)
            folder.write(PLACED, marks[raw.digest], record)


def _register_one(run: Run, raws: Sequence[RawScan], marks: Mapping[str, str], item: int) -> None:
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


def write_people(
    run: Run, entries: Sequence[Entry], marks: Mapping[str, str], workers: Workers, progress: Progress
) -> None:
    """Write the files of each person with accepted scans, and say in each other scan's folder why it is refused.

    Args:
        entries: the audited scans, with their verdicts.
        marks: by the hash of a scan, what its placed record must have been made from.

    Raises:
        InputError: a person's files cannot be written.
    """
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


def _write_one(run: Run, people: Sequence[Sequence[RawScan]], marks: Mapping[str, str], item: int) -> None:
    placed = [(raw, run.folder(raw).read(PLACED, marks[raw.digest])) for raw in people[item]]
    known = [(raw, record) for raw, record in placed if record is not None]
    if len(known) < len(placed):
        raise InputError("the record of a scan was removed")
    write_person(run.out, people[item][0].person, known, run.model, marks)
