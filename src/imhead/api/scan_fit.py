"""What is done with each of many scans: read it, fit it, and what else was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from imhead.api.batch import whole_fit
from imhead.api.fitted import FittedHead
from imhead.api.models import MorphableModel
from imhead.fitting.config import FitConfig
from imhead.fitting.landmarks import Landmarks
from imhead.fitting.pose import Units


@dataclass(frozen=True)
class ScanFit:
    """Reads and fits one scan. Without `show` it can be pickled, for a process that is started and not forked."""

    model: MorphableModel
    """To fit."""
    units: Units = "auto"
    """What the numbers of the scans mean."""
    config: FitConfig = FitConfig()
    """Settings of the fits."""
    mm_per_unit: float | None = None
    """Millimetres that one unit of the scans stands for, if it is known; goes before `units`."""
    landmarks: Landmarks | None = None
    """Region name → place in the scan's own frame; None searches for the pose."""
    mirrored: bool = False
    """Whether the scans have left and right swapped."""
    register: bool = False
    """Move the template onto each scan."""
    color: bool = False
    """Keep the colours of a coloured scan."""
    show: Callable[[Path, str, float], None] | None = None
    """Called with the file, the stage and the part done, 0 to 1."""

    def __call__(self, path: Path) -> FittedHead:
        """The head of a scan.

        Raises:
            InputError: as `MorphableModel.fit` and `FittedHead.register`.
        """
        found = self.model.fit(
            path, self.units, self.config, mm_per_unit=self.mm_per_unit, landmarks=self.landmarks,
            mirrored=self.mirrored, progress=_silent if self.show is None else partial(self.show, path),
        )  # fmt: skip
        found = found.register() if self.register else found
        return found.keeping_colors() if self.color else found

    def whole(self, folder: Path) -> dict[str, Any] | None:
        """The report of a whole fit in a folder, registered if that is asked for; None where there is none."""
        report = whole_fit(folder, self.model.model)
        return report if report is None or not self.register or "registered" in report else None


def _silent(stage: str, part: float) -> None:
    pass
