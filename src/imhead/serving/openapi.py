"""A route, and the description of all of them that programs and people read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imhead import __version__

FILE = "application/octet-stream"
"""Media type of scans, heads and meshes."""

Schema = Mapping[str, Mapping[str, Any]]
"""Name of a setting → its JSON schema."""
Handler = Callable[..., Any]
"""(workshop, request, settings, *names in the path) → an object for JSON, or the bytes of a file."""


@dataclass(frozen=True)
class Route:
    """One thing that can be asked."""

    method: str
    path: str
    """`{name}` stands for one part."""
    handler: Handler
    about: str
    """One line for people."""
    settings: Schema
    """In the JSON body of a POST, or in the query where the body is a file."""
    sends: str | None = None
    """What the body is, where it is a file."""
    gets: str | None = None
    """What the answer is, where it is a file."""


def openapi(routes: Sequence[Route]) -> dict[str, Any]:
    """The description of every route in OpenAPI 3.1."""
    paths: dict[str, Any] = {}
    for route in routes:
        names = re.findall(r"\{(\w+)\}", route.path)
        parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
        content: dict[str, Any] = {}
        if route.sends is not None:
            parameters += [
                {"name": name, "in": "query", "schema": dict(schema)} for name, schema in route.settings.items()
            ]
            content = {FILE: {"schema": {"type": "string", "format": "binary", "description": route.sends}}}
        elif route.settings:
            properties = {name: dict(schema) for name, schema in route.settings.items()}
            content = {"application/json": {"schema": {"type": "object", "properties": properties,
                                                       "additionalProperties": False}}}  # fmt: skip
        good = (
            {"application/json": {"schema": {"type": "object"}}}
            if route.gets is None
            else {FILE: {"schema": {"type": "string", "format": "binary"}}}
        )
        error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        paths.setdefault(route.path, {})[route.method.lower()] = {
            "summary": route.about,
            "operationId": route.handler.__name__.strip("_"),
            "parameters": parameters,
            **({"requestBody": {"required": route.sends is not None, "content": content}} if content else {}),
            "responses": {
                "200": {"description": route.gets or "done", "content": good},
                "default": {"description": "refused: what is wrong, and what to do", "content": error},
            },
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "imhead", "version": __version__, "license": {"name": "Apache-2.0"},
                 "description": "Fit, edit, mesh and measure heads. Heads are kept in memory, by name."},
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
            },
        },
    }  # fmt: skip
