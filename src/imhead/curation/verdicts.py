"""From records to verdicts: which files are copies, what is accepted, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imhead.curation.audit import Verdict, problems_alone, problems_of_person, rank_of, verdict
from imhead.curation.config import AuditLimits
from imhead.curation.decisions import Decision
from imhead.curation.duplicates import copies
from imhead.curation.inputs import RawScan
from imhead.curation.problems import SOUGHT, Problem
from imhead.curation.store import Record
from imhead.curation.table import Entry


def first_of_each(raws: Sequence[RawScan]) -> dict[str, RawScan]:
    """Digest → the first file of that content."""
    first: dict[str, RawScan] = {}
    for raw in raws:
        first.setdefault(raw.digest, raw)
    return first


def audited_alone(
    raws: Sequence[RawScan], found: Mapping[str, Record], limits: AuditLimits
) -> tuple[dict[str, list[Problem]], dict[str, Problem]]:
    """File → what speaks against it alone, and against it as a copy of another.

    Args:
        raws: all files, in order.
        found: digest → the record of the scan's own fit, with the print of its shape.
        limits: of the audit.
    """
    first = first_of_each(raws)
    alone: dict[str, list[Problem]] = {}
    same: dict[str, Problem] = {}
    by_digest = {raw.digest: raw for raw in first.values()}
    prints = {digest: record.arrays["print"] for digest, record in found.items() if "print" in record.arrays}
    twins = copies({raw.digest: prints[raw.digest] for raw in first.values() if raw.digest in prints})
    of_person: dict[str, list[RawScan]] = {}
    for raw in first.values():
        of_person.setdefault(raw.person, []).append(raw)
    for raw in raws:
        others = of_person.get(raw.person, ())
        siblings = [found[other.digest].figures for other in others if other.digest != raw.digest]
        alone[raw.file] = problems_alone(raw, found[raw.digest].figures, siblings, limits)
        original = first[raw.digest]
        how = "is the same file as"
        if original is raw and raw.digest in twins:
            original, how = by_digest[twins[raw.digest]], "has the same points as"
        if original is not raw:
            names = f", under the name {original.person}" if original.person != raw.person else ""
            same[raw.file] = Problem("duplicate", f"it {how} {original.file}{names}")
    return alone, same


def verdicts(
    raws: Sequence[RawScan],
    found: Mapping[str, Record],
    placed: Mapping[str, Record],
    alone: Mapping[str, list[Problem]],
    same: Mapping[str, Problem],
    decisions: Mapping[str, Decision],
    limits: AuditLimits,
) -> list[Entry]:
    """What becomes of each file, in order.

    Args:
        raws: all files.
        found: digest → the record of the scan's own fit.
        placed: digest → its record on the person's head, of those that were joined.
        alone: file → what speaks against it alone.
        same: file → that it is a copy.
        decisions: digest → what a person decided.
        limits: of the audit.
    """
    entries = []
    for raw in raws:
        record, own = placed.get(raw.digest), found[raw.digest]
        on_head = None if record is None else record.figures
        if raw.file in same:
            entries.append(Entry(raw, Verdict((same[raw.file],), False, 10.0), None, None))
            continue
        problems = list(alone[raw.file])
        if on_head is not None:
            of_person = problems_of_person(on_head, limits)
            if "failed" in on_head:
                problems.append(Problem("unreadable", on_head["failed"]))
            elif on_head["found"] or of_person[0].kind == "mirrored":
                # what the searches alone did not find, or not surely, the person's head did
                problems = [problem for problem in problems if problem.kind not in SOUGHT] + of_person
        usable = on_head is not None and bool(on_head.get("registered"))
        rank = rank_of(own.figures, on_head, limits)
        entries.append(Entry(raw, verdict(problems, usable, rank, decisions.get(raw.digest)), own.figures, on_head))
    return entries
