"""How well repeated measurements of the same people agree.

Technical error of measurement (Dahlberg 1940), intraclass correlation ICC(1,1) with its interval (Shrout and Fleiss
1979; McGraw and Wong 1996), and limits of agreement (Bland and Altman 1986).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import f as f_distribution

from imhead.types import FloatArray

_INTERVAL = 0.95
_LIMITS = 1.96  # standard deviations: 95 % of differences


@dataclass(frozen=True)
class Repeatability:
    """Agreement of the repeats of one measurement, in its own unit."""

    people: int
    """People who were measured twice or more."""
    values: int
    """All their values."""
    tem: float
    """Technical error: standard deviation within a person."""
    tem_percent: float
    """The same as a share of the mean, per cent."""
    icc: float
    """Share of the variance that lies between people; NaN where it is not defined."""
    icc_low: float
    """Lower end of its 95 % interval."""
    icc_high: float
    """Upper end."""
    bias: float
    """Mean of second minus first."""
    low: float
    """Lower limit of agreement: 95 % of second minus first lie between these two."""
    high: float
    """Upper limit."""


def repeatability(values: Sequence[FloatArray]) -> Repeatability | None:
    """Agreement of repeats, from the values of each person; None where nobody was measured twice.

    Args:
        values: one array of values for each person; those with fewer than two do not count.
    """
    several = [np.asarray(k, dtype=np.float64) for k in values if len(k) >= 2]
    if not several:
        return None
    sizes = np.array([len(k) for k in several])
    total, people = int(sizes.sum()), len(several)
    means = np.array([k.mean() for k in several])
    grand = float(np.concatenate(several).mean())
    within = float(sum(((k - k.mean()) ** 2).sum() for k in several)) / (total - people)
    icc = low = high = float("nan")
    if people >= 2:
        between = float((sizes * (means - grand) ** 2).sum()) / (people - 1)
        each = (total - float((sizes**2).sum()) / total) / (people - 1)  # repeats a person, also where these differ
        icc = _icc(between, within, each)
        if within > 0.0:
            tail = 0.5 * (1.0 + _INTERVAL)
            ratio = between / within
            low = _icc(ratio / float(f_distribution.ppf(tail, people - 1, total - people)), 1.0, each)
            high = _icc(ratio * float(f_distribution.ppf(tail, total - people, people - 1)), 1.0, each)
        else:
            low = high = icc
    change = np.array([k[1] - k[0] for k in several])
    spread = _LIMITS * float(change.std(ddof=1)) if people >= 2 else float("nan")
    bias, error = float(change.mean()), float(np.sqrt(within))
    percent = 100.0 * error / abs(grand) if grand else float("nan")
    return Repeatability(people, total, error, percent, icc, low, high, bias, bias - spread, bias + spread)


def _icc(between: float, within: float, each: float) -> float:
    whole = between + (each - 1.0) * within
    return (between - within) / whole if whole > 0.0 else float("nan")


def vertex_errors(heights: Sequence[FloatArray]) -> FloatArray:
    """(V,) standard deviation within a person of heights (repeats, V), over all people with two repeats or more."""
    several = [k for k in heights if len(k) >= 2]
    squares = sum(((k - k.mean(axis=0)) ** 2).sum(axis=0) for k in several)
    return np.sqrt(np.asarray(squares) / sum(len(k) - 1 for k in several))
