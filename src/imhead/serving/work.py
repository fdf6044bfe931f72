"""What the server holds in memory: heads, and fits that run one after another."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from imhead.api import EditableHead, MorphableModel
from imhead.errors import InputError, refusal
from imhead.fitting.config import FitConfig
from imhead.fitting.pose import Units
from imhead.types import Scan

log = logging.getLogger("imhead.serving")

Status = Literal["waiting", "running", "done", "refused", "failed", "cancelled"]


class UnknownError(InputError):
    """A head or a fit that is not here, or no longer."""


class _Cancelled(Exception):
    pass


@dataclass(frozen=True)
class Afterwards:
    """What is done with a fitted head."""

    register: bool = False
    """Move the template onto the scan itself."""
    colors: bool = True
    """Keep the scan's colours, if it has any."""


@dataclass
class Fit:
    """One fit, from its request to its head."""

    status: Status = "waiting"
    stage: str = ""
    """What it does now."""
    part: float = 0.0
    """How much is done, 0 to 1."""
    head: str | None = None
    """Name of the head, once it is done."""
    report: dict[str, Any] | None = None
    """What `report.json` holds, once it is done."""
    error: str | None = None
    """Why there is no head."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set to cancel it."""

    def as_json(self) -> dict[str, Any]:
        """What a client reads."""
        names = ("status", "stage", "part", "head", "report", "error")
        return {name: getattr(self, name) for name in names}


class Workshop:
    """Heads and fits by name. The oldest give way to new ones.

    Args:
        model: draws and fits all heads.
        most_heads: kept at once.
        most_fits: kept at once; as many may wait.
    """

    def __init__(self, model: MorphableModel, most_heads: int = 256, most_fits: int = 32) -> None:
        self.model = model
        self.drawing = threading.Lock()
        """Held by a request while it computes: one at a time uses all cores."""
        self._most_heads, self._most_fits = most_heads, most_fits
        self._heads: OrderedDict[str, EditableHead] = OrderedDict()
        self._fits: OrderedDict[str, Fit] = OrderedDict()
        self._lock = threading.Lock()
        self._fitter = ThreadPoolExecutor(1, "imhead-fit")

    def keep(self, head: EditableHead) -> str:
        """Keep a head; its name."""
        name = secrets.token_hex(8)
        with self._lock:
            self._heads[name] = head
            while len(self._heads) > self._most_heads:
                self._heads.popitem(last=False)
        return name

    def head(self, name: str) -> EditableHead:
        """The head of a name.

        Raises:
            UnknownError: there is none.
        """
        with self._lock:
            if name not in self._heads:
                raise UnknownError(f"there is no head {name!r}; send its file again")
            self._heads.move_to_end(name)
            return self._heads[name]

    def forget(self, name: str) -> None:
        """Drop a head.

        Raises:
            UnknownError: there is none.
        """
        self.head(name)
        with self._lock:
            self._heads.pop(name, None)

    def fit(
        self, scan: Scan, units: Units, config: FitConfig, mm_per_unit: float | None, mirrored: bool,
        after: Afterwards,
    ) -> str:  # fmt: skip
        """Begin a fit, which waits for those before it; its name.

        Raises:
            InputError: too many are waiting.
        """
        name, fit = secrets.token_hex(8), Fit()
        with self._lock:
            ended = [k for k, other in self._fits.items() if other.status not in ("waiting", "running")]
            if len(self._fits) >= self._most_fits and not ended:
                raise InputError("too many fits are waiting; ask again when one is done")
            if len(self._fits) >= self._most_fits:
                del self._fits[ended[0]]
            self._fits[name] = fit

        def show(stage: str, part: float) -> None:
            fit.stage, fit.part = stage, part
            if fit.stop.is_set():
                raise _Cancelled

        def work() -> None:
            try:
                show("starting", 0.0)
                fit.status = "running"
                found = self.model.fit(
                    scan, units, config, mm_per_unit=mm_per_unit, mirrored=mirrored, progress=show
                )  # fmt: skip
                if after.register:
                    show("on the scan", 1.0)
                    found = found.register()
                if after.colors:
                    found = found.keeping_colors()
                fit.report, fit.head, fit.part = found.report(), self.keep(found), 1.0
                fit.status = "done"
            except _Cancelled:
                fit.status = "cancelled"
            except Exception as error:  # the client reads why, and the next fit runs
                said = refusal(error)
                fit.error = said or f"internal error: {type(error).__name__}"
                fit.status = "refused" if said is not None else "failed"
                if said is None:
                    log.exception("a fit failed")

        self._fitter.submit(work)
        return name

    def fit_of(self, name: str) -> Fit:
        """The fit of a name.

        Raises:
            UnknownError: there is none.
        """
        with self._lock:
            if name not in self._fits:
                raise UnknownError(f"there is no fit {name!r}; send the scan again")
            return self._fits[name]

    def close(self) -> None:
        """Cancel every fit, and wait for the one that runs."""
        with self._lock:
            for fit in self._fits.values():
                fit.stop.set()
        self._fitter.shutdown()
