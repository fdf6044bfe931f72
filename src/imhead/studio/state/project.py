"""A session as a safetensors file: every step of its history, on all branches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from imhead.checkpoint import Model, check_tensors, read_tensors
from imhead.errors import InputError
from imhead.io.tensor_file import with_metadata
from imhead.regions import REGION_COUNT, REGIONS
from imhead.studio.state.document import LONGEST_NAME, Document, NamedHead
from imhead.studio.state.history import History, HistoryStep
from imhead.studio.state.studio import Settings, Studio
from imhead.surfaces.eyeballs import EYEBALL_NUMBERS
from imhead.types import Head

PROJECT_FORMAT = "imhead-project-2"
PROJECT_SUFFIX = ".imhead"
_CODES = ("z_id", "z_exp", "offsets", "eyes")
_MOST_LINES = 20_000_000  # of provenance, over all heads; they are stored as a few bytes each


def project_bytes(studio: Studio) -> bytes:
    """Content of the session's project file. A draft becomes a step first."""
    studio.settle()
    rows: dict[int, int] = {}
    heads: list[Head] = []

    def row(head: Head) -> int:
        if id(head) not in rows:
            rows[id(head)] = len(heads)
            heads.append(head)
        return rows[id(head)]

    steps = [
        {
            "parent": step.parent,
            "label": step.label,
            "active": step.document.active,
            "heads": [[named.name, row(named.codes), row(named.origin)] for named in step.document.heads],
        }
        for step in studio.history.steps
    ]
    settings = studio.settings
    body = {
        "steps": steps,
        "at": studio.history.at,
        "selection": list(settings.selection),
        "symmetric": settings.symmetric,
        "locked": sorted(settings.locked),
        "provenance": _packed([head.provenance for head in heads]),
        "scale_assumed": [head.scale_assumed for head in heads],
    }
    tensors = {name: np.stack([getattr(head, name) for head in heads]) for name in _CODES}
    metadata = {"format": PROJECT_FORMAT, "model_hash": studio.model.hash, "project": json.dumps(body)}
    return with_metadata(save(tensors), metadata)


def open_project(path: Path, model: Model) -> Studio:
    """Read a session from its file.

    Raises:
        InputError: the file is not a project, is damaged, or belongs to another model.
    """
    tensors, metadata = read_tensors(path, "project", PROJECT_FORMAT)
    if metadata.get("model_hash") != model.hash:
        raise InputError(
            f"{path.name}: was saved with model {metadata.get('model_hash')}, this session uses {model.hash}; "
            "start the studio with that --model"
        )
    config, count = model.net.config, len(tensors.get("z_id", ()))
    sizes = (
        (config.identity_size,),
        (config.expression_size,),
        (REGION_COUNT, config.region_code_size),
        (2, EYEBALL_NUMBERS),
    )
    check_tensors(path, tensors, {name: (count, *size) for name, size in zip(_CODES, sizes)})
    codes = {name: tensors[name].float().numpy() for name in _CODES}
    try:
        return _studio(json.loads(metadata["project"]), codes, count, model)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise InputError(f"{path.name}: {error}") from error
        raise InputError(f"{path.name}: the project cannot be read ({error}); save it again") from error


def _studio(body: dict[str, Any], codes: dict[str, Any], count: int, model: Model) -> Studio:
    lines = _unpacked(body["provenance"])
    z_id, z_exp, offsets, eyes = (codes[name] for name in _CODES)
    assumed = body.get("scale_assumed", [False] * count)
    heads = [
        Head(model.name, model.hash, z_id[k], z_exp[k], offsets[k], lines[k], eyes[k], bool(assumed[k]))
        for k in range(count)
    ]

    def head(row: Any) -> Head:
        if not isinstance(row, int) or not 0 <= row < count:
            raise InputError(f"a step names head {row!r} of {count}; the project is damaged")
        return heads[row]

    steps = []
    for item in body["steps"]:
        named = tuple(NamedHead(str(n)[: LONGEST_NAME + 8], head(now), head(first)) for n, now, first in item["heads"])
        active = int(item["active"])
        if not 0 <= active < len(named) or len({one.name for one in named}) < len(named):
            raise InputError("a step shows a head that it does not hold; the project is damaged")
        parent = item["parent"]
        steps.append(
            HistoryStep(None if parent is None else int(parent), str(item["label"])[:200], Document(named, active))
        )
    history = History(steps[0], *steps[1:], at=int(body["at"]))
    known = {region.name for region in REGIONS}
    chosen, locked = set(body["selection"]) & known, frozenset(body["locked"]) & known
    selection = tuple(region.name for region in REGIONS if region.name in chosen)
    return Studio(model, history, Settings(selection, bool(body["symmetric"]), locked))


def _packed(provenance: list[tuple[str, ...]]) -> list[list[Any]]:
    """Each head's lines as (number of leading lines shared with the head before it, remaining lines)."""
    packed: list[list[Any]] = []
    last: tuple[str, ...] = ()
    for lines in provenance:
        shared = 0
        while shared < min(len(last), len(lines)) and last[shared] == lines[shared]:
            shared += 1
        packed.append([shared, list(lines[shared:])])
        last = lines
    return packed


def _unpacked(packed: list[list[Any]]) -> list[tuple[str, ...]]:
    provenance: list[tuple[str, ...]] = []
    last: tuple[str, ...] = ()
    total = 0
    for shared, lines in packed:
        last = (*last[: int(shared)], *(str(line) for line in lines))
        total += len(last)
        if total > _MOST_LINES:
            raise InputError("the project has more steps than can be opened; save one with fewer steps or heads")
        provenance.append(last)
    return provenance
