"""The 39 named regions: 16 mirrored pairs and 7 on the midline, with groups, ball radii and colours.

Region order is part of a model: pair i sits at rows 2i (left) and 2i + 1 (right), the midline follows. A right region
is its left twin mirrored in x, and shares its network.
"""

from __future__ import annotations

import colorsys
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imhead.errors import InputError


@dataclass(frozen=True)
class Region:
    """One editable region, and the ball outside which it has no influence."""

    name: str
    """Name, e.g. `left_nostril`. Left is the subject's left."""
    index: int
    """Row in every array of region codes or keypoints."""
    group: str
    """The group it belongs to, e.g. `nose`."""
    center_mm: tuple[float, float, float]
    """Keypoint on the mean head, head frame, mm."""
    radius_mm: float
    """Radius of the ball, mm; outside it the influence is exactly zero."""
    mirror: int
    """Row of the mirrored region; its own row on the midline."""
    side: int
    """+1 left, -1 right, 0 midline."""
    color: tuple[int, int, int]
    """sRGB colour for pictures, 0-255."""


# name, group stem, centre on the mean head (mm, head frame, left side), ball radius (mm)
_PAIRS: tuple[tuple[str, str, tuple[float, float, float], float], ...] = (
    ("eye_inner", "eye", (17.0, 26.5, 83.0), 20.0),
    ("eye_outer", "eye", (45.0, 28.0, 76.0), 22.0),
    ("upper_lid", "eye", (31.0, 34.5, 86.0), 21.0),
    ("lower_lid", "eye", (32.0, 23.0, 84.0), 21.0),
    ("brow", "brow", (34.0, 55.0, 90.0), 40.0),
    ("nostril", "nose", (14.0, -13.0, 99.0), 23.0),
    ("mouth_corner", "mouth", (25.0, -42.0, 92.0), 26.0),
    ("cheek", "cheek", (44.0, -8.0, 76.0), 56.0),
    ("jaw", "jaw", (56.0, -58.0, 34.0), 78.0),
    ("temple", "temple", (66.0, 52.0, 36.0), 76.0),
    ("ear_helix", "ear", (84.0, 20.0, -14.0), 36.0),
    ("ear_canal", "ear", (76.0, 2.0, -1.0), 30.0),
    ("ear_lobe", "ear", (77.0, -18.0, -4.0), 30.0),
    ("scalp", "scalp", (45.0, 92.0, -28.0), 110.0),
    ("neck", "neck", (42.0, -95.0, -12.0), 112.0),
    ("shoulder", "shoulder", (82.0, -165.0, -10.0), 135.0),
)
_MIDLINE: tuple[tuple[str, str, tuple[float, float, float], float], ...] = (
    ("nose_bridge", "nose", (0.0, 22.0, 102.0), 30.0),
    ("nose_tip", "nose", (0.0, -4.0, 116.0), 28.0),
    ("upper_lip", "mouth", (0.0, -31.0, 106.0), 27.0),
    ("lower_lip", "mouth", (0.0, -50.0, 100.0), 28.0),
    ("chin", "chin", (0.0, -76.0, 88.0), 50.0),
    ("forehead", "forehead", (0.0, 78.0, 84.0), 76.0),
    ("occiput", "occiput", (0.0, 20.0, -80.0), 110.0),
)
_BILATERAL_GROUPS = ("eye", "ear")


def _build() -> tuple[Region, ...]:
    rows: list[Region] = []

    def color(k: int) -> tuple[int, int, int]:
        hue = (k * 0.618034) % 1.0
        r, g, b = colorsys.hsv_to_rgb(hue, 0.45 + 0.25 * (k % 2), 0.95 - 0.15 * (k % 3) / 2)
        return int(r * 255), int(g * 255), int(b * 255)

    for k, (stem, group, (x, y, z), radius) in enumerate(_PAIRS):
        for side, word in ((1, "left"), (-1, "right")):
            index = len(rows)
            name = f"{word}_{group}" if group in _BILATERAL_GROUPS else group
            rows.append(
                Region(
                    f"{word}_{stem}", index, name, (side * x, y, z), radius, index + (1 if side == 1 else -1), side,
                    color(k),
                )
            )  # fmt: skip
    for k, (stem, group, center, radius) in enumerate(_MIDLINE):
        index = len(rows)
        rows.append(Region(stem, index, group, center, radius, index, 0, color(len(_PAIRS) + k)))
    return tuple(rows)


REGIONS: tuple[Region, ...] = _build()
REGION_COUNT = len(REGIONS)
NET_COUNT = len(_PAIRS) + len(_MIDLINE)
"""Distinct local networks: one for each pair, one for each midline region."""

NET_OF_REGION = np.array([r.index // 2 if r.side else r.index - len(_PAIRS) for r in REGIONS])
"""(39,) local network of each region."""
MIRROR = np.array([r.mirror for r in REGIONS])
"""(39,) row of each region's mirror image."""
SIDE = np.array([r.side for r in REGIONS])
"""(39,) +1 left, -1 right, 0 midline."""
CENTERS_MM = np.array([r.center_mm for r in REGIONS])
"""(39, 3) keypoints on the mean head, head frame, mm."""
RADII_MM = np.array([r.radius_mm for r in REGIONS])
"""(39,) radii of the balls, mm."""


def groups() -> dict[str, tuple[str, ...]]:
    """Group name → names of its regions. `eyes` and `ears` join both sides."""
    table: dict[str, list[str]] = {}
    for region in REGIONS:
        table.setdefault(region.group, []).append(region.name)
        for both in _BILATERAL_GROUPS:
            if region.group.endswith(f"_{both}"):
                table.setdefault(f"{both}s", []).append(region.name)
    return {name: tuple(members) for name, members in table.items()}


def region_table() -> dict[str, Any]:
    """As plain values: `regions`, a row for each in the order of the codes; `groups`, name → names of regions."""
    rows = [
        {"name": r.name, "index": r.index, "group": r.group, "mirror": REGIONS[r.mirror].name, "radius_mm": r.radius_mm}
        for r in REGIONS
    ]
    return {"regions": rows, "groups": {name: list(members) for name, members in groups().items()}}


def resolve(names: str | Sequence[str]) -> tuple[Region, ...]:
    """The regions of one or more region or group names, in region order, each once.

    Raises:
        InputError: a name is neither a region nor a group; the message lists the nearest ones.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    table = groups()
    by_name = {r.name: r for r in REGIONS}
    found: dict[int, Region] = {}
    for name in wanted:
        # a group of one region may carry the region's own name; then both mean the same
        members = (name,) if name in by_name else table.get(name)
        if members is None:
            known = sorted(set(by_name) | set(table))
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:5]
            raise InputError(f"no region or group is named {name!r}; did you mean {', '.join(near)}?")
        for member in members:
            found[by_name[member].index] = by_name[member]
    return tuple(found[k] for k in sorted(found))
