"""What is to be curated: the scans of a folder, who is who, and what a table of people says of them."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from imhead.datasets.manifest import SPLITS
from imhead.errors import InputError, system_refusal
from imhead.fitting.pose import Units
from imhead.io.formats import READERS

COLUMNS = ("file", "person", "expression", "age", "sex", "consent", "licence", "split", "units", "scale", "mirrored")
"""Columns that a table of people may have; `file` is a path within the folder of the scans."""
_MOST_BYTES = 64 << 20
_LONGEST, _LONGEST_PATH = 200, 4096  # characters of a value
_DIGITS = 16  # of the hash, in a folder's name
_SCALES = (1e-9, 1e9)  # mm of a unit
_YES, _NO = ("yes", "true", "1"), ("", "no", "false", "0")


@dataclass(frozen=True)
class RawScan:
    """One file that is to be curated."""

    path: Path
    """Where it lies."""
    file: str
    """Its path within the folder of the scans."""
    digest: str
    """First 16 hex digits of the SHA-256 of its content."""
    person: str
    """Whom it shows: its folder's name, or its own where it lies in no folder, or what the table says."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What the table says of it: expression, age, sex, consent, licence, split."""
    units: Units = "auto"
    """Its unit, if the table names it."""
    scale: float | None = None
    """Millimetres of its unit, if the table says so."""
    mirrored: bool | None = None
    """Whether left and right are swapped; None where the table does not say."""

    @property
    def key(self) -> str:
        """What its results depend on beside its content: the unit and the side that the table names."""
        return f"{self.digest} {self.units} {self.scale} {self.mirrored}"

    @property
    def named(self) -> str | None:
        """Its unit in words, where the table names it."""
        if self.scale is not None:
            return f"units of {self.scale:g} mm"
        return None if self.units == "auto" else self.units


def raw_scans(folder: Path, table: Path | None = None) -> list[RawScan]:
    """The scans of a folder and of the folders in it, in the order of their paths.

    Args:
        folder: `person/expression.ply`, or plain files.
        table: a CSV with a column `file` and any of `COLUMNS`; files that it does not name go by their folders.

    Raises:
        InputError: no folder, no scan in it, a table that cannot be read, or one that names a file that is not there.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder of scans; give one that holds person/expression.ply, or plain scans")
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in READERS and path.is_file() and not path.name.startswith(".")
    }
    if not files:
        raise InputError(f"{folder}: holds no scan; scans end in {', '.join(READERS)}")
    for file in files:
        try:
            file.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{folder}: holds {file!a}, a name that is no UTF-8; rename it") from error
    rows = {} if table is None else _read_table(table)
    missing = sorted(set(rows) - set(files))
    if missing:
        raise InputError(f"{table}: names {missing[0]!r}, which is not in {folder}; give paths within that folder")
    found = [_raw_scan(path, file, rows.get(file, {}), table) for file, path in files.items()]
    splits: dict[str, str] = {}
    for raw in found:
        split = splits.setdefault(raw.person, raw.notes.get("split", ""))
        if split != raw.notes.get("split", ""):
            raise InputError(
                f"{table}: scans of {raw.person!r} are in different splits; a person is held out as a whole, so name "
                "the same split for all of them"
            )
    return found


def _raw_scan(path: Path, file: str, row: Mapping[str, str], table: Path | None) -> RawScan:
    units = row.get("units", "") or "auto"
    if units not in get_args(Units):
        raise InputError(f"{table}: {file} has units {units!r}; use {', '.join(get_args(Units))}")
    scale = _scale(row.get("scale", ""), file, table)
    if scale is not None and units != "auto":
        raise InputError(f"{table}: {file} has units and a scale; keep one of them")
    side = row.get("mirrored", "").lower()
    if side not in (*_YES, *_NO):
        raise InputError(f"{table}: {file} has mirrored {side!r}; use yes or no")
    if row.get("split", "") not in ("", *SPLITS):
        raise InputError(f"{table}: {file} has split {row['split']!r}; use {', '.join(SPLITS)}")
    parents = Path(file).parts[:-1]
    person = row.get("person", "") or ("/".join(parents) if parents else Path(file).stem)
    notes = {name: row[name] for name in COLUMNS[2:8] if row.get(name)}
    if not parents:
        notes.setdefault("expression", "")
    notes.setdefault("expression", Path(file).stem)
    known: Units = units  # type: ignore[assignment]  # checked above
    mirrored = None if side == "" else side in _YES
    return RawScan(path, file, content_digest(path), person, notes, known, scale, mirrored)


def _scale(text: str, file: str, table: Path | None) -> float | None:
    try:
        scale = float(text) if text else None
    except ValueError:
        scale = math.nan
    if scale is not None and not _SCALES[0] <= scale <= _SCALES[1]:
        raise InputError(f"{table}: {file} has scale {text!r}; give the millimetres of its unit, a number such as 25.4")
    return scale


def content_digest(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file's content.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as raw:
            while block := raw.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read {system_refusal(error)}") from error
    return digest.hexdigest()[:_DIGITS]


def read_csv(path: Path, known: Sequence[str], needed: str) -> list[dict[str, str]]:
    """The rows of a CSV with a head line; values without spaces around them.

    Args:
        known: columns that it may have.
        needed: the one that it must have.

    Raises:
        InputError: no such file, too large, no CSV, or an unknown or missing column.
    """
    try:
        with path.open("rb") as raw:
            content = raw.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InputError(f"{path}: is larger than {_MOST_BYTES >> 20} MiB, so no table of scans; check the path")
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    except OSError as error:
        raise InputError(f"{path}: cannot be read {system_refusal(error)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is no CSV in UTF-8 ({error}); save it again as one") from error
    names = [name.strip().lower() for name in lines[0]] if lines else []
    unknown = [name for name in names if name not in known]
    if needed not in names or unknown or len(set(names)) < len(names):
        wrong = f"has an unknown column {unknown[0]!r}" if unknown else f"has not one column {needed!r}"
        raise InputError(f"{path}: {wrong}; its first line names columns among {', '.join(known)}")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if not any(value.strip() for value in line):
            continue
        longest = [_LONGEST_PATH if name == "file" else _LONGEST for name in names]
        if len(line) > len(names) or any(len(value) > most for value, most in zip(line, longest)):
            raise InputError(f"{path}: line {number} has too many or too long values; mend it")
        rows.append({name: value.strip() for name, value in zip(names, line)})
    return rows


def _read_table(path: Path) -> dict[str, dict[str, str]]:
    rows = read_csv(path, COLUMNS, "file")
    table = {Path(row["file"]).as_posix(): row for row in rows}
    if len(table) < len(rows):
        raise InputError(f"{path}: names a file twice; keep one line for each")
    return table
