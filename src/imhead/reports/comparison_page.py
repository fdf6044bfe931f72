"""The HTML page of a before/after report: one printable file with its pictures inside."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imhead.reports.page_parts import asset, data_uri, number, strip


def comparison_page(
    result: Mapping[str, Any],
    rows: Sequence[Sequence[NDArray[np.uint8]]],
    bar: Image.Image,
    turning: Sequence[Image.Image],
) -> str:
    """One self-contained, printable HTML page.

    Args:
        result: what `report.json` holds.
        rows: three rows of pictures, one picture (H, W, 3) per view: before, after and the movement.
        bar: the legend of the movement.
        turning: three strips of square pictures, one picture per direction: before, after and the movement.
    """
    first, second = html.escape(result["before"]), html.escape(result["after"])
    regions = ", ".join(html.escape(k.replace("_", " ")) for k in result["regions"])
    captions = (first, second, f"{second}, coloured by how far its surface moved from {first}")
    figures = "".join(
        f'<figure><img src="{data_uri(strip(row))}" alt="{text}"><figcaption>{text}</figcaption></figure>'
        for row, text in zip(rows, captions, strict=True)
    )
    warnings = "".join(f'<p class="warn">{html.escape(k)}</p>' for k in result["warnings"])
    edited = f"Edited: {regions}." if regions else "The whole head."
    # the page carries its style and script inside; the template's indentation is for its reader alone
    template = Template("".join(line.strip() for line in asset("comparison.html").splitlines()))
    page = template.substitute(
        before=first,
        after=second,
        style="\n" + asset("comparison.css"),
        script="\n" + asset("comparison.js"),
        summary=f"{edited} {_share_inside(result)} {_largest_outside(result)}",
        warnings=warnings,
        movement=_movement_table(result) + _volumes(result),
        statement=html.escape(result["statement"]),
        turntable=_turntable(turning, (first, second)),
        figures=figures,
        bar=data_uri(bar),
        measurements=_measurements(result),
    )
    return page + "\n"


def _share_inside(result: Mapping[str, Any]) -> str:
    share = result["movement_inside_fraction"]
    if share is None:
        return "The two surfaces are the same."
    if not result["has_region"]:
        return "No region was named, so the figures are over the whole surface."
    return f"{100.0 * share:.1f} % of all movement lies inside the region."


def _largest_outside(result: Mapping[str, Any]) -> str:
    outside = result["movement_mm"]["outside"]
    if not result["has_region"] or outside is None:
        return ""
    if outside["max"] == 0.0:
        return "Outside the region nothing moved: 0 mm."
    return f"Outside the region the surface moved by {outside['max']:.3g} mm at most."


def _measurements(result: Mapping[str, Any]) -> str:
    rows = result["measurements"]
    if not rows:
        return ""
    body = ""
    for row in rows:
        cells = "".join(
            f"<td>{number(row[key], signed=key == 'change', digits=2)}</td>" for key in ("before", "after", "change")
        )
        name = html.escape(row["name"].replace("_", " "))
        strong = ' class="changed"' if abs(row["change"]) >= 0.05 else ""
        body += f"<tr{strong}><td>{name}</td>{cells}<td>{html.escape(row['unit'])}</td></tr>"
    return (
        "<h2>Measurements</h2><table><caption>On the neutral face. What changed by 0.05 or more is bold.</caption>"
        "<thead><tr><th></th><th>before</th><th>after</th><th>change</th><th>unit</th></tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _turntable(turning: Sequence[Image.Image], names: tuple[str, str]) -> str:
    steps = turning[0].width // turning[0].height - 1
    views = "".join(f"<div style=\"background-image:url('{data_uri(strip, 'JPEG')}')\"></div>" for strip in turning)
    labels = "".join(f"<span>{name}</span>" for name in (*names, "movement"))
    return (
        f'<div class="screen"><h2>Turn all three together</h2><div class="turn">{views}{labels}</div>'
        f'<input id="turn" type="range" min="0" max="{steps}" step="1" value="{steps // 2}" aria-label="direction">'
        "</div>"
    )


def _movement_table(result: Mapping[str, Any]) -> str:
    columns = (
        ("median", "median"), ("mean", "mean"), ("mean_abs", "mean size"), ("p95", "95 % below"), ("max", "largest"),
        ("outwards", "outwards"), ("inwards", "inwards"), ("area_cm2", "area, cm²"),
    )  # fmt: skip
    signed = ("median", "mean")
    parts = (("inside", "in the region"), ("outside", "elsewhere")) if result["has_region"] else ()
    body = ""
    for key, name in (*parts, ("all", "whole surface")):
        row = result["movement_mm"][key]
        numbers = (
            "none" if row is None else number(row[k], signed=k in signed, digits=1 if k == "area_cm2" else 3)
            for k, _ in columns
        )
        cells = "".join(f"<td>{text}</td>" for text in numbers)
        body += f"<tr><td>{name}</td>{cells}</tr>"
    head = "".join(f"<th>{title}</th>" for _, title in columns)
    return (
        "<table><caption>Millimetres, weighted by area. Median and mean carry a sign: positive is outwards.</caption>"
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _volumes(result: Mapping[str, Any]) -> str:
    volume, regions = result["volume_ml"], result["volume_by_region_ml"]
    text = ""
    if volume["change"] is not None:
        text = (
            f"<p>Volume: {volume['before']:,.1f} ml before, {volume['after']:,.1f} ml after, a change of "
            f"<b>{number(volume['change'], signed=True, digits=2)} ml</b>.</p>"
        )
    changed = {name: ml for name, ml in (regions or {}).items() if abs(ml) >= 0.005}
    if changed:
        parts = ", ".join(
            f"{html.escape(name.replace('_', ' '))} {number(ml, signed=True, digits=2)}"
            for name, ml in sorted(changed.items(), key=lambda item: -abs(item[1]))
        )
        text += f"<p>By region, ml of skin moved outwards (+) or inwards (&minus;): {parts}.</p>"
    return text
