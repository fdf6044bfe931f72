"""Writing to viser's widgets."""

from __future__ import annotations

from typing import Any


def put(widget: Any, value: object) -> None:
    """Set a widget's value. viser defines setter and getter apart, so type checkers see a read-only property."""
    widget.value = value
