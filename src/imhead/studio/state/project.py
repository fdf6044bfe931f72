"""A session as a safetensors file: every step of its history, on all branches, and all that its heads carry."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor

from imhead.checkpoint import (
    Model,
    certainty_figures,
    certainty_tensors,
    check_tensors,
    read_certainty,
    read_residual,
    read_tensors,
    residual_tensors,
)
from imhead.errors import InputError
from imhead.io.skin_files import is_digest
from imhead.io.tensor_file import with_metadata
from imhead.regions import REGION_COUNT, REGIONS
from imhead.studio.state.document import LONGEST_NAME, Document, NamedHead
from imhead.studio.state.history import History, HistoryStep
from imhead.studio.state.studio import Settings, Studio
from imhead.surfaces.eyeballs import EYEBALL_NUMBERS
from imhead.types import Certainty, FloatArray, Head, Residual, SkinImage

PROJECT_FORMAT = "imhead-project-2"
PROJECT_SUFFIX = ".imhead"
_CODES = ("z_id", "z_exp", "offsets", "eyes")
_MOST_LINES = 20_000_000  # of provenance, over all heads; they are stored as a few bytes each

_Value = TypeVar("_Value")


class _Shared(Generic[_Value]):
    """What many heads of a project share, each kept once."""

    def __init__(self, key: Callable[[_Value], object]) -> None:
        self._key, self._rows = key, dict[object, int]()
        self.values: list[_Value] = []

    def row(self, value: _Value | None) -> int:
        """The row of a value; -1 for None."""
        if value is None:
            return -1
        key = self._key(value)
        if key not in self._rows:
            self._rows[key] = len(self.values)
            self.values.append(value)
        return self._rows[key]


def project_bytes(studio: Studio) -> bytes:
    """Content of the session's project file. A draft becomes a step first."""
    studio.settle()
    heads = _Shared[Head](id)
    skins = _Shared[SkinImage](lambda skin: (skin.digest, skin.tone, skin.eyes))
    certainties, registrations = _Shared[Certainty](id), _Shared[FloatArray](lambda offsets: offsets.tobytes())
    residuals = _Shared[Residual](id)
    steps = [
        {
            "parent": step.parent,
            "label": step.label,
            "named": step.named,
            "active": step.document.active,
            "heads": [[named.name, heads.row(named.codes), heads.row(named.origin)] for named in step.document.heads],
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
        "provenance": _packed([head.provenance for head in heads.values]),
        "scale_assumed": [head.scale_assumed for head in heads.values],
        "skin": [skins.row(head.skin) for head in heads.values],
        "lost_skin": [head.lost_skin for head in heads.values],
        "certainty": [certainties.row(head.certainty) for head in heads.values],
        "registration": [registrations.row(head.registration) for head in heads.values],
        "residual": [residuals.row(head.residual) for head in heads.values],
        "skins": [[skin.tone, skin.eyes] for skin in skins.values],
        "certainties": [certainty_figures(certainty) for certainty in certainties.values],
    }
    tensors: dict[str, NDArray[Any]] = {
        name: np.stack([getattr(head, name) for head in heads.values]) for name in _CODES
    }
    for k, skin in enumerate(skins.values):
        tensors |= {f"skin.{k}.{part}": np.frombuffer(getattr(skin, part), np.uint8) for part in ("picture", "mask")}
    for k, certainty in enumerate(certainties.values):
        tensors |= {f"{k}.{name}": value.numpy() for name, value in certainty_tensors(certainty).items()}
    for k, offsets in enumerate(registrations.values):
        tensors[f"registration.{k}"] = np.ascontiguousarray(offsets)
    for k, residual in enumerate(residuals.values):
        tensors |= {f"{k}.{name}": value.numpy() for name, value in residual_tensors(residual).items()}
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
    carried = {name: value for name, value in tensors.items() if "." in name}
    codes = {name: value for name, value in tensors.items() if "." not in name}
    check_tensors(path, codes, {name: (count, *size) for name, size in zip(_CODES, sizes)})
    try:
        body = json.loads(metadata["project"])
        belongings = _belongings(path, body, carried, count)
        return _studio(body, {name: codes[name].float().numpy() for name in _CODES}, belongings, model)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, InputError):
            raise InputError(f"{path.name}: {error}") from error
        raise InputError(f"{path.name}: the project cannot be read ({error}); save it again") from error


