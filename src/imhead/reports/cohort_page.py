"""The HTML page of a cohort: one printable file with its pictures and plots inside."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from imhead.cohort.groups import LEAST_PEOPLE
from imhead.cohort.study import Study
from imhead.measure.population import STATEMENT as CONTEXT
from imhead.measure.table import measurement
from imhead.reports.page_parts import asset, data_uri
from imhead.reports.plots import agreement, scatter

STATEMENT = (
    "These are statistics of surfaces, not a diagnosis. imhead is no medical device. A head without a measured place "
    "carries the model's guess there, which lies nearer to the model's mean than the person does."
)
LARGE_MM = 1.0
"""Technical error above which a length is pointed out."""
_STYLE = (
    ".plots{display:grid;grid-template-columns:repeat(2,1fr);gap:1rem}.plots>div{break-inside:avoid}"
    "svg{width:100%;font:12px Georgia,serif;"
    "fill:#26262a}.legend span{margin-right:1rem}.legend i{display:inline-block;width:.7em;height:.7em;"
    "border-radius:50%;margin-right:.35em}"
)
_PLOTTED = 4  # measurements with a plot of agreement
_LEAST_PLOTTED = 3  # people of such a plot
_ROWS = 12  # regions of the table of tests


def cohort_page(study: Study, facts: Mapping[str, Any], pictures: Mapping[str, Image.Image]) -> str:
    """One self-contained page.

    Args:
        facts: what `report.json` holds.
        pictures: `mean`, `components`, `shown`, and where there are some `difference` and `repeats`.
    """
    parts = [
        _head(study, facts),
        _figure(pictures["mean"], "Mean heads."),
        _groups(study, facts, pictures.get("difference")),
        _components(study, pictures["components"]),
        _repeats(study, pictures.get("repeats")),
        _measurements(study, facts),
        _missing(study, facts, pictures["shown"]),
        _method(facts),
    ]
    style = asset("comparison.css")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>Cohort of {len(study.person)} people</title>'
        f"<style>{style}{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _head(study: Study, facts: Mapping[str, Any]) -> str:
    groups = facts["groups"]
    named = "; ".join(f"{html.escape(name)}: {count}" for name, count in groups.items())
    warnings = "".join(f'<p class="warn">{html.escape(k)}</p>' for k in facts["warnings"])
    return (
        f'<h1>{len(study.person)} people <span class="lead">in {len(study.sittings)} sittings</span></h1>'
        + (f'<p class="lead">Groups: {named}.</p>' if groups else "")
        + f'{warnings}<p class="note">{STATEMENT}</p>'
    )


def _groups(study: Study, facts: Mapping[str, Any], picture: Image.Image | None) -> str:
    if study.test is None or study.compared is None or picture is None:
        return ""
    first, second = (html.escape(name) for name in study.compared)
    found = study.test.findings(facts["q"])
    if not study.test.tests:
        words = f"No test was made: each needs the scans of {LEAST_PEOPLE} people or more in both groups."
    elif found:
        said = ", ".join(f"{t.region.replace('_', ' ')} ({t.kind})" for t in found)
        words = f"At a false-discovery rate of {facts['q']:g}, {first} and {second} differ in: <b>{said}</b>."
    else:
        words = f"No difference between {first} and {second} was found at a false-discovery rate of {facts['q']:g}."
        words += " That does not show that there is none: the smaller the groups, the larger a difference must be."
    rows = "".join(
        f"<tr{' class=changed' if t.q <= facts['q'] else ''}><td>{t.region.replace('_', ' ')}</td><td>{t.kind}</td>"
        f"<td>{t.people[0]} + {t.people[1]}</td><td>{t.difference_mm:.2f}</td><td>{_p(t.p)}</td><td>{_p(t.q)}</td></tr>"
        for t in sorted(study.test.tests, key=lambda t: t.p)[:_ROWS]
    )
    head = (
        f"<h2>{first} and {second}</h2><p>{words}</p>"
        + _figure(picture, f"Mean of {second} minus mean of {first}, along the normal, on the mean head.")
    )  # fmt: skip
    if not study.test.tests:
        return head
    left = ", ".join(name.replace("_", " ") for name in study.test.untested)
    return (
        f"{head}<table><caption>The tests with the smallest p. Shape: the region laid on itself; its largest "
        "difference along the normal. Place: where its middle lies in the aligned head; the distance.</caption><thead>"
        f"<tr><th></th><th></th><th>people</th><th>mm</th><th>p</th><th>q</th></tr></thead><tbody>{rows}</tbody></table>"
        + (f"<p>Not tested, since too few scans show them: {left}.</p>" if left else "")
    )


def _components(study: Study, picture: Image.Image) -> str:
    kept = study.components
    if kept.scores.shape[1] < 2:
        return ""
    shares = ", ".join(f"{100 * share:.0f} %" for share in kept.explained[:5])
    titles = ("component 1, σ", "component 2, σ")
    return (
        "<h2>How the people vary</h2>"
        f"<p>The first components hold {shares} of the variance.</p>"
        + _figure(picture, "The mean head at two standard deviations along the first components.")
        + f'<div class="plots"><div>{scatter(kept.scores[:, 0], kept.scores[:, 1], study.group, titles)}</div></div>'
    )


def _repeats(study: Study, picture: Image.Image | None) -> str:
    if not study.repeats or picture is None:
        return ""
    ordered = sorted(study.repeats.items(), key=lambda item: -item[1].tem)
    large = [n.replace("_", " ") for n, r in ordered if r.tem > LARGE_MM and measurement(n).unit == "mm"]
    rows = "".join(
        f"<tr{' class=changed' if r.tem > LARGE_MM and measurement(n).unit == 'mm' else ''}>"
        f"<td>{n.replace('_', ' ')}</td><td>{r.people}</td><td>{r.tem:.2f}</td><td>{_figure_of(r.tem_percent, 1)}</td>"
        f"<td>{_figure_of(r.icc, 2)}</td><td>{_between(r.icc_low, r.icc_high)}</td>"
        f"<td>{_figure_of(r.bias, 2)}</td><td>{_between(r.low, r.high)}</td>"
        f"<td>{measurement(n).unit}</td></tr>"
        for n, r in ordered
    )
    plotted = [n for n, r in ordered if r.people >= _LEAST_PLOTTED][:_PLOTTED]
    plots = "".join(f"<div><p>{n.replace('_', ' ')}</p>{_agreement(study, n)}</div>" for n in plotted)
    words = f"The technical error is above {LARGE_MM:g} mm for: {', '.join(large)}." if large else ""
    if not large:
        words = f"The technical error of every length is {LARGE_MM:g} mm or less."
    return (
        f"<h2>Repeated measurements</h2><p>{words} A change of one person that is smaller than 2.8 times the technical "
        "error can be the error alone.</p>"
        + _figure(picture, "Technical error along the normal.")
        + f'<div class="plots">{plots}</div><table><caption>Technical error of measurement (TEM), intraclass '
        "correlation ICC(1,1) with its 95 % interval, mean difference and limits of agreement of the second minus the "
        "first.</caption><thead><tr><th></th><th>people</th><th>TEM</th><th>%</th><th>ICC</th><th>95 %</th><th>mean"
        f"</th><th>limits</th><th>unit</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _agreement(study: Study, name: str) -> str:
    pairs = [
        [study.observations[k].measurements[name] for k in study.rows_of(person) if study.observations[k].seen[name]]
        for person in study.person
    ]
    both = np.array([pair[:2] for pair in pairs if len(pair) >= 2])
    r = study.repeats[name]
    return agreement(both[:, 0], both[:, 1], measurement(name).unit, (r.low, r.bias, r.high))


def _measurements(study: Study, facts: Mapping[str, Any]) -> str:
    groups: Sequence[str] = study.compared or ("",)
    head = "".join(f"<th>{html.escape(name) or 'all'}</th><th>sd</th><th>z</th>" for name in groups)
    body = ""
    for name in study.observations[0].measurements:
        cells = ""
        for group in groups:
            row = facts["measurements"][name][group or "all"]
            cells += f"<td>{_figure_of(row['mean'], 1)}</td><td>{_figure_of(row['sd'], 1)}</td>"
            cells += f"<td>{_figure_of(row['z_model'], 1)}</td>"
        body += f"<tr><td>{name.replace('_', ' ')}</td>{cells}<td>{measurement(name).unit}</td></tr>"
    return (
        f"<h2>Measurements</h2><table><caption>Means over people. {CONTEXT}</caption><thead><tr><th></th>{head}"
        f"<th>unit</th></tr></thead><tbody>{body}</tbody></table>"
    )


def _missing(study: Study, facts: Mapping[str, Any], picture: Image.Image) -> str:
    left = "".join(
        f"<tr><td>{html.escape(k['file'])}</td><td>{html.escape(k['reason'])}</td></tr>" for k in facts["left_out"]
    )
    table = f"<table><caption>Left out.</caption><tbody>{left}</tbody></table>" if left else ""
    share = 100.0 * float(study.measured[:, study.common].mean())
    return (
        f"<h2>What the scans show</h2><p>{share:.0f} % of the surface on which heads are laid was measured.</p>"
        + _figure(picture, "Light: every scan shows it. Dark: none does.")
        + table
    )


def _method(facts: Mapping[str, Any]) -> str:
    return f"<h2>Method</h2><p>{html.escape(facts['method'])}</p>"


def _figure(picture: Image.Image, caption: str) -> str:
    text = html.escape(caption)
    return f'<figure class="wide"><img src="{data_uri(picture)}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _p(value: float) -> str:
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}"


def _between(low: float, high: float) -> str:
    if not np.isfinite([low, high]).all():
        return "n/a"
    return f"{_figure_of(low, 2)} to {_figure_of(high, 2)}"


def _figure_of(value: float | None, digits: int) -> str:
    if value is None or not np.isfinite(value):
        return "n/a"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "&minus;")
