"""Plots of a report as SVG: points in groups, and limits of agreement."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from imhead.types import FloatArray

_WIDTH, _HEIGHT = 420, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 42
_COLORS = ("#24628f", "#c4383a", "#5c8a3a", "#8a5ca8", "#b58a1e", "#5a5a62")
_TICKS = 5


def scatter(
    x: FloatArray, y: FloatArray, group: Sequence[str], titles: tuple[str, str], lines: Sequence[tuple[float, str]] = ()
) -> str:
    """An SVG of points (N,) in the colours of their groups.

    Args:
        x: (N,) across.
        y: (N,) upwards.
        group: N names; the empty name has no entry in the legend.
        titles: of the axes.
        lines: heights of horizontal lines, and what they are.
    """
    heights = np.concatenate([y, [height for height, _ in lines if np.isfinite(height)]])
    across, up = _axis(x), _axis(heights)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(titles[1])}">']
    for value in _ticks(across):
        place = _place(value, across, _LEFT, _WIDTH - _RIGHT)
        parts.append(f'<text x="{place:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{_said(value)}</text>')
    for value in _ticks(up):
        place = _place(value, up, _HEIGHT - _BOTTOM, _TOP)
        parts.append(f'<path d="M{_LEFT} {place:.1f}H{_WIDTH - _RIGHT}" stroke="#e4e1db"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{_said(value)}</text>')
    for height, name in lines:
        if np.isfinite(height):
            place = _place(height, up, _HEIGHT - _BOTTOM, _TOP)
            parts.append(f'<path d="M{_LEFT} {place:.1f}H{_WIDTH - _RIGHT}" stroke="#5a5a62" stroke-dasharray="4 3"/>')
            words = html.escape(name)
            parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{place - 4:.1f}" text-anchor="end">{words}</text>')
    known = list(dict.fromkeys(group))
    for a, b, name in zip(x, y, group):
        cx = _place(a, across, _LEFT, _WIDTH - _RIGHT)
        cy = _place(b, up, _HEIGHT - _BOTTOM, _TOP)
        color = _COLORS[known.index(name) % len(_COLORS)]
        parts.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="3.5" fill="{color}" fill-opacity=".75"/>')
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{html.escape(titles[0])}')
    parts.append(f'</text><text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">')
    parts.append(f"{html.escape(titles[1])}</text></svg>")
    legend = "".join(
        f'<span><i style="background:{_COLORS[k % len(_COLORS)]}"></i>{html.escape(name)}</span>'
        for k, name in enumerate(known)
        if name
    )
    return "".join(parts) + (f'<p class="legend">{legend}</p>' if legend else "")


def agreement(first: FloatArray, second: FloatArray, unit: str, limits: tuple[float, float, float]) -> str:
    """A Bland-Altman plot of two measurements (N,) of the same people.

    Args:
        limits: lower limit of agreement, bias, upper limit.
    """
    names = ("lower limit", "mean difference", "upper limit")
    lines = list(zip(limits, names))
    titles = (f"mean of both, {unit}", f"second − first, {unit}")
    return scatter((first + second) / 2.0, second - first, [""] * len(first), titles, lines)


def _axis(values: FloatArray) -> tuple[float, float]:
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.5
    return low - margin, high + margin


def _place(value: float, axis: tuple[float, float], start: float, end: float) -> float:
    return start + (value - axis[0]) / (axis[1] - axis[0]) * (end - start)


def _ticks(axis: tuple[float, float]) -> list[float]:
    raw = (axis[1] - axis[0]) / _TICKS
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(k * power for k in (1.0, 2.0, 5.0, 10.0) if k * power >= raw * (1.0 - 1e-9))
    first = np.ceil(axis[0] / step)
    return [float(k * step) for k in np.arange(first, np.floor(axis[1] / step) + 1)]


def _said(value: float) -> str:
    return f"{value + 0.0:.6g}".replace("-", "−")
