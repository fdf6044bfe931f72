"""Options of who does the work on many scans: this process, others on this machine, or a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

RayOption = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Work on all CPU cores of a Ray cluster: HOST:PORT, or auto."),
]
MemoryOption = Annotated[
    float | None,
    typer.Option("--memory", min=0.5, max=1024.0, help="GiB that each of several scans at a time may take."),
]


def in_bytes(memory: float | None) -> int | None:
    """Bytes of so many GiB."""
    return None if memory is None else int(memory * 2**30)
