"""What a person decided about scans: `decisions.csv`, which the contact sheet makes and the next run reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imhead.curation.inputs import read_csv
from imhead.errors import InputError
from imhead.io.atomic import write_atomically

DECISIONS = "decisions.csv"
COLUMNS = ("scan", "decision", "note", "file")
"""`scan` is the hash of its content; `file` is for the reader alone."""
_WORDS = {"accept": True, "reject": False}


@dataclass(frozen=True)
class Decision:
    """One decision."""

    accept: bool
    """Whether the scan is taken although the audit refuses it, or left out although it does not."""
    note: str = ""
    """Why."""


def read_decisions(out: Path) -> dict[str, Decision]:
    """Hash of a scan → what was decided; the last line counts. Without a file, an empty one is written.

    Raises:
        InputError: the file cannot be read, or holds another word than accept, reject or none.
    """
    path = out / DECISIONS
    if not path.exists():
        write_atomically(path, (",".join(COLUMNS) + "\n").encode())
        return {}
    found: dict[str, Decision] = {}
    for number, row in enumerate(read_csv(path, COLUMNS, "scan"), 2):
        word = row.get("decision", "").lower()
        if word not in (*_WORDS, ""):
            raise InputError(f"{path}: line {number} says {word!r}; use accept or reject, or leave it empty")
        if word:
            found[row["scan"]] = Decision(_WORDS[word], row.get("note", ""))
        else:
            found.pop(row["scan"], None)
    return found
