"""What a notebook shows of a value: a picture and a table, as bounded and escaped HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

from imhead.errors import one_line
from imhead.rendering.figures import contact_sheet
from imhead.rendering.shading import shade
from imhead.reports.page_parts import data_uri
from imhead.types import Mesh

_LONGEST = 200  # characters of a cell
_MOST_ROWS = 16
_STYLE = "display:flex;flex-wrap:wrap;gap:16px;align-items:center"


def value_html(title: str, rows: Sequence[tuple[str, object]], picture: Mesh | None = None) -> str:
    """A title, a table of names and values, and a surface from two sides.

    Args:
        title: one line.
        rows: name and value of each row, which may be any text, also a stranger's; the first rows are shown.
        picture: head frame, mm.
    """
    left = "<td style='text-align:left'>"
    cells = "".join(f"<tr>{left}{_cell(name)}</td>{left}{_cell(value)}</td></tr>" for name, value in rows[:_MOST_ROWS])
    image = "" if picture is None else f'<img alt="{_cell(title)}" src="{_sheet(picture)}">'
    return f'<div style="{_STYLE}">{image}<div><b>{_cell(title)}</b><table>{cells}</table></div></div>'


def _cell(text: object) -> str:
    return html.escape(one_line(text, _LONGEST))


def _sheet(mesh: Mesh) -> str:
    return data_uri(contact_sheet([shade(mesh, view, 280) for view in ("front", "three_quarter")]), "JPEG")
