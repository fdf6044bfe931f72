"""A table reads back as it was written."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from imhead.io.csv_file import csv_bytes

CELLS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12) | st.none()


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=5))
def test_a_table_reads_back_with_none_as_an_empty_cell(rows: list[list[str | None]]) -> None:
    content = csv_bytes(("file", "note"), rows)
    read = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert read == [["file", "note"], *([cell or "" for cell in row] for row in rows)]


def test_lines_end_alike_on_every_system() -> None:
    assert csv_bytes(("a", "b"), [(1, 2.5), (None, "x,y")]) == b'a,b\n1,2.5\n,"x,y"\n'
