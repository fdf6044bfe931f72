"""Learns the constants of a fit's certainty from fits whose truth is known, and counts how often intervals hold it.

Shape legend: N points of a true surface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq, minimize

from imhead.fitting.certainty import Calibration, Evidence, certainty_of, surface_sigma_mm
from imhead.measure.table import MEASUREMENTS, errors, value
from imhead.types import BoolArray, FloatArray

_START = Calibration(
    floor_mm=0.1, noise_share=0.3, misfit_share=1.0, codes_share=1.0, left_share=0.05, reach_mm=6.0,
    unusual_power=0.5, landmark_mm=0.7, factor_95=2.2,
)  # fmt: skip
_DEGREES_OF_FREEDOM = 4.0  # of the errors while the constants are searched for: their tails are wide
_NARROW, _WIDE = 0.6827, 0.95
_LANDMARK_MM = (0.01, 10.0)


@dataclass(frozen=True, eq=False)
class TrueSurface:
    """Points of the true surface of a scanned head, and what the fit says there."""

    name: str
    """Of the scan."""
    kind: str
    """Of scan."""
    error_mm: FloatArray
    """(N,) distance of each to the fitted surface."""
    own_noise_mm: float
    """Standard deviation of the points' own noise: 0 where they are the truth itself."""
    distance_mm: FloatArray
    """(N,) to the nearest point that the fit saw."""
    codes_mm: FloatArray
    """(N,) by the codes' posterior."""
    measured: BoolArray
    """(N,) points near those that the fit saw."""
    noise_mm: float
    """Of the scan, as the fit found it."""
    misfit_mm: float
    """What the fit leaves of the scan beside it."""
    unusual: float
    """How unusual the head is, from 1."""

    def sigma_mm(self, calibration: Calibration) -> FloatArray:
        """(N,) half of the 68 % interval of each point, with its own noise."""
        surface = surface_sigma_mm(self.distance_mm, self.codes_mm, self.noise_mm, self.misfit_mm, calibration)
        surface *= self.unusual**calibration.unusual_power
        sigma: FloatArray = np.hypot(surface, self.own_noise_mm)
        return sigma


@dataclass(frozen=True, eq=False)
class TrueLandmarks:
    """Landmarks of a scanned head and of its fit."""

    name: str
    """Of the scan."""
    kind: str
    """Of scan."""
    truth_mm: FloatArray
    """(L, 3)."""
    found_mm: FloatArray
    """(L, 3)."""
    evidence: Evidence
    """Of the fit."""

    def over_sigma(self, calibration: Calibration, names: Sequence[str]) -> FloatArray:
        """Error of each measurement of `names`, over half of its 68 % interval."""
        found = errors(self.found_mm, certainty_of(self.evidence, calibration))
        kinds = [kind for kind in MEASUREMENTS if kind.name in names]
        off = [abs(value(kind, self.found_mm) - value(kind, self.truth_mm)) / found[kind.name] for kind in kinds]
        return np.array(off)


def learned(surfaces: Sequence[TrueSurface], landmarks: Sequence[TrueLandmarks], names: Sequence[str]) -> Calibration:
    """The constants under which 68 % and 95 % intervals hold the truth as often as they say.

    Every scan weighs the same, and so do its measured and its inferred points. The shape of the dependence on distance,
    codes and noise comes from the likelihood; the sizes are then set by the counts themselves.

    Args:
        surfaces: of held-out heads; at least one, with measured and inferred points.
        landmarks: of the same or of others; may be empty.
        names: measurements that the landmarks' constant is learnt from.
    """
    calibration = _sized(_most_likely(surfaces), surfaces)
    tails = [_quantile(surfaces, calibration, _WIDE, seen) for seen in (True, False)]
    calibration = replace(calibration, factor_95=float(np.mean(tails)))
    return _with_landmarks(calibration, landmarks, names) if landmarks else calibration


def held(over_sigma: FloatArray, weight: FloatArray, factor: float) -> float:
    """Share of weight (N,) for which errors over sigma (N,) lie within `factor`."""
    return float(weight[over_sigma <= factor].sum() / weight.sum())


def balanced(surfaces: Sequence[TrueSurface], calibration: Calibration, seen: bool) -> tuple[FloatArray, FloatArray]:
    """Errors over sigma (N,) of all measured, or all inferred, points, and weights (N,), equal for each scan."""
    parts = [(one.error_mm / one.sigma_mm(calibration))[one.measured == seen] for one in surfaces]
    parts = [part for part in parts if len(part)]
    weights = [np.full(len(part), 1.0 / len(part)) for part in parts]
    empty = np.zeros(0)
    return np.concatenate([empty, *parts]), np.concatenate([empty, *weights])


def _most_likely(surfaces: Sequence[TrueSurface]) -> Calibration:
    names = ("floor_mm", "noise_share", "misfit_share", "codes_share", "left_share", "reach_mm", "unusual_power")
    start = np.log([getattr(_START, name) for name in names])

    def cost(logs: FloatArray) -> float:
        calibration = replace(_START, **dict(zip(names, np.exp(logs).tolist())))
        total = 0.0
        for one in surfaces:
            sigma = one.sigma_mm(calibration)
            over = (one.error_mm / sigma) ** 2 / _DEGREES_OF_FREEDOM
            minus_log = np.log(sigma) + 0.5 * (_DEGREES_OF_FREEDOM + 1.0) * np.log1p(over)
            for part in (one.measured, ~one.measured):
                total += float(minus_log[part].mean()) if part.any() else 0.0
        # one weak pull to the start: a constant that the scans do not show stays there
        return total + 0.02 * float(((logs - start) ** 2).sum())

    found = minimize(cost, start, method="Nelder-Mead", options={"maxiter": 2000, "xatol": 1e-3, "fatol": 1e-4})
    return replace(_START, **dict(zip(names, np.exp(found.x).tolist())))


def _sized(calibration: Calibration, surfaces: Sequence[TrueSurface]) -> Calibration:
    """Scaled so that half-widths hold 68 %, of the measured and of the inferred points."""
    for _ in range(20):
        for seen, names in ((True, ("floor_mm", "noise_share", "misfit_share")), (False, ("codes_share",))):
            factor = _quantile(surfaces, calibration, _NARROW, seen)
            scaled = {name: factor * getattr(calibration, name) for name in names}
            if seen:  # what the codes leave where the scan shows the surface is a share of a variance
                scaled["left_share"] = min(factor**2 * calibration.left_share, 1.0)
            calibration = replace(calibration, **scaled)
    return calibration


def _quantile(surfaces: Sequence[TrueSurface], calibration: Calibration, share: float, seen: bool) -> float:
    over, weight = balanced(surfaces, calibration, seen)
    if not len(over):
        return 1.0
    order = np.argsort(over)
    place = np.searchsorted(np.cumsum(weight[order]), share * weight.sum())
    return float(over[order][min(place, len(over) - 1)])


def _with_landmarks(calibration: Calibration, landmarks: Sequence[TrueLandmarks], names: Sequence[str]) -> Calibration:
    def excess(size_mm: float) -> float:
        tried = replace(calibration, landmark_mm=size_mm)
        over = np.concatenate([one.over_sigma(tried, names) for one in landmarks])
        return float((over <= 1.0).mean()) - _NARROW

    low, high = _LANDMARK_MM
    if excess(low) >= 0.0:
        return replace(calibration, landmark_mm=low)
    return replace(calibration, landmark_mm=high if excess(high) <= 0.0 else brentq(excess, low, high, xtol=0.005))
