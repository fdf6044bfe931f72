"""A data set on disk: identities as parameters, expressions as ARKit weights.

    DIR/manifest.json            datasets/manifest.py
    DIR/identities.safetensors   source, seed and split of each identity, and its parameters
    DIR/expressions.safetensors  ARKit weights
    DIR/people, DIR/topology.safetensors    of scanned people: their heads and what was measured of them

Parameters are stored beside seeds, so that a version that draws differently still opens the same heads.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from imhead.conventions import ARKIT_NAMES
from imhead.datasets.curated import CuratedPeople
from imhead.datasets.heads import OpenSources
from imhead.datasets.identities import PEOPLE, Identity, check_array, identity_tensors, read_identities
from imhead.datasets.manifest import (
    DATA_FORMAT,
    LICENCES,
    MANIFEST,
    SOURCES,
    SPLITS,
    Manifest,
    SourceRecord,
    read_manifest,
)
from imhead.datasets.recipe import Recipe, demographics, draw_identities
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.sources.deformations import Deformation
from imhead.sources.expressions import draw_expressions
from imhead.sources.scans import TOPOLOGY, ScannedPerson
from imhead.types import FloatArray

IDENTITIES_FILE, EXPRESSIONS_FILE = "identities.safetensors", "expressions.safetensors"


@dataclass(frozen=True, eq=False)
class DataSet:
    """An opened data set."""

    folder: Path
    """Its folder."""
    manifest: Manifest
    """Its manifest."""
    identities: tuple[Identity, ...]
    """M identities."""
    expressions: FloatArray
    """(M, E, 52) float32 ARKit weights; the first expression of each identity is neutral."""

    def split(self, name: str) -> tuple[Identity, ...]:
        """The identities of one of `SPLITS`, in order."""
        return tuple(identity for identity in self.identities if identity.split == name)

    def deformation(self, identity: Identity) -> Deformation | None:
        """The smooth deformation of one of its heads; None if its recipe has none, and of a person who was scanned."""
        config = self.manifest.deformation
        if identity.source == "scans":
            return None
        return None if config is None else Deformation(identity.seed, config)


def build_dataset(recipe: Recipe, sources: OpenSources, folder: Path, scans: CuratedPeople | None = None) -> Manifest:
    """Draw a data set and write it to `folder`, the manifest last.

    Args:
        scans: the people of source `scans`, who are copied into the folder.

    Raises:
        InputError: the folder holds a data set already or cannot be written to, or a source is not open.
    """
    if (folder / MANIFEST).exists():
        raise InputError(f"{folder}: already holds a data set; name another --out, or delete it")
    if ("scans" in recipe.shares) != (scans is not None):
        raise InputError("source scans needs a curated folder: scans=FOLDER, made by imhead curate")
    for name in recipe.shares:
        if name != "scans":
            sources.digest(name)
    identities = draw_identities(recipe, sources.anny, scans)
    expressions = np.stack([expressions_of(identity, recipe.expressions) for identity in identities])
    contents = {
        IDENTITIES_FILE: save(identity_tensors(identities)),
        EXPRESSIONS_FILE: save({"weights": expressions}),
    }
    copied = {} if scans is None else scans.files()
    people = None if scans is None else scans.entries()
    digests = {name: sources.digest(name) for name in recipe.shares if name != "scans"}
    digests["scans"] = hashlib.sha256(json.dumps(copied, sort_keys=True).encode()).hexdigest()[:16]
    records = tuple(
        SourceRecord(
            name, LICENCES[name], digests[name], len(mine), demographics(mine, sources.anny),
            people if name == "scans" else None,
        )
        for name in SOURCES
        if name in recipe.shares
        for mine in [[identity for identity in identities if identity.source == name]]
    )  # fmt: skip
    manifest = Manifest(
        format=DATA_FORMAT,
        seed=recipe.seed,
        identities=len(identities),
        expressions=recipe.expressions,
        recipe={
            key: value for key, value in asdict(recipe).items() if key not in ("identities", "expressions", "seed")
        },
        sources=records,
        splits={name: sum(identity.split == name for identity in identities) for name in SPLITS},
        files={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()} | copied,
    )
    if scans is not None:
        scans.copy_to(folder)
    for name, content in contents.items():
        write_atomically(folder / name, content)
    write_atomically(folder / MANIFEST, manifest.to_json().encode())
    return manifest


def open_dataset(folder: Path) -> DataSet:
    """Open the data set in `folder` and check every number; no source is needed.

    Raises:
        InputError: it is no data set, or a file is missing, damaged or not the one in the manifest.
    """
    manifest = read_manifest(folder)
    own = (IDENTITIES_FILE, EXPRESSIONS_FILE)
    copied = {name for name in manifest.files if name not in own}
    known = any(record.name == "scans" for record in manifest.sources)
    if not set(own) <= set(manifest.files) or (copied and not known) or not all(map(_is_of_people, copied)):
        raise InputError(f"{folder / MANIFEST}: does not name the files of a data set; build the data set again")
    for name in copied:  # they are checked when they are read
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: is missing; build the data set again")
    tensors = {name: _read(folder / name, manifest.files[name]) for name in own}
    try:
        expressions = _expressions(tensors[EXPRESSIONS_FILE], manifest)
        identities = read_identities(tensors[IDENTITIES_FILE], manifest, folder)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"{folder}: its files do not match its manifest ({error}); build the data set again"
        ) from error
    return DataSet(folder, manifest, identities, expressions)


def expressions_of(identity: Identity, count: int) -> FloatArray:
    """(count, 52) float32 ARKit weights of an identity: neutral, then drawn ones; of a scanned person in turn
    with those of the scans."""
    drawn = draw_expressions(identity.seed, count)
    if isinstance(identity.shape, ScannedPerson):
        shown = identity.shape.weights
        rows = np.arange(1, count, 2)
        drawn[rows] = shown[(identity.seed + np.arange(len(rows))) % len(shown)]
    return drawn


def _is_of_people(name: str) -> bool:
    return name == TOPOLOGY or re.fullmatch(rf"{PEOPLE}/[0-9a-f]{{16}}\.safetensors", name) is not None


def _read(path: Path, digest: str) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise InputError(f"{path}: is missing; build the data set again")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError(
            f"{path}: has another hash than in the manifest (cut short or changed); build the data set again"
        )
    try:
        return load(content)
    except SafetensorError as error:
        raise InputError(f"{path}: cannot be read ({error}); build the data set again") from error


def _expressions(tensors: dict[str, np.ndarray], manifest: Manifest) -> FloatArray:
    weights = tensors["weights"]
    check_array(weights, np.float32, (manifest.identities, manifest.expressions, len(ARKIT_NAMES)), "weights")
    if not ((weights >= 0.0) & (weights <= 1.0)).all():
        raise ValueError("an ARKit weight lies outside 0 to 1")
    if weights[:, 0].any():
        raise ValueError("the first expression of an identity is not neutral")
    weights.setflags(write=False)
    return weights
