"""The HTML page of a before/after report: one file, pictures inside, made to be printed."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_STYLE = """
body{font:16px/1.5 Georgia,'Times New Roman',serif;color:#26262a;background:#fff;max-width:60rem;margin:2.5rem auto;
padding:0 1.5rem}h1{font-size:1.7rem;font-weight:normal;margin:0 0 .2rem}
h2{font-size:1.1rem;font-weight:normal;color:#5a5a62;margin:2rem 0 .5rem}
p{margin:.4rem 0}.lead{color:#5a5a62}.note{border-left:3px solid #c9c4bb;padding:.2rem 0 .2rem 1rem;margin:1.5rem 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;color:#5a5a62;font-size:.9rem}
th,td{padding:.35rem .6rem;border-bottom:1px solid #e4e1db;text-align:right;font-weight:normal}
th:first-child,td:first-child{text-align:left;white-space:nowrap;padding-left:0}
thead th{border-bottom:1px solid #26262a;font-size:.9rem}
figure{margin:.8rem 0;break-inside:avoid}figure img{width:100%;display:block;border-radius:3px}
figcaption{font-size:.9rem;color:#5a5a62;padding-top:.2rem}.bar{max-width:26rem;margin:0 auto}.bar img{width:100%}
.warn{color:#8a3b12}.changed td{font-weight:bold}.turn{display:grid;grid-template-columns:repeat(3,1fr);gap:.5rem}
.turn div{aspect-ratio:1;background-size:auto 100%;border-radius:3px;touch-action:pan-y;cursor:ew-resize}
.turn span{font-size:.9rem;color:#5a5a62;text-align:center}#turn{width:100%;margin:.6rem 0}
@page{size:A4;margin:14mm}
@media print{.screen{display:none}body{margin:0;padding:0;max-width:none;font-size:9.5pt;line-height:1.4}
th,td{padding:.25rem .4rem}
tr{break-inside:avoid}h2{margin:1.1rem 0 .3rem;break-after:avoid}.note{margin:.8rem 0}figure{margin:.4rem 0}
figure img{width:66%}.bar{max-width:15rem;margin:0}}
"""

# one slider, or a drag on any picture, turns all three views at once
_SCRIPT = """
const slider=document.getElementById('turn'),views=[...document.querySelectorAll('.turn div')];
const show=()=>views.forEach(v=>v.style.backgroundPositionX=100*slider.value/slider.max+'%');
slider.oninput=show;show();
views.forEach(v=>{let from=null;
v.onpointerdown=e=>{from=[e.clientX,+slider.value];v.setPointerCapture(e.pointerId)};
v.onpointerup=v.onpointercancel=()=>from=null;
v.onpointermove=e=>{if(from){slider.value=from[1]-(e.clientX-from[0])/v.clientWidth*slider.max*.7;show()}}});
"""


def comparison_page(
    result: Mapping[str, Any],
    rows: Sequence[Sequence[NDArray[np.uint8]]],
    bar: Image.Image,
    turning: Sequence[Image.Image],
) -> str:
    """One self-contained, printable HTML page.

    Args:
        result: what `report.json` holds.
        rows: pictures before, after and of the movement; each row one picture for each view, (H, W, 3).
        bar: the legend of the movement.
        turning: strips of square pictures before, after and of the movement, all from the same directions.
    """
    first, second = html.escape(result["before"]), html.escape(result["after"])
    regions = ", ".join(html.escape(k.replace("_", " ")) for k in result["regions"])
    captions = (first, second, f"{second}, coloured by how far its surface moved from {first}")
    figures = "".join(
        f'<figure><img src="{_data_uri(_strip(row))}" alt="{text}"><figcaption>{text}</figcaption></figure>'
        for row, text in zip(rows, captions, strict=True)
    )
    warnings = "".join(f'<p class="warn">{html.escape(k)}</p>' for k in result["warnings"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{first} and {second}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{first} <span class="lead">and</span> {second}</h1>'
        f'<p class="lead">{f"Edited: {regions}." if regions else "The whole head."} {_sentence(result)} '
        f"{_outside(result)}</p>{warnings}"
        f"<h2>How far the surface moved</h2>{_table(result)}{_volumes(result)}"
        f'<p class="note">{html.escape(result["statement"])}</p>'
        f"{_turntable(turning, (first, second))}"
        f'<h2>Pictures</h2>{figures}<div class="bar"><img src="{_data_uri(bar)}" alt="colour scale in mm">'
        f"</div>{_measurements(result)}<script>{_SCRIPT}</script></body></html>\n"
    )


def _sentence(result: Mapping[str, Any]) -> str:
    share = result["movement_inside_fraction"]
    if share is None:
        return "The two surfaces are the same."
    if not result["has_region"]:
        return "No region was named, so the figures are over the whole surface."
    return f"{100.0 * share:.1f} % of all movement lies inside the region."


def _outside(result: Mapping[str, Any]) -> str:
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
            f"<td>{_number(row[key], signed=key == 'change', digits=2)}</td>" for key in ("before", "after", "change")
        )
        name = html.escape(row["name"].replace("_", " "))
        # what an edit changed stands out from what it left
        strong = ' class="changed"' if abs(row["change"]) >= 0.05 else ""
        body += f"<tr{strong}><td>{name}</td>{cells}<td>{html.escape(row['unit'])}</td></tr>"
    return (
        "<h2>Measurements</h2><table><caption>On the neutral face. What changed by 0.05 or more is bold.</caption>"
        "<thead><tr><th></th><th>before</th><th>after</th><th>change</th><th>unit</th></tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _turntable(turning: Sequence[Image.Image], names: tuple[str, str]) -> str:
    steps = turning[0].width // turning[0].height - 1
    views = "".join(f"<div style=\"background-image:url('{_data_uri(strip, 'JPEG')}')\"></div>" for strip in turning)
    told = "".join(f"<span>{name}</span>" for name in (*names, "movement"))
    return (
        f'<div class="screen"><h2>Turn all three together</h2><div class="turn">{views}{told}</div>'
        f'<input id="turn" type="range" min="0" max="{steps}" step="1" value="{steps // 2}" aria-label="direction">'
        "</div>"
    )


def _table(result: Mapping[str, Any]) -> str:
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
            "none" if row is None else _number(row[k], signed=k in signed, digits=1 if k == "area_cm2" else 3)
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
            f"<b>{_number(volume['change'], signed=True, digits=2)} ml</b>.</p>"
        )
    changed = {name: ml for name, ml in (regions or {}).items() if abs(ml) >= 0.005}
    if changed:
        parts = ", ".join(
            f"{html.escape(name.replace('_', ' '))} {_number(ml, signed=True, digits=2)}"
            for name, ml in sorted(changed.items(), key=lambda item: -abs(item[1]))
        )
        text += f"<p>By region, ml of skin moved outwards (+) or inwards (&minus;): {parts}.</p>"
    return text


def _number(value: float, *, signed: bool, digits: int) -> str:
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    # a rounded zero carries no sign
    return text.lstrip("+-") if float(text.replace(",", "")) == 0 else text.replace("-", "&minus;")


def _strip(row: Sequence[NDArray[np.uint8]]) -> Image.Image:
    """Pictures side by side on white."""
    gap = np.full((row[0].shape[0], 8, 3), 255, dtype=np.uint8)
    parts = [part for picture in row for part in (gap, picture)][1:]
    return Image.fromarray(np.concatenate(parts, axis=1))


def _data_uri(picture: Image.Image, kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
