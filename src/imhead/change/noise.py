"""The noise of a comparison: what two scans of a place that did not change differ by.

Shape legend: N stable places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.change.config import ChangeConfig
from imhead.types import FloatArray

_MAD = 1.4826  # standard deviations of a normal distribution in its median deviation


@dataclass(frozen=True)
class Noise:
    """Of the distance between two scans."""

    common_mm: float
    """Standard deviation of what neighbours share: the scanner's own error, and the registration's."""
    total_mm: float
    """Standard deviation of the distance at a place of the stable regions: that, the scatter of the points, and the
    alignment."""
    source: str
    """`stable regions`, or `scanner`."""
    factor_95: float
    """95 % intervals over those of 68 %."""


def measured_noise(
    moved_mm: FloatArray, area: FloatArray, known_mm2: FloatArray, scanner_mm: float | None, config: ChangeConfig
) -> Noise:
    """The noise, from distances (N,) on stable places, or of a scanner that is known.

    Args:
        moved_mm: (N,) signed distances.
        area: (N,) mm² that each stands for.
        known_mm2: (N,) variance of each by the scatter of the points and the alignment.
        scanner_mm: repeatability of the scanner; None where it is not known.
        config: settings.
    """
    known = float(np.average(known_mm2, weights=area))
    if scanner_mm is not None:
        return Noise(scanner_mm, float(np.hypot(scanner_mm, np.sqrt(known))), "scanner", config.factor_95)
    size = np.sort(np.abs(moved_mm))
    order = np.argsort(np.abs(moved_mm))
    middle = np.searchsorted(np.cumsum(area[order]), 0.5 * area.sum())
    total = max(float(_MAD * size[min(middle, len(size) - 1)]), config.least_noise_mm)
    common = float(np.sqrt(max(total**2 - known, config.least_noise_mm**2)))
    return Noise(common, total, "stable regions", config.factor_95)
