"""Models and heads on disk: safetensors only, checked in full before any number in them is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from imhead.errors import InputError, one_line, system_refusal
from imhead.io.atomic import write_atomically
from imhead.io.hub import HUB_PREFIX, hub_model
from imhead.io.skin_files import is_digest, load_skin, save_skin
from imhead.io.tensor_file import with_metadata
from imhead.model.config import ModelConfig, model_config_from_dict, to_dict
from imhead.model.head import HeadModel
from imhead.regions import REGION_COUNT, REGIONS
from imhead.surfaces.eyeballs import EYEBALL_NUMBERS
from imhead.types import Certainty, Head, Residual

MODEL_FORMAT = "imhead-model-2"
HEAD_FORMAT = "imhead-head-2"
_MAX_BYTES = 256 << 20
_MAX_LINES = 1000  # of a head's provenance
_MAX_VERTICES = 200_000  # of a registration
_MOST_NODES = 400_000  # of a residual
_RESIDUAL = "residual."  # begins the names of its tensors
_CERTAINTY = "certainty."  # begins the names of its tensors; a head that was not fitted has none
_CERTAINTY_ARRAYS = ("sigma_mm", "measured", "landmarks", "landmark_mm")
_CERTAINTY_FIGURES = {"size_share": float, "factor_95": float, "calibrated": bool}


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model, ready to draw heads."""

    name: str
    """The name written into every head made with it."""
    hash: str
    """First 16 hex digits of the SHA-256 over its weights."""
    net: HeadModel
    """The network, in evaluation mode, gradients off."""
    card: dict[str, Any]
    """Data, seed, training and limits, as written when it was trained."""
    path: Path | None = None
    """The file it was opened from, with its template beside it; None for a model that was never on disk."""

    @property
    def device(self) -> torch.device:
        """The device that holds the weights."""
        return self.net.radius.device

    def neutral(self) -> Head:
        """The mean head: every code zero."""
        config = self.net.config
        return Head(
            self.name,
            self.hash,
            np.zeros(config.identity_size),
            np.zeros(config.expression_size),
            np.zeros((REGION_COUNT, config.region_code_size)),
            ("mean head",),
        )


def regions_digest() -> str:
    """First 16 hex digits of the SHA-256 over the region table; a model opens only with the table it was made with."""
    table = [(r.name, r.group, r.center_mm, r.radius_mm, r.mirror) for r in REGIONS]
    return hashlib.sha256(repr(table).encode()).hexdigest()[:16]


def weights_hash(tensors: dict[str, Tensor]) -> str:
    """First 16 hex digits of the SHA-256 over names, shapes and half-precision bytes, in name order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().half().contiguous()
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:16]


def save_model(net: HeadModel, path: Path, name: str, card: dict[str, Any]) -> str:
    """Write a model as safetensors, parameters in half precision and buffers in single precision; returns its hash."""
    learned = {name for name, _ in net.named_parameters()}
    tensors = {
        key: (value.half() if key in learned else value.float()).detach().cpu().contiguous()
        for key, value in net.state_dict().items()
    }
    metadata = {
        "format": MODEL_FORMAT,
        "name": name,
        "config": json.dumps(to_dict(net.config)),
        "regions": regions_digest(),
        "card": json.dumps(card),
    }
    write_atomically(path, with_metadata(save(tensors), metadata))
    return weights_hash(tensors)


def device_named(name: str) -> torch.device:
    """`cpu`, `cuda`, or `auto`: a GPU where there is one.

    Raises:
        InputError: another name, or no GPU where one is asked for.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device {name!r} is not known; use auto, cpu or cuda")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("no CUDA device was found; use --device cpu")
    return torch.device("cuda" if name != "cpu" and available else "cpu")


