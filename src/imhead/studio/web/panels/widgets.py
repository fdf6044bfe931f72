"""Writing to viser's widgets."""

from __future__ import annotations

from typing import Any


def put(widget: Any, value: object) -> None:
    """Set a widget's value. viser's setter stands apart from its getter, and type checkers take it for read-only."""
    widget.value = value
