"""Files of a curation: a folder for each scan, named by the hash of its content, written whole as work is done.

    CURATED/scans/HASH/ROUND/found.safetensors    the scan's own fit
    CURATED/scans/HASH/ROUND/joined.safetensors   the scan on its person's head, until it is registered
    CURATED/scans/HASH/ROUND/placed.safetensors   the same, registered
    CURATED/scans/HASH/ROUND/scan.png             the scan, picture.png with the template on it
    CURATED/scans/HASH/ROUND/problem.json         why it is refused, beside problem.png
    CURATED/people/KEY.safetensors                what a data set takes of a person

A round is named by the hash of its model. A record has a mark of what it was made from, and is made anew for another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from imhead.io.atomic import remove, write_atomically
from imhead.io.tensor_file import with_metadata

RECORD_FORMAT = "imhead-curation-1"
FOUND, JOINED, PLACED = "found.safetensors", "joined.safetensors", "placed.safetensors"
SCAN_PICTURE, PICTURE = "scan.png", "picture.png"
PROBLEM, PROBLEM_PICTURE = "problem.json", "problem.png"


@dataclass(frozen=True, eq=False)
class Record:
    """One piece of work that is done."""

    arrays: dict[str, np.ndarray]
    """Its arrays by name."""
    figures: dict[str, Any]
    """Its figures, ready for JSON."""


def mark_of(*parts: object) -> str:
    """A mark of what work depends on: equal for equal parts."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def write_record(path: Path, mark: str, record: Record) -> None:
    """Write a record, whole or not at all; the same record gives the same bytes."""
    tensors = {name: np.ascontiguousarray(value) for name, value in sorted(record.arrays.items())}
    figures = json.dumps(record.figures, allow_nan=False, sort_keys=True)
    write_atomically(path, with_metadata(save(tensors), {"format": RECORD_FORMAT, "mark": mark, "figures": figures}))


def read_record(path: Path, mark: str | None = None, only: Collection[str] | None = None) -> Record | None:
    """A record, if it is there, whole and, where a mark is given, of that mark; else None.

    Args:
        only: names of the arrays that are read, where it has them; None for all.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as opened:
            metadata = opened.metadata() or {}
            names = [name for name in opened.keys() if only is None or name in only]  # noqa: SIM118
            figures = json.loads(metadata["figures"])
            if metadata["format"] != RECORD_FORMAT or (mark is not None and metadata["mark"] != mark):
                return None
            arrays = {name: opened.get_tensor(name) for name in names}
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return Record(arrays, figures) if isinstance(figures, dict) else None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    write_atomically(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


@dataclass(frozen=True)
class ScanFolder:
    """The folder of one scan in one round."""

    folder: Path
    """`CURATED/scans/HASH/ROUND`."""

    @classmethod
    def of(cls, out: Path, digest: str, model_hash: str) -> ScanFolder:
        """That of a scan's content and of a model."""
        return cls(out / "scans" / digest / model_hash)

    def read(self, name: str, mark: str | None = None, only: Collection[str] | None = None) -> Record | None:
        """`FOUND`, `JOINED` or `PLACED`, if it is there and of the mark, with all of its arrays or some."""
        return read_record(self.folder / name, mark, only)

    def write(self, name: str, mark: str, record: Record) -> None:
        """Write `FOUND`, `JOINED` or `PLACED`."""
        write_record(self.folder / name, mark, record)

    def refuse(self, kind: str, sentence: str) -> None:
        """Write the problem, and the picture that shows it."""
        pictures = [self.folder / name for name in (PICTURE, SCAN_PICTURE)]
        shown = next((path for path in pictures if path.is_file()), None)
        if shown is not None:
            write_atomically(self.folder / PROBLEM_PICTURE, shown.read_bytes())
        write_json(self.folder / PROBLEM, {"kind": kind, "reason": sentence})

    def accept(self) -> None:
        """Remove the problem of an earlier run."""
        remove(self.folder / PROBLEM)
        remove(self.folder / PROBLEM_PICTURE)