def load_model(source: str | Path = "default", device: str | torch.device = "cpu") -> Model:
    """Open a model by the name of one that ships with the package, by path, or from the hub (`hf:owner/name@revision`).

    Raises:
        InputError: no such model, not a safetensors file, or its contents do not match its own config.
    """
    text = str(source)
    shipped = {entry.name: entry for entry in (resources.files("imhead") / "assets").iterdir()}
    found = shipped.get(f"{text}.safetensors", text)
    path = hub_model(text) if text.startswith(HUB_PREFIX) else Path(str(found))
    tensors, metadata = read_tensors(path, "model", MODEL_FORMAT)
    if metadata.get("regions") != regions_digest():
        raise InputError(f"{path}: was made with another table of regions; use the imhead version it came with")
    try:
        config: ModelConfig = model_config_from_dict(json.loads(metadata["config"]))
        card = json.loads(metadata["card"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: its config cannot be read ({error}); get the file again") from error
    net = HeadModel(config)
    check_tensors(path, tensors, {k: tuple(v.shape) for k, v in net.state_dict().items()})
    net.load_state_dict({key: value.float() for key, value in tensors.items()})
    net.eval().requires_grad_(False)
    return Model(one_line(metadata.get("name", path.stem), 100), weights_hash(tensors), net.to(device), card, path)


def save_head(head: Head, path: Path) -> None:
    """Write a head file: codes in single precision, and their provenance; the colours of its skin beside it."""
    tensors = {
        "z_id": torch.from_numpy(np.array(head.z_id)),
        "z_exp": torch.from_numpy(np.array(head.z_exp)),
        "offsets": torch.from_numpy(np.array(head.offsets)),
        "eyes": torch.from_numpy(np.array(head.eyes)),
    }
    metadata = {
        "format": HEAD_FORMAT,
        "model": head.model_id,
        "model_hash": head.model_hash,
        "provenance": json.dumps(list(head.provenance)),
        "scale": "assumed" if head.scale_assumed else "known",
    }
    if head.certainty is not None:
        tensors |= certainty_tensors(head.certainty)
        metadata["certainty"] = certainty_figures(head.certainty)
    if head.registration is not None:
        tensors["registration"] = torch.from_numpy(np.array(head.registration))
    if head.residual is not None:
        tensors |= residual_tensors(head.residual)
    if head.skin is not None or head.lost_skin:
        metadata["skin"] = head.skin.digest if head.skin is not None else head.lost_skin
    if head.skin is not None:
        metadata |= {"skin_tone": head.skin.tone, "eye_color": head.skin.eyes}
        save_skin(head.skin, path.parent)
    write_atomically(path, with_metadata(save(tensors), metadata))


def residual_tensors(residual: Residual) -> dict[str, Tensor]:
    """A residual's arrays by name, as files keep them: in half precision, which loses nothing of them."""
    return {
        "residual.spacings_mm": torch.tensor(residual.spacings_mm, dtype=torch.float32),
        "residual.nodes": torch.from_numpy(np.array(residual.nodes)),
        "residual.values": torch.from_numpy(residual.values.astype(np.float16)),
    }


def read_residual(path: Path, tensors: Mapping[str, Tensor]) -> Residual | None:
    """The residual of `residual_tensors`; None without such tensors.

    Raises:
        InputError: something is missing or damaged.
    """
    own = {name: value for name, value in tensors.items() if name.startswith(_RESIDUAL)}
    if not own:
        return None
    try:
        nodes = own[f"{_RESIDUAL}nodes"]
        if len(own) != 3 or nodes.dtype != torch.int16 or len(nodes) > _MOST_NODES:
            raise InputError("it holds other arrays")
        spacings = tuple(own[f"{_RESIDUAL}spacings_mm"].double().tolist())
        return Residual(spacings, nodes.numpy(), own[f"{_RESIDUAL}values"].float().numpy())
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its residual cannot be read ({error}); get the file again") from error


def certainty_tensors(certainty: Certainty) -> dict[str, Tensor]:
    """A certainty's arrays by name, as files keep them: in half precision."""
    arrays = {name: np.asarray(getattr(certainty, name)) for name in _CERTAINTY_ARRAYS}
    stored = {k: v.astype(np.uint8 if v.dtype == np.bool_ else np.float16) for k, v in arrays.items()}
    return {_CERTAINTY + name: torch.from_numpy(array) for name, array in stored.items()}


def certainty_figures(certainty: Certainty) -> str:
    """A certainty's figures as JSON."""
    return json.dumps({name: getattr(certainty, name) for name in _CERTAINTY_FIGURES})


def read_certainty(path: Path, tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> Certainty | None:
    """The certainty of `certainty_tensors` and, under `certainty`, of `certainty_figures`; None without tensors.

    Raises:
        InputError: something is missing or damaged.
    """
    if not tensors:
        return None
    try:
        figures = json.loads(metadata["certainty"])
        values: dict[str, Any] = {name: kind(figures[name]) for name, kind in _CERTAINTY_FIGURES.items()}
        values |= {name: tensors[_CERTAINTY + name].float().numpy() for name in _CERTAINTY_ARRAYS}
        return Certainty(**values)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: its certainty cannot be read; get the file again") from error


def load_head(path: Path, model: Model) -> Head:
    """Open a head that was made with `model`.

    Raises:
        InputError: not a head, damaged, or made with another model.
    """
    tensors, metadata = read_tensors(path, "head", HEAD_FORMAT)
    if metadata.get("model_hash") != model.hash:
        raise InputError(
            f"{path}: was made by model {metadata.get('model')!r} ({metadata.get('model_hash')}), not by "
            f"{model.name!r} ({model.hash}); pass that model with --model"
        )
    config = model.net.config
    certainty = read_certainty(path, {k: v for k, v in tensors.items() if k.startswith(_CERTAINTY)}, metadata)
    residual = read_residual(path, tensors)
    tensors = {name: value for name, value in tensors.items() if not name.startswith((_CERTAINTY, _RESIDUAL))}
    shapes: dict[str, tuple[int, ...]] = {
        "z_id": (config.identity_size,),
        "z_exp": (config.expression_size,),
        "offsets": (REGION_COUNT, config.region_code_size),
        "eyes": (2, EYEBALL_NUMBERS),
    }
    if "registration" in tensors:  # of a template with any number of vertices; its user compares them
        shapes["registration"] = (min(tensors["registration"].numel() // 3, _MAX_VERTICES), 3)
    check_tensors(path, tensors, shapes)
    try:
        lines = list(json.loads(metadata.get("provenance", "[]")))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: its provenance cannot be read; get the file again") from error
    if len(lines) > _MAX_LINES:  # where the head came from, and its latest edits
        lines = lines[:1] + lines[1 - _MAX_LINES :]
    provenance = tuple(one_line(line) for line in lines)
    codes = {key: value.float().numpy() for key, value in tensors.items()}
    assumed = metadata.get("scale") == "assumed"
    z_id, z_exp, offsets, eyes = (codes[name] for name in ("z_id", "z_exp", "offsets", "eyes"))
    registration, digest = codes.get("registration"), metadata.get("skin", "")
    named = (metadata.get(name, "") for name in ("skin_tone", "eye_color"))
    skin = load_skin(path.parent, digest, *named) if digest else None
    lost = digest if skin is None and is_digest(digest) else ""
    return Head(
        model.name, model.hash, z_id, z_exp, offsets, provenance, eyes, assumed, certainty, registration, skin, lost,
        residual,
    )  # fmt: skip


def read_tensors(path: Path, what: str, mark: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file of one kind.

    Args:
        what: the kind, for messages: `model`, `head` …
        mark: the kind's format mark, `format` in the file's metadata.

    Raises:
        InputError: no such file, too large, a pickle, damaged, or of another kind.
    """
    try:
        if not path.exists():
            raise InputError(f"{path}: no such {what}; give the path of a .safetensors file")
        if not path.is_file() or path.stat().st_size == 0:
            raise InputError(f"{path}: is empty or a folder; give the path of a .safetensors file")
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path}: is larger than {_MAX_BYTES >> 20} MiB, so no imhead {what}; check the path")
        with path.open("rb") as raw:
            start = raw.read(9)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened {system_refusal(error)}") from error
    except ValueError as error:  # a null byte, or text that is no file name
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is no file name; give the path of a .safetensors file") from error
    # a safetensors header is JSON, whose brace follows its length; that length may start like a pickle's mark
    if len(start) == 9 and start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80"):
        raise InputError(f"{path}: is a pickle or zip archive, which can run code; only .safetensors files are opened")
    try:
        with path.open("rb") as raw, safe_open(_openable(path, raw), framework="pt") as opened:
            tensors, metadata = {key: opened.get_tensor(key) for key in opened.keys()}, dict(opened.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: damaged or not a safetensors file ({reason}); get the file again") from error
    found = metadata.get("format", "")
    if found != mark and found.rsplit("-", 1)[0] == mark.rsplit("-", 1)[0]:
        raise InputError(
            f"{path}: this {what} was written by another version ({found}, not {mark}); make it again with this one, "
            "a fitted head from its scan"
        )
    if found != mark:
        article = "an" if what[0] in "aeiou" else "a"
        raise InputError(f"{path}: holds {found or 'no format mark'!r}, not {article} {what} ({mark}); check the path")
    return tensors, metadata


def _openable(path: Path, opened: BinaryIO) -> str:
    """A name for the safetensors library, which takes UTF-8 only: on Linux a file's name may be any bytes."""
    try:
        return str(path).encode().decode()
    except UnicodeEncodeError:
        return f"/proc/self/fd/{opened.fileno()}"


def read_companion(path: Path, what: str, mark: str, model: Model) -> tuple[dict[str, Tensor], dict[str, str]]:
    """`read_tensors` of a file that belongs to one model's weights, such as its template or its encoder.

    Raises:
        InputError: as `read_tensors`, or it belongs to another model.
    """
    tensors, metadata = read_tensors(path, what, mark)
    if metadata.get("model_hash") != model.hash:
        raise InputError(
            f"{path}: is the {what} of model {metadata.get('model_hash')}, not of {model.name!r} ({model.hash}); "
            "build it again with imhead train --resume"
        )
    return tensors, metadata


def check_tensors(
    path: Path,
    tensors: dict[str, Tensor],
    shapes: dict[str, tuple[int, ...]],
    dtypes: tuple[torch.dtype, ...] = (torch.float16, torch.float32),
) -> None:
    """Check that a file holds exactly the tensors of `shapes`, each of its shape, of an allowed type, and finite.

    Raises:
        InputError: it does not.
    """
    if set(tensors) != set(shapes):
        odd = sorted(set(tensors).symmetric_difference(shapes))[:3]
        raise InputError(f"{path}: missing or unknown tensors ({', '.join(odd)}); get the file again")
    for name, shape in shapes.items():
        value = tensors[name]
        if tuple(value.shape) != shape or value.dtype not in dtypes:
            wanted = "float" if dtypes[0].is_floating_point else "integer"
            raise InputError(
                f"{path}: tensor {name} is {value.dtype} {tuple(value.shape)}, expected {wanted} {shape}; "
                "get the file again"
            )
        if not torch.isfinite(value).all():
            raise InputError(f"{path}: tensor {name} holds NaN or infinite numbers; get the file again")
