"""What the studio logs of a request or a message that it cannot use: one line, without what was sent.

What was sent may hold the key, or anything else: only the kind of error and the place in the code are logged.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any


class OneLine(logging.LoggerAdapter[logging.Logger]):
    """A logger for websockets: no tracebacks, and no details of requests at any level."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger, {})

    def isEnabledFor(self, level: int) -> bool:
        """Whether messages of a level are logged; at DEBUG, websockets would log whole requests."""
        return level > logging.DEBUG and super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """A message with the kind of its exception instead of a traceback."""
        given = kwargs.pop("exc_info", None)
        error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
        return (msg if error is None else f"{msg}: {kind_of(error)}"), kwargs


def kind_of(error: BaseException) -> str:
    """The class of an exception and where it was raised; its text may repeat what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return type(error).__name__ + place
