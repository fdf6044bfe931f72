"""The browser editor."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from imhead.cli.console import DeviceOption, ModelOption, say
from imhead.errors import InputError


def studio(
    port: Annotated[int, typer.Option(help="First port that is tried.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to bind to; the default lets only this machine in.")] = "127.0.0.1",
    model: ModelOption = "default",
    device: DeviceOption = "auto",
) -> None:
    """Edit heads in the browser: click a region, change it."""
    if find_spec("websockets") is None:
        raise InputError("the studio needs websockets; install it with: pip install 'imhead[studio]'")
    from imhead import load
    from imhead.studio.web.server import StudioConfig, start

    server = start(load(model, device).model, StudioConfig(host=host, port=port))
    opened = "The studio is open. In a browser on this machine go to"
    for line in (opened, "", f"  {server.address}", "", "Ctrl-C ends it."):
        say.print(line)
    try:
        server.wait()
    finally:
        server.stop()
