"""The Python verbs over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from imhead.cli.console import DeviceOption, JsonOption, ModelOption, print_json, say


def serve(
    port: Annotated[int, typer.Option(help="Port; 0 for any that is free.")] = 8081,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Fit, edit, mesh and measure over HTTP, for programs on this machine that hold the key."""
    from imhead import load
    from imhead.serving.server import ServeConfig, Server

    server = Server(load(model, device), ServeConfig(port=port))
    if as_json:
        print_json({"address": server.address, "key": server.key})
    for line in (
        f"imhead listens at {server.address}, for programs on this machine.",
        "" if as_json else f"The key, for the header Authorization: Bearer {server.key}",
        f"What can be asked: GET {server.address}/v1/openapi.json. Ctrl-C ends it.",
    ):
        if line:
            say.print(line)
    try:
        server.wait()
    finally:
        server.stop()
