"""Names of regions and measurements as a person reads them."""

from __future__ import annotations

from imhead.conventions import ASSUMED_SCALE
from imhead.measure.table import Measurement
from imhead.regions import REGIONS, groups


def readable_name(name: str) -> str:
    """A name without underscores."""
    return name.replace("_", " ")


def measured_label(kind: Measurement, value: float, scale_assumed: bool) -> str:
    """A measurement of a head in Markdown, with its definition, and doubt where the head's scale was assumed."""
    return f"now **{value:.1f} {kind.unit}**: {kind.definition}" + scale_label(scale_assumed)


def scale_label(scale_assumed: bool) -> str:
    """A paragraph of Markdown that says so where the scale of a head was assumed; empty otherwise."""
    return f"\n\n*{ASSUMED_SCALE}*" if scale_assumed else ""


def regions_label(regions: tuple[str, ...]) -> str:
    """What to call some regions: their group if they are a whole one, else their names."""
    chosen = set(regions)
    for group, members in groups().items():
        if chosen == set(members):
            return readable_name(group)
    if chosen == {region.name for region in REGIONS}:
        return "whole head"
    shown = [readable_name(name) for name in regions]
    return ", ".join(shown) if len(shown) <= 3 else f"{shown[0]}, {shown[1]} and {len(shown) - 2} more"
