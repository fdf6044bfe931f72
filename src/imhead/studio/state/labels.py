"""Names of regions and measurements as a person reads them."""

from __future__ import annotations

from imhead.regions import REGIONS, groups


def readable_name(name: str) -> str:
    """A name without underscores."""
    return name.replace("_", " ")


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
