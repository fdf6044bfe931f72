"""The people of a curated folder: whom a data set may take, and what it may say of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from imhead.datasets.identities import PEOPLE
from imhead.datasets.manifest import SPLITS
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.sources.scans import TOPOLOGY, ScannedPerson

_HELD_OUT, _VALIDATION = 0.05, 0.025
"""Shares of the people that no table puts into a split."""


@dataclass(frozen=True, eq=False)
class CuratedPeople:
    """The people of the folder that `imhead curate` wrote."""

    folder: Path
    """That folder."""

    def __post_init__(self) -> None:
        if not (self.folder / TOPOLOGY).is_file():
            raise InputError(f"{self.folder}: holds no curated scans ({TOPOLOGY} is missing); make it by imhead curate")
        if not self.paths:
            raise InputError(f"{self.folder}: no scan in it is accepted; look at its index.html")

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """Their files, sorted."""
        return tuple(sorted((self.folder / PEOPLE).glob("*.safetensors")))

    @cached_property
    def _said(self) -> dict[str, dict[str, Any]]:
        """Key of a person → what its file says in words."""
        said = {}
        for path in self.paths:
            try:
                with safe_open(path, "np") as opened:
                    said[path.stem] = json.loads((opened.metadata() or {})["figures"])
            except (OSError, SafetensorError, KeyError, ValueError) as error:
                raise InputError(f"{path}: is no file of a person ({error}); curate the scans again") from error
        return said

    @cached_property
    def splits(self) -> Mapping[str, str]:
        """Key of a person → the split of all its scans: that of the table, or by the hash of the name."""
        found = {}
        for key, said in self._said.items():
            named = sorted({scan["split"] for scan in said["scans"] if "split" in scan})
            place = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32
            drawn = SPLITS[2] if place < _HELD_OUT else SPLITS[1] if place < _HELD_OUT + _VALIDATION else SPLITS[0]
            found[key] = named[0] if named else drawn
        return found

    def of_split(self, split: str) -> tuple[ScannedPerson, ...]:
        """The people of one of `SPLITS`."""
        return tuple(ScannedPerson(path) for path in self.paths if self.splits[path.stem] == split)

    def entries(self) -> dict[str, Any]:
        """What a manifest says of them, by key: split, and of each scan its hash, consent, licence and notes."""
        return {key: {"split": self.splits[key], "scans": said["scans"]} for key, said in self._said.items()}

    def files(self) -> dict[str, str]:
        """SHA-256 of what a data set takes, by name."""
        return {name: hashlib.sha256(self._content(name)).hexdigest() for name in self._names}

    def copy_to(self, folder: Path) -> None:
        """Copy it into the folder of a data set."""
        for name in self._names:
            write_atomically(folder / name, self._content(name))

    @property
    def _names(self) -> list[str]:
        return [TOPOLOGY, *(f"{PEOPLE}/{path.name}" for path in self.paths)]

    def _content(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()
