"""Whom a study is about: the scans or head files of each person, from a folder or a table.

A folder holds one folder for each person, or one file for each. A table has a column `file`, and may have `person` and
`group`. Several files of one person are repeated measurements.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imhead.errors import InputError, one_line, system_refusal
from imhead.io.scan_file import SCAN_EXTENSIONS

HEAD_SUFFIX = ".safetensors"
_MAX_BYTES = 16 << 20
_MAX_FILES = 100_000
_MAX_DEPTH = 6
_LABEL = 100  # characters of a person's or group's name
_SEPARATORS = (",", ";", "\t")


@dataclass(frozen=True)
class Sitting:
    """One scan or head file of a person."""

    person: str
    """Whose it is."""
    group: str
    """The person's group; empty where none was named."""
    path: Path
    """The file."""

    @property
    def is_head(self) -> bool:
        """Whether the file is a head that was fitted before."""
        return self.path.suffix.lower() == HEAD_SUFFIX


def read_sittings(source: Path) -> list[Sitting]:
    """The sittings of a folder or a table (.csv), sorted by person.

    Raises:
        InputError: neither of them, nobody in it, a file that is missing, or a person in two groups; one line.
    """
    label = one_line(source)
    found = _of_folder(source) if source.is_dir() else _of_table(source)
    if not found:
        raise InputError(f"{label}: holds no scans and no head files; give a folder with a folder for each person")
    groups: dict[str, str] = {}
    for sitting in found:
        if groups.setdefault(sitting.person, sitting.group) != sitting.group:
            raise InputError(f"{label}: {sitting.person!r} is in two groups; give each person one")
    return sorted(found, key=lambda sitting: (sitting.person, str(sitting.path)))


def sitting_names(sittings: Sequence[Sitting]) -> list[str]:
    """A name for each that can be that of a file: the person's, with a number where there are several."""
    plain = [re.sub(r"[^\w.-]+", "_", s.person).strip("._") or "person" for s in sittings]
    total, seen = Counter(plain), Counter[str]()
    names = []
    for name in plain:
        seen[name] += 1
        names.append(name if total[name] == 1 else f"{name}_{seen[name]}")
    count = Counter(names)
    return [name if count[name] == 1 else f"{name}-{k}" for k, name in enumerate(names)]


def _of_folder(folder: Path) -> list[Sitting]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{one_line(folder)}: cannot be read {system_refusal(error)}") from error
    found = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        files = _files_of(entry, 0) if entry.is_dir() else [entry] if _usable(entry) else []
        name = entry.name if entry.is_dir() else entry.stem
        found += [Sitting(one_line(name, _LABEL), "", path) for path in files]
        if len(found) > _MAX_FILES:
            raise InputError(f"{one_line(folder)}: holds more than {_MAX_FILES} files; is it the right folder?")
    return found


def _files_of(folder: Path, depth: int) -> list[Path]:
    """Head files of a person's folder, else those of its folders; where there are none, scans in the same way.

    So the folder of a fit counts as its head, not as the meshes that lie beside it.
    """
    inside = sorted(k for k in folder.iterdir() if not k.name.startswith("."))
    heads = [k for k in inside if k.suffix.lower() == HEAD_SUFFIX and k.is_file()]
    if heads:
        return heads
    scans = [k for k in inside if _usable(k)]
    if scans or depth == _MAX_DEPTH:
        return scans
    return [path for k in inside if k.is_dir() for path in _files_of(k, depth + 1)]


def _usable(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (HEAD_SUFFIX, *SCAN_EXTENSIONS)


def _of_table(path: Path) -> list[Sitting]:
    label = one_line(path)
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(f"{label}: has {size} bytes, more than a table of people needs; is it a scan?")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{label}: cannot be opened {system_refusal(error)}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{label}: is no text; give a folder, or a .csv with a column 'file'") from error
    first = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    try:
        table = csv.DictReader(text.splitlines(), delimiter=separator, restval="")
        columns = {(name or "").strip().lower(): name for name in table.fieldnames or ()}
        rows = list(table)
    except csv.Error as error:
        raise InputError(f"{label}: is no table ({one_line(error)}); save it as .csv again") from error
    if "file" not in columns:
        raise InputError(f"{label}: has no column 'file'; its first line names the columns: file,person,group")
    found = []
    for number, row in enumerate(rows, 2):
        cells = {key: (row[name] or "").strip() for key, name in columns.items() if isinstance(row[name], str | None)}
        if not any(cells.values()):
            continue
        file = Path(cells.get("file", ""))
        file = file if file.is_absolute() else path.parent / file
        if not _usable(file):
            known = ", ".join((HEAD_SUFFIX, *SCAN_EXTENSIONS))
            raise InputError(f"{label}: line {number}: {one_line(file)} is no file of {known}; mend the path")
        person = cells.get("person") or file.stem
        found.append(Sitting(one_line(person, _LABEL), one_line(cells.get("group", ""), _LABEL), file))
    if not found:
        raise InputError(f"{label}: names no files; give it a line for each scan or head file")
    return found
