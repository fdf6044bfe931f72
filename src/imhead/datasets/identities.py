"""Identities of a data set, and their tensors on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imhead.datasets.manifest import SOURCES, SPLITS, Manifest
from imhead.sources.anny import PHENOTYPES, Person
from imhead.sources.compose import Composition
from imhead.sources.ict import IDENTITY_MODES
from imhead.sources.scans import ScannedPerson

Shape = Composition | Person | ScannedPerson
"""The parameters of an identity: a composition for `ict` and `compose`, a person for `anny`, a file for `scans`."""
PEOPLE = "people"
"""Folder of a data set that holds the files of scanned people."""
_GROUPS = 10  # groups of regions in a composition


@dataclass(frozen=True, eq=False)
class Identity:
    """One identity of a data set."""

    index: int
    """Its row in the data set."""
    source: str
    """One of `SOURCES`."""
    seed: int
    """Seed of its draw."""
    split: str
    """One of `SPLITS`."""
    shape: Shape
    """Its parameters."""


def identity_tensors(identities: Sequence[Identity]) -> dict[str, np.ndarray]:
    """The tensors of `identities.safetensors`."""
    tensors: dict[str, np.ndarray] = {
        "source": np.array([SOURCES.index(identity.source) for identity in identities], dtype=np.uint8),
        "seed": np.array([identity.seed for identity in identities], dtype=np.int64),
        "split": np.array([SPLITS.index(identity.split) for identity in identities], dtype=np.uint8),
    }
    made = [identity.shape for identity in identities if isinstance(identity.shape, Composition)]
    people = [identity.shape for identity in identities if isinstance(identity.shape, Person)]
    # coefficients and mirrored: the parents of all identities, concatenated
    tensors["parents"] = np.array([len(shape.mirrored) for shape in made], dtype=np.uint8)
    tensors["coefficients"] = np.concatenate(
        [np.zeros((0, IDENTITY_MODES), np.float32)] + [k.coefficients for k in made]
    )
    tensors["mirrored"] = np.concatenate([np.zeros(0, bool)] + [shape.mirrored for shape in made]).astype(np.uint8)
    tensors["choice"] = np.array([shape.choice for shape in made], dtype=np.uint8).reshape(len(made), _GROUPS)
    scanned = [identity.shape for identity in identities if isinstance(identity.shape, ScannedPerson)]
    if scanned:  # by the place of each key among the sorted ones
        keys = sorted({person.key for person in scanned})
        tensors["scanned"] = np.array([keys.index(person.key) for person in scanned], dtype=np.uint32)
    locals_ = len(people[0].local) if people else 0
    tensors["phenotype"] = np.array([k.phenotype for k in people], np.float32).reshape(len(people), len(PHENOTYPES))
    tensors["local"] = np.array([k.local for k in people], np.float32).reshape(len(people), locals_)
    return tensors


def read_identities(tensors: dict[str, np.ndarray], manifest: Manifest, folder: Path) -> tuple[Identity, ...]:
    """The identities of the tensors of `identities.safetensors` of the data set in `folder`.

    Raises:
        ValueError, KeyError: the tensors are damaged, or do not match the manifest.
    """
    count = manifest.identities
    for name, kind in (("source", np.uint8), ("seed", np.int64), ("split", np.uint8)):
        check_array(tensors[name], kind, (count,), name)
    source, split = tensors["source"], tensors["split"]
    if source.max() >= len(SOURCES) or split.max() >= len(SPLITS):
        raise ValueError("an identity has an unknown source or split")
    for number, name in enumerate(SOURCES):
        expected = sum(record.identities for record in manifest.sources if record.name == name)
        if int((source == number).sum()) != expected:
            raise ValueError(f"{int((source == number).sum())} identities of {name}, not {expected}")
    if [int((split == k).sum()) for k in range(len(SPLITS))] != list(manifest.splits.values()):
        raise ValueError("the sizes of the splits differ")
    if len(np.unique(tensors["seed"])) != count:
        raise ValueError("two identities have the same seed")
    people, scanned = (int((source == SOURCES.index(name)).sum()) for name in ("anny", "scans"))
    of_scans = iter(_scanned(tensors, scanned, manifest, folder))
    drawn = iter(_compositions(tensors, count - people - scanned))
    shapes = {"anny": iter(_people(tensors, people)), "scans": of_scans}
    return tuple(
        Identity(
            k, SOURCES[source[k]], int(tensors["seed"][k]), SPLITS[split[k]],
            next(shapes.get(SOURCES[source[k]], drawn)),
        )
        for k in range(count)
    )  # fmt: skip


def _scanned(tensors: dict[str, np.ndarray], count: int, manifest: Manifest, folder: Path) -> list[Shape]:
    if not count:
        return []
    keys = sorted(manifest.source("scans").people or {})
    rows = tensors["scanned"]
    check_array(rows, np.uint32, (count,), "scanned")
    if not keys or int(rows.max()) >= len(keys):
        raise ValueError("an identity is a person whom the manifest does not name")
    people = [ScannedPerson(folder / PEOPLE / f"{key}.safetensors") for key in keys]
    return [people[row] for row in rows]


def _compositions(tensors: dict[str, np.ndarray], count: int) -> list[Shape]:
    parents, choice = tensors["parents"], tensors["choice"]
    check_array(parents, np.uint8, (count,), "parents")
    total = int(parents.sum())
    check_array(tensors["coefficients"], np.float32, (total, IDENTITY_MODES), "coefficients")
    check_array(tensors["mirrored"], np.uint8, (total,), "mirrored")
    check_array(choice, np.uint8, (count, _GROUPS), "choice")
    if count and (parents.min() < 1 or (choice >= parents[:, None]).any()):
        raise ValueError("a region comes from a parent that does not exist")
    ends = np.cumsum(parents, dtype=np.int64)
    rows = [slice(end - own, end) for end, own in zip(ends.tolist(), parents.tolist())]
    mirrored = tensors["mirrored"].astype(bool)
    return [
        Composition(tensors["coefficients"][r], mirrored[r], choice[k].astype(np.int64)) for k, r in enumerate(rows)
    ]


def _people(tensors: dict[str, np.ndarray], count: int) -> list[Shape]:
    check_array(tensors["phenotype"], np.float32, (count, len(PHENOTYPES)), "phenotype")
    check_array(tensors["local"], np.float32, (count, tensors["local"].shape[-1]), "local")
    return [Person(*pair) for pair in zip(tensors["phenotype"], tensors["local"])]


def check_array(value: np.ndarray, kind: Any, shape: tuple[int, ...], name: str) -> None:
    """Check the type, shape and values of an array.

    Raises:
        ValueError: it has another type or shape, or holds a number that is not finite.
    """
    if value.dtype != kind or value.shape != shape:
        raise ValueError(f"{name} is {value.dtype} {value.shape}, not {np.dtype(kind)} {shape}")
    if not np.isfinite(value).all():
        raise ValueError(f"{name} holds NaN or infinite numbers")
