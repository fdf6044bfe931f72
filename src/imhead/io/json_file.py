"""JSON files that another run or another program left: read in bounded time and memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_MOST_BYTES = 16 << 20


def read_json_object(path: Path) -> dict[str, Any] | None:
    """The object that a JSON file holds; None if there is no such file, or it holds something else or over 16 MiB."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        with path.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
        found = json.loads(content) if len(content) <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
