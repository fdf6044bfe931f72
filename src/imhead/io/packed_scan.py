"""A scan as bytes between two processes: a line of JSON, then its arrays; nothing in them can run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from imhead.types import Scan, ScanTexture

_LONGEST_HEADER = 1 << 24
_PICTURE = "texture.pictures."


def send_scan(scan: Scan, write: Callable[[memoryview], Any]) -> None:
    """Write a scan: `write` is called with one piece after the other, and takes all of each."""
    values = {spec.name: getattr(scan, spec.name) for spec in fields(scan) if spec.name != "texture"}
    if scan.texture is not None:
        values |= {"texture.uv": scan.texture.uv, "texture.picture": scan.texture.picture}
        values |= {f"{_PICTURE}{k}": picture for k, picture in enumerate(scan.texture.pictures)}
    arrays = {name: np.ascontiguousarray(value) for name, value in values.items() if isinstance(value, np.ndarray)}
    values |= {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
    header = json.dumps({"arrays": list(arrays), "values": values}).encode()
    write(memoryview(len(header).to_bytes(8, "little") + header))
    for array in arrays.values():
        if array.size:
            write(array.data.cast("B"))


def receive_scan(fill: Callable[[memoryview], Any], max_bytes: int) -> Scan:
    """Read a scan that `send_scan` wrote.

    Args:
        fill: fills the whole of the memory that it is given, or raises.
        max_bytes: of all arrays together.

    Raises:
        ValueError: these are no bytes of a scan, or more than allowed.
    """
    size = bytearray(8)
    fill(memoryview(size))
    length = int.from_bytes(size, "little")
    if length > _LONGEST_HEADER:
        raise ValueError("the header of a scan is too long")
    text = bytearray(length)
    fill(memoryview(text))
    header = json.loads(text)
    values: dict[str, Any] = header["values"]
    for name in header["arrays"]:
        kind, shape = values[name]
        if np.dtype(kind).kind not in "iuf":
            raise ValueError("an array of a scan holds no numbers")
        max_bytes -= int(np.prod(shape, dtype=object)) * np.dtype(kind).itemsize
        if max_bytes < 0:
            raise ValueError("the arrays of a scan are too large")
        values[name] = np.empty(shape, dtype=kind)
        if values[name].size:
            fill(memoryview(values[name]).cast("B"))
    whole: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    if "texture.uv" in whole:
        pictures = tuple(whole.pop(name) for name in list(whole) if name.startswith(_PICTURE))
        whole["texture"] = ScanTexture(whole.pop("texture.uv"), whole.pop("texture.picture"), pictures)
    return Scan(**whole)
