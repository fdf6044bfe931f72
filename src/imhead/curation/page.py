"""The contact sheet: one HTML page, refused and worst scans first, on which a person accepts, rejects and notes.

A page opened from a disk may write no file: it offers `decisions.csv` for download, to be laid in the folder.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from imhead.curation.decisions import Decision
from imhead.curation.store import PICTURE, SCAN_PICTURE, ScanFolder
from imhead.curation.table import ROUND_COLUMNS, Entry
from imhead.io.atomic import write_atomically

PAGE = "index.html"
MOST_CARDS = 4000
"""Scans that the page shows; a browser becomes slow with more, and nobody looks at them."""
_BUTTONS = (  # a copy has none: a decision on its content would be one on the original
    '<p><button value="accept">accept</button><button value="reject">reject</button>'
    '<input aria-label="note" placeholder="note" maxlength="150"></p>'
)


def write_page(
    out: Path,
    entries: Sequence[Entry],
    model_hash: str,
    decisions: Mapping[str, Decision],
    rounds: Sequence[Sequence[Any]],
) -> None:
    """Write `index.html`.

    Args:
        rounds: rows of `ROUND_COLUMNS`, the present round last.
    """
    ranked = sorted(entries, key=lambda entry: (entry.verdict.accepted, -entry.verdict.rank, entry.raw.file))
    accepted = sum(entry.verdict.accepted for entry in entries)
    people = len({entry.raw.person for entry in entries if entry.verdict.accepted})
    kinds: dict[str, int] = {}
    for entry in entries:
        if not entry.verdict.accepted and entry.verdict.problems:
            kind = entry.verdict.problems[0].kind
            kinds[kind] = kinds.get(kind, 0) + 1
    template = Template((resources.files("imhead.curation") / "assets" / "sheet.html").read_text(encoding="utf-8"))
    more = max(0, len(ranked) - MOST_CARDS)
    hidden = f"; the last {more} of them are in summary.csv alone" if more else ""
    page = template.substitute(
        summary=f"{accepted} of {len(entries)} scans are accepted, of {people} people{hidden}",
        kinds=", ".join(f"{name} {count}" for name, count in sorted(kinds.items())) or "none",
        rounds=_rounds(rounds),
        cards="\n".join(_card(out, entry, model_hash) for entry in ranked[:MOST_CARDS]),
        # a closing tag in a note would end the script
        decisions=json.dumps(
            {key: {"accept": value.accept, "note": value.note} for key, value in sorted(decisions.items())}
        ).replace("<", "\\u003c"),
    )
    write_atomically(out / PAGE, page.encode())


def _rounds(rows: Sequence[Sequence[Any]]) -> str:
    if len(rows) < 2:
        return ""
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in ROUND_COLUMNS)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row) + "</tr>" for row in rows)
    return f"<h2>Rounds</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _card(out: Path, entry: Entry, model_hash: str) -> str:
    raw, verdict = entry.raw, entry.verdict
    folder = ScanFolder.of(out, raw.digest, model_hash).folder
    name = next((name for name in (PICTURE, SCAN_PICTURE) if (folder / name).is_file()), None)
    picture = "" if name is None else (
        f'<img loading="lazy" src="{folder.relative_to(out).as_posix()}/{name}" alt="{html.escape(raw.file)}">'
    )  # fmt: skip
    reasons = "".join(f"<li>{html.escape(str(problem))}</li>" for problem in verdict.problems)
    note = f'<p class="note">{html.escape(verdict.note)}</p>' if verdict.note else ""
    return (
        f'<article class="{entry.status}" data-scan="{raw.digest}" data-file="{html.escape(raw.file)}">{picture}'
        f"<h3>{html.escape(raw.file)} <small>{html.escape(raw.person)}</small></h3>"
        f"<p>{entry.status}, rank {verdict.rank:.2f}{_figures(entry)}</p><ul>{reasons}</ul>{note}"
        f"{_BUTTONS if entry.alone is not None else ''}</article>"
    )


def _figures(entry: Entry) -> str:
    alone, placed = entry.alone or {}, entry.placed or {}
    parts = []
    if placed.get("registered"):
        registered = placed["registered"]
        median = placed["scan_to_head_face_mm"]["median"]
        parts += [] if median is None else [f"face {median:.2f} mm"]
        parts += [f"{100 * registered['face_measured']:.0f} % of the face"]
        if registered["worst_region"] is not None:
            parts += [f"worst {registered['worst_region'].replace('_', ' ')} {registered['worst_region_mm']:.1f} mm"]
    if alone.get("code_sigma") is not None:
        parts.append(f"code {alone['code_sigma']:.2f} σ")
    return html.escape("".join(f" · {part}" for part in parts))
