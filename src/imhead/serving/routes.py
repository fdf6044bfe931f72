"""What can be asked: one table, from which requests are answered and OpenAPI's description is made."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import imhead
from imhead.api.export import ExportConfig, export_head
from imhead.api.tables import measurement_table
from imhead.avatar.look import Drive, Look
from imhead.avatar.names import Names
from imhead.avatar.writing import AVATAR_EXTENSIONS
from imhead.editing.words import OPPOSITES, words_for
from imhead.errors import InputError
from imhead.fitting.config import FitConfig
from imhead.fitting.pose import Units
from imhead.io.limits import limits_for
from imhead.io.mesh_file import MESH_EXTENSIONS
from imhead.io.reading_process import read_in_new_process
from imhead.io.scan_file import SCAN_EXTENSIONS
from imhead.regions import groups, region_table, resolve
from imhead.serving.openapi import FILE, Route, openapi
from imhead.serving.work import Afterwards, UnknownError, Workshop

MOST_BYTES = 100 << 20
"""Largest request."""
_MOST_HEAD_BYTES = 16 << 20
_AVATAR_FILES = tuple(extension for extension in AVATAR_EXTENSIONS if extension != ".usda")  # that one is a folder
_TYPES = {"integer": int, "number": (int, float), "boolean": bool, "string": str, "array": list, "object": dict}


@dataclass(frozen=True)
class Request:
    """What a handler needs of one."""

    body: bytes
    query: Mapping[str, str]


@dataclass(frozen=True)
class Response:
    """An answer."""

    status: int
    body: bytes
    kind: str = "application/json"


def _about(shop: Workshop, request: Request, settings: dict[str, Any]) -> dict[str, Any]:
    return {"imhead": imhead.__version__, "model": shop.model.model.name, "model_hash": shop.model.model.hash}


def _regions(shop: Workshop, request: Request, settings: dict[str, Any]) -> dict[str, Any]:
    return region_table()


def _words(shop: Workshop, request: Request, settings: dict[str, Any]) -> dict[str, Any]:
    known = {group: [word for word in words_for(resolve(group)) if word not in OPPOSITES] for group in groups()}
    return {"words": {group: words for group, words in known.items() if words}}


def _open_head(shop: Workshop, request: Request, settings: dict[str, Any]) -> dict[str, Any]:
    if len(request.body) > _MOST_HEAD_BYTES:
        raise InputError(f"the head file has {len(request.body) >> 20} MB; one has less than 1 MB")
    with tempfile.TemporaryDirectory(prefix="imhead-") as folder:
        path = Path(folder) / "head.safetensors"
        path.write_bytes(request.body)
        with _named(path, "head.safetensors"):
            return {"head": shop.keep(shop.model.open(path))}


def _sample(shop: Workshop, request: Request, settings: dict[str, Any]) -> dict[str, Any]:
    return {"head": shop.keep(shop.model.sample(1, **settings)[0])}


def _head_file(shop: Workshop, request: Request, settings: dict[str, Any], name: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="imhead-") as folder:
        path = Path(folder) / "head.safetensors"
        shop.head(name).save(path)
        return path.read_bytes()


def _forget(shop: Workshop, request: Request, settings: dict[str, Any], name: str) -> dict[str, Any]:
    shop.forget(name)
    return {}


def _edit(shop: Workshop, request: Request, settings: dict[str, Any], name: str) -> dict[str, Any]:
    regions = settings.pop("regions", [])
    if "source" in settings:
        settings["source"] = shop.head(settings["source"])
    after = shop.head(name).edit(regions, **settings)
    return {"head": shop.keep(after), "provenance": list(after.codes.provenance)}


def _mesh(shop: Workshop, request: Request, settings: dict[str, Any], name: str) -> bytes:
    extension = f".{settings.pop('format', 'glb')}".lower()
    if extension not in MESH_EXTENSIONS:
        raise InputError(f"format {extension[1:]!r} is not known; use {', '.join(e[1:] for e in MESH_EXTENSIONS)}")
    with tempfile.TemporaryDirectory(prefix="imhead-") as folder:
        path = Path(folder) / f"head{extension}"
        with _named(path, path.name):
            export_head(shop.head(name), path, ExportConfig(**settings))
        return path.read_bytes()


def _avatar(shop: Workshop, request: Request, settings: dict[str, Any], name: str) -> bytes:
    extension = f".{settings.pop('format', 'glb')}".lower()
    if extension not in _AVATAR_FILES:
        raise InputError(f"format {extension[1:]!r} is not known; use {', '.join(e[1:] for e in _AVATAR_FILES)}")
    with tempfile.TemporaryDirectory(prefix="imhead-") as folder:
        path = Path(folder) / f"avatar{extension}"
        with _named(path, path.name):
            shop.head(name).avatar(path, Look(**settings))
        return path.read_bytes()


def _measure(shop: Workshop, request: Request, settings: dict[str, Any], name: str) -> dict[str, Any]:
    return measurement_table(shop.head(name))


def _fit(shop: Workshop, request: Request, settings: dict[str, Any]) -> dict[str, Any]:
    extension = f".{settings.get('format', '')}".lower()
    if extension not in SCAN_EXTENSIONS:
        raise InputError(f"format {extension[1:]!r} is not known; use {', '.join(e[1:] for e in SCAN_EXTENSIONS)}")
    units = settings.get("units", "auto")
    if units not in get_args(Units):
        raise InputError(f"units {units!r} are not known; use {', '.join(get_args(Units))}")
    with tempfile.TemporaryDirectory(prefix="imhead-") as folder:
        path = Path(folder) / f"scan{extension}"
        path.write_bytes(request.body)
        with _named(path, path.name):  # a server has threads, so it must not fork
            scan = read_in_new_process(path, MOST_BYTES, limits_for(len(request.body)))
    config = FitConfig(detail=settings.get("detail", True))
    mirrored = settings.get("mirrored", False)
    after = Afterwards(settings.get("register", False), settings.get("colors", True))
    return {"fit": shop.fit(scan, cast("Units", units), config, settings.get("mm_per_unit"), mirrored, after)}


def _fit_state(shop: Workshop, request: Request, settings: dict[str, Any], name: str) -> dict[str, Any]:
    return shop.fit_of(name).as_json()


def _cancel(shop: Workshop, request: Request, settings: dict[str, Any], name: str) -> dict[str, Any]:
    fit = shop.fit_of(name)
    fit.stop.set()
    return fit.as_json()


def _description(shop: Workshop, request: Request, settings: dict[str, Any]) -> dict[str, Any]:
    return openapi(ROUTES)


_WEIGHTS = {"type": "object", "additionalProperties": {"type": "number"}}
ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/about", _about, "Versions of the program and of its model.", {}),
    Route("GET", "/v1/openapi.json", _description, "This description.", {}),
    Route("GET", "/v1/regions", _regions, "The regions, their groups and mirror pairs.", {}),
    Route("GET", "/v1/words", _words, "Group of regions → the words that an edit by direction knows.", {}),
    Route("POST", "/v1/heads", _open_head, "Open a head file.", {}, sends="a head file"),
    Route(
        "POST", "/v1/sample", _sample, "Draw a new head.", {"seed": {"type": "integer"}, "spread": {"type": "number"}}
    ),
    Route("GET", "/v1/heads/{head}", _head_file, "The file of a head.", {}, gets="a head file"),
    Route("DELETE", "/v1/heads/{head}", _forget, "Forget a head.", {}),
    Route(
        "POST", "/v1/heads/{head}/edit", _edit, "A new head with changed regions: one kind of change at a time.",
        {
            "regions": {"type": "array", "items": {"type": "string"}},
            "sample": {"type": "integer", "description": "Seed of a random draw."},
            "source": {"type": "string", "description": "Name of a head to take the regions from."},
            "direction": {"type": ["string", "integer"], "description": "A word such as wider, or a number from 0."},
            "target": {**_WEIGHTS, "description": "Measurement → change, mm or degrees."},
            "symmetry": {"type": "string", "enum": ["left", "right", "average"]},
            "plausible": {"type": "number", "description": "Farthest from the mean, in standard deviations."},
            "strength": {"type": "number"},
            "mirror": {"type": "boolean"},
        },
    ),
    Route(
        "POST", "/v1/heads/{head}/mesh", _mesh, "A mesh of a head.",
        {
            "format": {"type": "string", "enum": [extension[1:] for extension in MESH_EXTENSIONS]},
            "expression": {"oneOf": [_WEIGHTS, {"const": "own"}], "type": ["object", "string"]},
            "surface": {"type": "string", "enum": ["volume", "template"]},
            "resolution": {"type": "integer"},
            "units": {"type": "string", "enum": ["mm", "cm", "m", "in"]},
            "up": {"type": "string", "enum": ["y", "z"]},
            "quantized": {"type": "boolean"},
        },
        gets="a mesh file",
    ),
    Route(
        "POST", "/v1/heads/{head}/avatar", _avatar, "Skin, eyes, teeth, joints and the 52 shapes of a head.",
        {
            "format": {"type": "string", "enum": [extension[1:] for extension in _AVATAR_FILES]},
            "skin": {"type": "string", "description": "Painted; without it the scan's colours, or light."},
            "eyes": {"type": "string"},
            "seed": {"type": "integer"},
            "texture": {"type": "integer"},
            "names": {"type": "string", "enum": list(get_args(Names))},
            "drive": {"type": "string", "enum": list(get_args(Drive))},
            "lod": {"type": "integer"},
        },
        gets="an avatar",
    ),
    Route("GET", "/v1/heads/{head}/measure", _measure, "Measurements and landmarks of the neutral face.", {}),
    Route(
        "POST", "/v1/fits", _fit, "Begin a fit to a scan.",
        {
            "format": {"type": "string", "enum": [extension[1:] for extension in SCAN_EXTENSIONS]},
            "units": {"type": "string", "enum": list(get_args(Units))},
            "mm_per_unit": {"type": "number"},
            "mirrored": {"type": "boolean"},
            "detail": {"type": "boolean"},
            "register": {"type": "boolean", "description": "Move the template onto the scan itself, as --register."},
            "colors": {"type": "boolean", "description": "Keep the scan's colours, if it has any; otherwise true."},
        },
        sends="a scan",
    ),
    Route("GET", "/v1/fits/{fit}", _fit_state, "How far a fit is; its head and report once it is done.", {}),
    Route("DELETE", "/v1/fits/{fit}", _cancel, "Cancel a fit.", {}),
)  # fmt: skip
_PATTERNS = [re.compile(re.sub(r"\{\w+\}", r"([0-9a-f]{1,64})", route.path)) for route in ROUTES]


def answer(shop: Workshop, method: str, path: str, request: Request) -> Response:
    """The answer to a request of somebody who may ask; a wrong one gets a line that says what is wrong."""
    matches = [(route, found) for route, p in zip(ROUTES, _PATTERNS) if (found := p.fullmatch(path))]
    if not matches:
        return failure(404, "there is nothing at this address; GET /v1/openapi.json describes what there is")
    chosen = next(((route, found) for route, found in matches if route.method == method), None)
    if chosen is None:
        return failure(405, f"{method} cannot be asked here; use {' or '.join(route.method for route, _ in matches)}")
    route, found = chosen
    try:
        settings = _settings(route, request)
        with shop.drawing:
            result = route.handler(shop, request, settings, *found.groups())
    except UnknownError as error:
        return failure(404, str(error))
    except InputError as error:
        return failure(400, str(error))
    return Response(200, result, FILE) if isinstance(result, bytes) else json_response(200, result)


def json_response(status: int, value: dict[str, Any]) -> Response:
    """A JSON object as an answer."""
    return Response(status, json.dumps(value, allow_nan=False).encode())


def failure(status: int, line: str) -> Response:
    """An error as an answer."""
    return json_response(status, {"error": line})


def _settings(route: Route, request: Request) -> dict[str, Any]:
    """The settings of a request, of the types that its route names; their values are checked by the verbs."""
    if route.sends is not None:
        given: Any = {name: _from_query(route, name, text) for name, text in request.query.items()}
    elif request.query:
        raise InputError("this address takes no query; send settings as a JSON object in the body")
    else:
        given = _json(request.body) if request.body.strip() else {}
    if not isinstance(given, dict):
        raise InputError("the body is no JSON object; send settings by name")
    for name, value in given.items():
        if name not in route.settings:
            raise InputError(f"setting {name!r} is not known; use {', '.join(route.settings) or 'none'}")
        kinds = route.settings[name]["type"]
        kinds = [kinds] if isinstance(kinds, str) else kinds
        fits = any(
            isinstance(value, cast("type", _TYPES[kind])) and (kind == "boolean") == isinstance(value, bool)
            for kind in kinds
        )
        if not fits or (isinstance(value, float) and not math.isfinite(value)):
            raise InputError(f"setting {name!r} has the wrong type; give {' or '.join(kinds)}")
    return given


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the body is not JSON ({error}); send an object") from error


def _from_query(route: Route, name: str, text: str) -> Any:
    kind = route.settings.get(name, {}).get("type")
    return text if kind in ("string", None) else _json(text.encode())


@contextmanager
def _named(path: Path, label: str) -> Iterator[None]:
    """Messages about a temporary file name it as the client knows it."""
    try:
        yield
    except UnknownError:
        raise
    except InputError as error:
        raise InputError(str(error).replace(str(path), label)) from error
