"""The HTML page of compared visits: one printable file with its pictures inside."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from PIL import Image

from imhead.rendering.shading import ByteImage
from imhead.reports.page_parts import asset, data_uri, number, strip

_METHOD = (
    "One head is fitted to all scans, each in its own pose and expression, and the template is moved onto each scan "
    "where the scan shows skin. A head file beside a scan counts as a scan of its own surface. The later surface is "
    "laid on the first one by a rigid motion that fits the stable regions, with a robust loss. The change at a place "
    "is the distance to the later surface along the normal of the first one. It is a distance of surfaces, not the "
    "path of a piece of skin.",
    "The noise is what the stable regions differ by after the alignment, or the repeatability of the named scanner. To "
    "it are added the scatter of the points at each place and what the alignment may err, which grows with the "
    "distance from the stable regions. A change is called beyond the noise where its 95 % interval does not hold 0. "
    "Of a surface that did not change, about 5 % will be called so by chance.",
    "Where a scan shows nothing, nothing is compared. Hair, eyes and the inside of the mouth are left out. "
    "Measurements are taken on the neutral face, to which the model takes each visit; their ± were learnt from virtual "
    "patients, and real people and other scanners may repeat less well.",
)


def comparison_page(
    report: Mapping[str, Any],
    pictures: Sequence[Sequence[Sequence[ByteImage]]],
    rows: Sequence[Sequence[str]],
    views: Sequence[str],
    bar: Image.Image,
    patient: str | None,
) -> str:
    """One self-contained, printable HTML page.

    Args:
        report: what `report.json` holds.
        pictures: of each later visit, rows of pictures (H, W, 3), one for each view.
        rows: of each later visit, the names of these rows.
        views: the names of the views.
        bar: the legend of the change.
        patient: a label to print, or None.
    """
    title = html.escape(f"{report['before']} and {', '.join(part['name'] for part in report['later'])}")
    parts = "".join(
        _part(report, part, cells, names, views, bar)
        for part, cells, names in zip(report["later"], pictures, rows, strict=True)
    )
    template = Template("".join(line.strip() for line in asset("scan_comparison.html").splitlines()))
    page = template.substitute(
        title=title,
        style="\n" + asset("comparison.css"),
        patient="" if patient is None else f'<p class="lead">{html.escape(patient)}</p>',
        statement=html.escape(report["statement"]),
        warnings="".join(f'<p class="warn">{html.escape(text)}</p>' for text in report["warnings"]),
        parts=parts,
        method="".join(f"<p>{text}</p>" for text in _METHOD),
        files=_files(report),
    )
    return page + "\n"


def _part(
    report: Mapping[str, Any],
    part: Mapping[str, Any],
    pictures: Sequence[Sequence[ByteImage]],
    rows: Sequence[str],
    views: Sequence[str],
    bar: Image.Image,
) -> str:
    figures = [_figure(row, name, views) for row, name in zip(pictures, rows, strict=True)]
    first, name = html.escape(report["before"]), html.escape(part["name"])
    # what changed goes before what it changed from
    return (
        f"<h2>From {first} to {name}</h2><p>{_summary(part)}</p>{_places(part)}{figures[2]}"
        f'<div class="bar"><img src="{data_uri(bar)}" alt="colour scale in mm"></div>'
        f"{figures[3]}{figures[0]}{figures[1]}{_regions(part)}{_measurements(part, report['population'])}"
    )


def _figure(row: Sequence[ByteImage], name: str, views: Sequence[str]) -> str:
    """Pictures in two lines, so that scale bars can be read in print."""
    half, name = (len(views) + 1) // 2, html.escape(name)
    return (
        f'<figure class="wide"><img src="{data_uri(strip(row[:half]))}" alt="{name}">'
        f'<img src="{data_uri(strip(row[half:]))}" alt="">'
        f"<figcaption>{name}: {html.escape(', '.join(views))}</figcaption></figure>"
    )


def _summary(part: Mapping[str, Any]) -> str:
    aligned, noise, whole = part["aligned_on"], part["noise_mm"], part["movement"]
    regions = ", ".join(html.escape(k.replace("_", " ")) for k in aligned["regions"])
    text = (
        f"Aligned on {regions} ({aligned['area_cm2']:.0f} cm²), which agree to {aligned['median_mm']:.2f} mm in the "
        f"median, 90 % to {aligned['p90_mm']:.2f} mm. Noise {noise['total']:.2f} mm (standard deviation, from the "
        f"{html.escape(noise['source'])}); ± of the change at a place {noise['median_error_mm']:.2f} mm in the median. "
    )
    if whole is not None:
        text += (
            f"{100.0 * whole['beyond_share']:.0f} % of {whole['area_cm2']:.0f} cm² that both show moved by more than "
            "the noise. "
        )
    expression = part["expression"]
    names = ", ".join(f"{html.escape(k)} {v:+.2f}" for k, v in expression["weights"].items())
    if names:
        text += (
            f"The expressions differ ({names}); by the model 5 % of the skin moves by {expression['moves_mm']:.1f} mm "
            f"or more with it, which was {'taken out' if expression['taken_out'] else 'left in'}."
        )
    else:
        text += "No difference of expression was found."
    return text


def _places(part: Mapping[str, Any]) -> str:
    if not part["places"]:
        return "<p><b>No place of 0.5 cm² or more moved by more than the noise.</b></p>"
    body = "".join(
        f"<tr><td>{_plain(row['region'])}</td><td>{number(row['mean_mm'], signed=True, digits=2)} &plusmn; "
        f"{row['error_mm']:.2f}</td><td>{number(row['largest_mm'], signed=True, digits=2)}</td>"
        f"<td>{number(row['volume_ml'], signed=True, digits=2)} &plusmn; {row['volume_error_ml']:.2f}</td>"
        f"<td>{row['area_cm2']:.1f}</td></tr>"
        for row in part["places"]
    )
    return (
        "<table><caption>Places that moved by more than the noise, outwards positive.</caption><thead><tr><th></th>"
        "<th>mean, mm</th><th>largest, mm</th><th>volume, ml</th><th>area, cm²</th></tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _regions(part: Mapping[str, Any]) -> str:
    body = "".join(
        f"<tr{_strong(row['beyond_noise'])}><td>{_plain(name)}</td>"
        f"<td>{number(row['mean_mm'], signed=True, digits=2)} &plusmn; {row['error_mm']:.2f}</td>"
        f"<td>{number(row['largest_mm'], signed=True, digits=2)}</td>"
        f"<td>{number(row['volume_ml'], signed=True, digits=2)} &plusmn; {row['volume_error_ml']:.2f}</td>"
        f"<td>{100.0 * row['shown_share']:.0f} %</td><td>{_verdict(row['beyond_noise'])}</td></tr>"
        for name, row in part["change"].items()
    )
    return (
        "<h2>By region</h2><table><caption>Regions overlap softly and share each place; bold is beyond the noise. "
        f"{_by_chance(len(part['change']), 'regions')}</caption><thead><tr><th></th><th>mean, mm</th>"
        "<th>largest, mm</th><th>volume, ml</th><th>shown</th><th></th></tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _by_chance(count: int, what: str) -> str:
    few = max(1, round(0.05 * count))
    return f"Of {count} {what} that did not change, about {few} will be called beyond the noise by chance."


def _measurements(part: Mapping[str, Any], population: Mapping[str, Any] | None) -> str:
    body, known = "", population is not None
    for row in part["measurements"]:
        error = "" if row["error"] is None else f" &plusmn; {row['error']:.2f}"
        body += (
            f"<tr{_strong(row['beyond_noise'])}><td>{_plain(row['name'])}</td>"
            f"<td>{number(row['before'], signed=False, digits=2)}</td>"
            f"<td>{number(row['after'], signed=False, digits=2)}</td>"
            f"<td>{number(row['change'], signed=True, digits=2)}{error}</td><td>{html.escape(row['unit'])}</td>"
            f"{_z(row, known)}<td>{_verdict(row['beyond_noise']) if row['shown'] else 'not shown by both'}</td></tr>"
        )
    z = "<th>z</th>" if known else ""
    chance = _by_chance(sum(row["error"] is not None for row in part["measurements"]), "measurements")
    return (
        f"<h2>Measurements</h2><table><caption>On the neutral face. {chance} {_context(population)}</caption>"
        f"<thead><tr><th></th><th>before</th><th>after</th><th>change</th><th>unit</th>{z}<th></th></tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _context(population: Mapping[str, Any] | None) -> str:
    if population is None:
        return "How this model's heads vary is not known, so no z is given."
    return f"z before and after: {html.escape(population['statement'])}"


def _z(row: Mapping[str, Any], known: bool) -> str:
    if not known:
        return ""
    if row["z_before"] is None or row["z_after"] is None:
        return "<td></td>"
    both = (number(row[key], signed=True, digits=1) for key in ("z_before", "z_after"))
    return f"<td>{' to '.join(both)}</td>"


def _files(report: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(visit['name'])}</td><td>{'scan' if visit['scanned'] else 'head file'}</td>"
        f"<td>{html.escape((visit['sha256'] or 'not a file')[:16])}</td><td>{visit['scan_noise_mm']:.2f}</td></tr>"
        for visit in report["visits"]
    )
    model = report["model"]
    return (
        "<table><thead><tr><th></th><th></th><th>sha-256 begins</th><th>noise of a point, mm</th></tr></thead>"
        f"<tbody>{rows}</tbody></table><p>imhead {html.escape(report['version'])}, model "
        f"{html.escape(model['name'])} {html.escape(model['hash'])}.</p>"
    )


def _verdict(beyond: bool | None) -> str:
    if beyond is None:
        return "noise not known"
    return "beyond the noise" if beyond else "within the noise"


def _strong(beyond: bool | None) -> str:
    return ' class="changed"' if beyond else ""


def _plain(name: str) -> str:
    return html.escape(name.replace("_", " "))
