"""What a data set takes of each person: one neutral head and the registered scans, written as `people/KEY.safetensors`.

Shape legend: V vertices of the template, K scans of a person, P points of a scan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.curation.inputs import RawScan
from imhead.curation.store import Record, mark_of, read_record, write_record
from imhead.io.atomic import remove
from imhead.registration.frames import registered_vertices
from imhead.template.surface import template_of

PEOPLE, TOPOLOGY = "people", "topology.safetensors"
_VERSION = 1


def person_key(person: str) -> str:
    """The name of a person's file: it does not tell who it is."""
    return mark_of("person", person)


def person_path(out: Path, person: str) -> Path:
    """The file of a person."""
    return out / PEOPLE / f"{person_key(person)}.safetensors"


def person_is_written(out: Path, person: str, raws: Sequence[RawScan], marks: Mapping[str, str]) -> bool:
    """Whether a person's file is there, made of these accepted scans with records of these marks."""
    return read_record(person_path(out, person), _mark(person, raws, marks), ()) is not None


def write_person(
    out: Path, person: str, members: Sequence[tuple[RawScan, Record]], model: Model, marks: Mapping[str, str]
) -> None:
    """Write what a data set takes of a person.

    Args:
        members: accepted scans, at least one, with the record of each on the person's head.
        marks: digest of a scan → mark of that record.
    """
    raws = [raw for raw, _ in members]
    write_record(person_path(out, person), _mark(person, raws, marks), _record(members, model, _notes(raws)))


def _mark(person: str, raws: Sequence[RawScan], marks: Mapping[str, str]) -> str:
    return mark_of("person", _VERSION, person, _notes(raws), [marks[raw.digest] for raw in raws])


def _notes(raws: Sequence[RawScan]) -> list[dict[str, Any]]:
    # no names: a data set copies the file
    return [{"digest": raw.digest, **raw.notes} for raw in raws]


def _record(members: Sequence[tuple[RawScan, Record]], model: Model, notes: list[dict[str, Any]]) -> Record:
    arrays = [record.arrays for _, record in members]
    weight = np.stack([k["measured"] for k in arrays]).astype(np.float64)[:, :, None]
    # where no scan measures a vertex, all of them say the same of it: what the head itself says
    weight = np.where(weight.sum(axis=0) > 0.0, weight, 1.0)
    offsets = (np.stack([k["registration"] for k in arrays]) * weight).sum(axis=0) / weight.sum(axis=0)
    head = replace(
        model.neutral(), z_id=arrays[0]["z_id"], offsets=arrays[0]["offsets"], eyes=arrays[0]["eyes"],
        registration=offsets.astype(np.float32),
    )  # fmt: skip
    neutral = registered_vertices(template_of(model), model, head, np.zeros(len(ARKIT_NAMES)))
    counts = np.array([len(k["points"]) for k in arrays], dtype=np.int64)
    return Record(
        {
            "neutral": neutral.astype(np.float32),
            "weights": np.stack([k["weights"] for k in arrays]),
            "vertices": np.stack([k["vertices"] for k in arrays]),
            "measured": np.stack([k["measured"] for k in arrays]),
            "counts": counts,
            "points": np.concatenate([k["points"] for k in arrays]),
            "normals": np.concatenate([k["normals"] for k in arrays]),
        },
        {"model": model.hash, "scans": notes},
    )


def keep_only(out: Path, people: Sequence[str]) -> None:
    """Remove the files of people of whom no scan is accepted any more."""
    wanted = {f"{person_key(person)}.safetensors" for person in people}
    for path in sorted((out / PEOPLE).glob("*.safetensors")):
        if path.name not in wanted:
            remove(path)