@dataclass(frozen=True, eq=False)
class _Belongings:
    """What one head carries beside its codes."""

    skin: SkinImage | None
    lost_skin: str
    certainty: Certainty | None
    registration: FloatArray | None
    residual: Residual | None


def _belongings(path: Path, body: dict[str, Any], tensors: dict[str, Tensor], count: int) -> list[_Belongings]:
    """Of each of the `count` heads; an older project has none."""
    skins = [
        SkinImage(_file(tensors[f"skin.{k}.picture"]), _file(tensors[f"skin.{k}.mask"]), str(tone)[:40], str(eyes)[:40])
        for k, (tone, eyes) in enumerate(body.get("skins", []))
    ]
    certainties = []
    for k, figures in enumerate(body.get("certainties", [])):
        certainties.append(read_certainty(path, _own(tensors, f"{k}.certainty."), {"certainty": figures}))
    residuals: list[Residual | None] = []
    while own := _own(tensors, f"{len(residuals)}.residual."):
        residuals.append(read_residual(path, own))
    offsets = {name: value.float().numpy() for name, value in tensors.items() if name.startswith("registration.")}
    registrations = [offsets[f"registration.{k}"] for k in range(len(offsets))]

    def rows(name: str) -> list[int]:
        found = [int(row) for row in body.get(name, [-1] * count)]
        if len(found) != count:
            raise InputError(f"has {len(found)} entries of {name} for {count} heads; the project is damaged")
        return found

    def at(values: list[Any], row: int) -> Any:
        if row >= len(values):
            raise InputError("a head carries what the file does not hold; the project is damaged")
        return values[row] if row >= 0 else None

    lost = [str(digest) for digest in body.get("lost_skin", [""] * count)]
    return [
        _Belongings(
            at(skins, skin), digest if is_digest(digest) else "", at(certainties, sure), at(registrations, moved),
            at(residuals, left),
        )
        for skin, digest, sure, moved, left in zip(
            rows("skin"), lost, rows("certainty"), rows("registration"), rows("residual"), strict=True
        )
    ]  # fmt: skip


def _own(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a number and a kind, without the number."""
    first = prefix.index(".") + 1
    return {name[first:]: value for name, value in tensors.items() if name.startswith(prefix)}


def _file(tensor: Tensor) -> bytes:
    """The bytes of a file that is kept as a tensor."""
    value = tensor.numpy()
    if value.dtype != np.uint8 or value.ndim != 1:
        raise InputError("a picture is no file; the project is damaged")
    return value.tobytes()


def _studio(body: dict[str, Any], codes: dict[str, Any], belongings: list[_Belongings], model: Model) -> Studio:
    lines, count = _unpacked(body["provenance"]), len(belongings)
    z_id, z_exp, offsets, eyes = (codes[name] for name in _CODES)
    assumed = body.get("scale_assumed", [False] * count)
    heads = [
        Head(
            model.name, model.hash, z_id[k], z_exp[k], offsets[k], lines[k], eyes[k], bool(assumed[k]),
            own.certainty, own.registration, own.skin, own.lost_skin, own.residual,
        )
        for k, own in enumerate(belongings)
    ]  # fmt: skip

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
        parent = None if item["parent"] is None else int(item["parent"])
        own_name = bool(item.get("named", False))
        steps.append(HistoryStep(parent, str(item["label"])[:200], Document(named, active), own_name))
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
