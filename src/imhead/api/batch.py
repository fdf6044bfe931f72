"""Fits of many scans: a folder for each, a line for each in one table; a scan that cannot be fitted stops nothing."""

from __future__ import annotations

import logging
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal, Protocol

from imhead.api.workers import Lost, Processes, Workers
from imhead.checkpoint import Model, load_head
from imhead.errors import one_line, refusal
from imhead.io.atomic import write_atomically
from imhead.io.csv_file import csv_bytes
from imhead.io.json_file import read_json_object

SUMMARY = "summary.csv"
"""Name of the table in the folder of the results."""
_SAVE_S = 1.0  # between two versions of the table: a hundred thousand rows are not written a hundred thousand times
_LOG = logging.getLogger(__name__)
_FILES = ("head.safetensors", "head.ply", "overlay.ply")


class Written(Protocol):
    """What a fit gives: something that writes its folder, and returns the report."""

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the files of a fit."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What became of one scan."""

    scan: Path
    """Its file, as given."""
    folder: Path
    """The folder of its fit."""
    status: Literal["done", "skipped", "refused", "failed"]
    """`skipped`: there was a whole fit; `refused`: by its input or this machine; `failed`: by a fault of ours."""
    report: dict[str, Any] | None = None
    """What `report.json` holds, of scans that are done or skipped."""
    error: str | None = None
    """Why it was refused or failed, in one line that names the file."""


def fit_each(
    fit: Callable[[Path], Written],
    scans: Sequence[Path],
    out: Path,
    *,
    jobs: int = 1,
    workers: Workers | None = None,
    skip: Callable[[Path], dict[str, Any] | None] = lambda folder: None,
) -> Generator[Outcome, None, None]:
    """Fit every scan and write its folder; outcomes as they are done.

    Args:
        fit: reads and fits one scan; InputError refuses it. Where a system cannot fork, only one that can be pickled
            runs in several processes.
        scans: their files; one that is named twice is fitted once.
        out: folder for the results; that of each scan is named after it, and where two are called the same, after
            the folders that they lie in too.
        jobs: processes, of one thread each; 1 fits in this process, with all its threads.
        workers: who fits instead, as a `cluster_at` an address; `fit` must then be picklable.
        skip: folder → the report of a whole fit in it, or None to fit the scan; `whole_fit` for one.
    """
    scans = unique_scans(scans)
    folders = [out / name for name in folder_names(scans)]
    waiting = []
    for k, folder in enumerate(folders):
        report = skip(folder)
        if report is None:
            waiting.append(k)
        else:
            yield Outcome(scans[k], folder, "skipped", report)
    work = _FitOne(fit, tuple(scans[k] for k in waiting), tuple(folders[k] for k in waiting))
    for item, result in (workers or Processes(jobs))(work, len(waiting)):
        k = waiting[item]
        if isinstance(result, Lost):
            error = f"{scans[k]}: {result}; there may be too little memory for so many --jobs, so fit it again alone"
            result = Outcome(scans[k], folders[k], "failed", error=one_line(error))
        yield result


@dataclass(frozen=True)
class _FitOne:
    """What a process does with its number; one that is started, and not forked, gets it pickled."""

    fit: Callable[[Path], Written]
    scans: tuple[Path, ...]
    folders: tuple[Path, ...]

    def __call__(self, number: int) -> Outcome:
        return _outcome(self.fit, self.scans[number], self.folders[number])


def _outcome(fit: Callable[[Path], Written], scan: Path, folder: Path) -> Outcome:
    try:
        return Outcome(scan, folder, "done", fit(scan).write(folder))
    except Exception as error:  # the other scans still get their fit
        _LOG.debug("%s", scan, exc_info=True)
        said = refusal(error)
        status: Literal["refused", "failed"] = "failed" if said is None else "refused"
        said = said or f"internal error: {type(error).__name__}: {error}"
        named = said if scan.name in said else f"{scan}: {said}"
        return Outcome(scan, folder, status, error=one_line(named))


def whole_fit(folder: Path, model: Model) -> dict[str, Any] | None:
    """The report of a fit in a folder; None where there is none, a part of one, or one by another model."""
    report = read_json_object(folder / "report.json")
    if report is None or not all((folder / name).is_file() for name in _FILES):
        return None
    try:
        load_head(folder / "head.safetensors", model)
    except (OSError, ValueError, RecursionError):  # an InputError is a ValueError
        return None
    return report


def unique_scans(scans: Sequence[Path]) -> list[Path]:
    """The scans in the order given, each file once."""
    found: dict[str, Path] = {}
    for scan in scans:
        found.setdefault(os.path.abspath(scan), scan)
    return list(found.values())


def folder_names(scans: Sequence[Path]) -> list[PurePath]:
    """A name for each scan: that of its file, with as many folders before it as tell it from the others.

    Two files of one folder that differ in their endings alone keep those.
    """
    full = [Path(os.path.abspath(scan)) for scan in scans]
    twins = Counter((path.parent, path.stem) for path in full)
    tails = [path.stem if twins[path.parent, path.stem] == 1 and path.stem != SUMMARY else path.name for path in full]
    depth = [0] * len(full)
    while True:
        names = [
            PurePath(*path.parts[max(1, len(path.parts) - 1 - above) : -1], tail)
            for path, tail, above in zip(full, tails, depth)
        ]
        count = Counter(names)
        alike = [k for k, name in enumerate(names) if count[name] > 1]
        if not alike:
            return names
        for k in alike:
            depth[k] += 1
            if depth[k] >= len(full[k].parts):  # nothing above tells them apart
                tails[k] = full[k].name


_COLUMNS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "median_mm": lambda report: report["scan_to_head_mm"]["median"],
    "p90_mm": lambda report: report["scan_to_head_mm"]["p90"],
    "explained": lambda report: report["explained_fraction"],
    "units": lambda report: report["units"],
    "scale_assumed": lambda report: report["scale_assumed"],
    "mirrored": lambda report: report["mirrored"],
    "identity_sigma": lambda report: report["identity_sigma"],
    "seconds": lambda report: report["seconds"],
    "warnings": lambda report: "; ".join(report["warnings"]),
}
"""Column of the table → its value in a report."""


def with_summary(outcomes: Iterable[Outcome], scans: Sequence[Path], out: Path) -> Generator[Outcome, None, None]:
    """The outcomes, which are written to `summary.csv` in `out` as they come; rows in the order of the scans."""
    place = {scan: k for k, scan in enumerate(scans)}
    rows: dict[int, tuple[Any, ...]] = {}
    saved = -math.inf

    def save() -> None:
        """Write the table of the scans that are done."""
        head = ("scan", "folder", "status", *_COLUMNS, "error")
        write_atomically(out / SUMMARY, csv_bytes(head, (rows[k] for k in sorted(rows))))

    try:
        for outcome in outcomes:
            rows[place[outcome.scan]] = _row(outcome, out)
            if time.monotonic() > saved + _SAVE_S:
                save()
                saved = time.monotonic()
            yield outcome
    finally:
        if rows:
            save()


def _row(outcome: Outcome, out: Path) -> tuple[Any, ...]:
    figures: list[Any] = []
    for value_of in _COLUMNS.values():
        try:
            value = value_of(outcome.report or {})
        except (KeyError, TypeError):  # a report of another version
            value = None
        figures.append(one_line(value) if isinstance(value, str) else value)
    folder = outcome.folder.relative_to(out)
    return (one_line(outcome.scan), one_line(folder), outcome.status, *figures, outcome.error)
