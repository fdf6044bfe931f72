"""Tables as CSV: UTF-8, a head line, and lines that end alike on every system."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_QUOTED = frozenset(',"\r\n')  # Python's own writer leaves a lone \r as it is, and readers then see another row


def csv_bytes(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A table of two columns or more with a head line; None is an empty cell."""
    return "".join(",".join(map(_cell, row)) + "\n" for row in (head, *rows)).encode()


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if _QUOTED.isdisjoint(text) else '"' + text.replace('"', '""') + '"'
