"""What goes over a page's WebSocket: JSON, or JSON followed by arrays, and a queue in which newer frames replace older.

A message with arrays: the length of the JSON (4 bytes, little-endian), the JSON padded to a multiple of 4, the arrays.
The JSON lists them under `arrays` as [name, type, length]; a page reads them without copying.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KINDS = {"float32": "<f4", "uint32": "<u4", "uint8": "u1"}


def packed(message: Mapping[str, Any], arrays: Mapping[str, NDArray[Any] | bytes]) -> bytes:
    """A message with arrays, of float32, uint32 or uint8; bytes travel as uint8.

    Raises:
        ValueError: an array of another type.
    """
    parts: list[bytes] = []
    listed: list[list[Any]] = []
    for name, value in arrays.items():
        array = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else np.asarray(value)
        if array.dtype.name not in _KINDS:
            raise ValueError(f"{name} is of type {array.dtype}")
        data = np.ascontiguousarray(array, _KINDS[array.dtype.name]).tobytes()
        listed.append([name, array.dtype.name, array.size])
        parts.append(data + bytes(-len(data) % 4))
    head = json.dumps({**message, "arrays": listed}).encode()
    head += b" " * (-len(head) % 4)
    return b"".join([len(head).to_bytes(4, "little"), head, *parts])


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The message and the arrays of `packed`."""
    size = int.from_bytes(data[:4], "little")
    message: dict[str, Any] = json.loads(data[4 : 4 + size])
    at, arrays = 4 + size, {}
    for name, kind, count in message.pop("arrays"):
        arrays[name] = np.frombuffer(data, _KINDS[kind], count, at)
        at += arrays[name].nbytes + -arrays[name].nbytes % 4
    return message, arrays


class Outbox:
    """What is still to be sent to one page. Any thread may put; the server's loop takes.

    Args:
        loop: the server's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[str, str | bytes]] = deque()
        self._some = asyncio.Event()

    def put(self, content: str | bytes, replaces: str = "") -> None:
        """Queue a message.

        Args:
            replaces: a kind, of which only the latest counts: an earlier one that was not sent is dropped.
        """
        self._loop.call_soon_threadsafe(self._add, content, replaces)

    async def take(self) -> str | bytes:
        """The next message."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        return self._waiting.popleft()[1]

    def _add(self, content: str | bytes, kind: str) -> None:
        if kind:
            self._waiting = deque(item for item in self._waiting if item[0] != kind)
        self._waiting.append((kind, content))
        self._some.set()
