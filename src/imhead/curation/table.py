"""The tables of a curation: a line for each scan, and what a further round gained.

`summary.csv` is sorted by file, so that it does not depend on what was done when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imhead.curation.audit import Verdict
from imhead.curation.inputs import RawScan
from imhead.curation.store import FOUND, PLACED, ScanFolder
from imhead.io.atomic import write_atomically
from imhead.io.csv_file import csv_bytes

SUMMARY, ROUNDS = "summary.csv", "rounds.csv"


@dataclass(frozen=True, eq=False)
class Entry:
    """One file and what became of it."""

    raw: RawScan
    """The file."""
    verdict: Verdict
    """The audit's, or a person's."""
    alone: Mapping[str, Any] | None
    """Figures of its own fit; None where there is none, as of a second copy."""
    placed: Mapping[str, Any] | None
    """Figures on its person's head."""

    @property
    def status(self) -> str:
        """`accepted` or `refused`."""
        return "accepted" if self.verdict.accepted else "refused"


_FIGURES = ("rank", "scan", "face_mm", "explained", "face_measured", "worst_region", "code_sigma", "units", "notes")


def write_summary(out: Path, entries: Sequence[Entry]) -> None:
    """Write `summary.csv`."""
    rows = [
        (entry.raw.file, entry.raw.person, entry.status, entry.verdict.reason, *_figures(entry))
        for entry in sorted(entries, key=lambda entry: entry.raw.file)
    ]
    write_atomically(out / SUMMARY, csv_bytes(("file", "person", "status", "reason", *_FIGURES), rows))


def _figures(entry: Entry) -> tuple[Any, ...]:
    alone, placed = entry.alone or {}, entry.placed or {}
    registered = placed.get("registered") or {}
    face = (placed.get("scan_to_head_face_mm") or {}).get("median")
    notes = "; ".join(str(problem) for problem in entry.verdict.problems[1:])
    return (
        entry.verdict.rank, entry.raw.digest, None if face is None else round(face, 4),
        placed.get("explained_fraction") and round(placed["explained_fraction"], 4), registered.get("face_measured"),
        registered.get("worst_region"), alone.get("code_sigma"), alone.get("units"), notes or entry.verdict.note,
    )  # fmt: skip


ROUND_COLUMNS = (
    "model", "scans", "accepted", "refused", "face_mm", "face_p90_mm", "registered_mm", "face_unexplained",
    "code_sigma", "scans_compared",
)  # fmt: skip


def round_rows(
    out: Path, entries: Sequence[Entry], model_hash: str, earlier: Mapping[str, tuple[int, int]]
) -> list[tuple[Any, ...]]:
    """A row for this round and for each earlier one, means over the scans that all rounds placed.

    Args:
        entries: of this round.
        earlier: hash of a model → accepted and refused scans of its round.
    """
    digests = sorted({entry.raw.digest for entry in entries})
    rounds = {model: _placed(out, digests, model) for model in (*earlier, model_hash)}
    shared = sorted(set.intersection(*(set(found) for found in rounds.values())))
    rows = []
    for model, found in rounds.items():
        accepted, refused = earlier.get(model, (0, 0))
        if model == model_hash:
            accepted = sum(entry.verdict.accepted for entry in entries)
            refused = len(entries) - accepted
        means = [_mean([found[digest][name] for digest in shared]) for name in ROUND_COLUMNS[4:9]]
        rows.append((model, accepted + refused, accepted, refused, *means, len(shared)))
    return rows


def _placed(out: Path, digests: Sequence[str], model: str) -> dict[str, dict[str, float | None]]:
    """Figures of the scans that a round registered, by digest."""
    found: dict[str, dict[str, float | None]] = {}
    for digest in digests:
        folder = ScanFolder.of(out, digest, model)
        alone, placed = folder.read(FOUND, only=()), folder.read(PLACED, only=())
        if alone is None or placed is None or not placed.figures.get("registered"):
            continue
        figures = placed.figures
        found[digest] = {
            "face_mm": figures["scan_to_head_face_mm"]["median"], "face_p90_mm": figures["face_p90_mm"],
            "registered_mm": figures["registered"]["scan_to_surface_mm"]["median"],
            "face_unexplained": figures["face_unexplained"],
            "code_sigma": alone.figures.get("code_sigma"),
        }  # fmt: skip
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None
