"""A data set on disk: identities as parameters, expressions as ARKit weights.

    DIR/manifest.json            datasets/manifest.py
    DIR/identities.safetensors   source, seed and split of each identity, and its parameters
    DIR/expressions.safetensors  ARKit weights

Parameters are stored beside seeds, so that a version that draws differently still opens the same heads.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from imhead.conventions import ARKIT_NAMES
from imhead.datasets.heads import OpenSources
from imhead.datasets.identities import Identity, check_array, identity_tensors, read_identities
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
        """The smooth deformation of one of its heads; None if its recipe has none."""
        config = self.manifest.deformation
        return None if config is None else Deformation(identity.seed, config)


def build_dataset(recipe: Recipe, sources: OpenSources, folder: Path) -> Manifest:
    """Draw a data set and write it to `folder`, the manifest last.

    Raises:
        InputError: the folder holds a data set already or cannot be written to, or a source is not open.
    """
    if (folder / MANIFEST).exists():
        raise InputError(f"{folder}: already holds a data set; name another --out, or delete it")
    for name in recipe.shares:
        sources.digest(name)
    identities = draw_identities(recipe, sources.anny)
    expressions = np.stack([draw_expressions(identity.seed, recipe.expressions) for identity in identities])
    contents = {
        IDENTITIES_FILE: save(identity_tensors(identities)),
        EXPRESSIONS_FILE: save({"weights": expressions}),
    }
    records = tuple(
        SourceRecord(name, LICENCES[name], sources.digest(name), len(mine), demographics(mine, sources.anny))
        for name in SOURCES
        if name in recipe.shares
        for mine in [[identity for identity in identities if identity.source == name]]
    )
    manifest = Manifest(
        format=DATA_FORMAT,
        seed=recipe.seed,
        identities=recipe.identities,
        expressions=recipe.expressions,
        recipe={
            key: value for key, value in asdict(recipe).items() if key not in ("identities", "expressions", "seed")
        },
        sources=records,
        splits={name: sum(identity.split == name for identity in identities) for name in SPLITS},
        files={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    )
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
    if set(manifest.files) != {IDENTITIES_FILE, EXPRESSIONS_FILE}:
        raise InputError(f"{folder / MANIFEST}: does not name the files of a data set; build the data set again")
    tensors = {name: _read(folder / name, manifest.files[name]) for name in manifest.files}
    try:
        expressions = _expressions(tensors[EXPRESSIONS_FILE], manifest)
        identities = read_identities(tensors[IDENTITIES_FILE], manifest)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"{folder}: its files do not match its manifest ({error}); build the data set again"
        ) from error
    return DataSet(folder, manifest, identities, expressions)


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
