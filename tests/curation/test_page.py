"""The contact sheet: the worst first, and a stranger's file name is text."""

from __future__ import annotations

from pathlib import Path

from imhead.curation.audit import Verdict
from imhead.curation.decisions import Decision
from imhead.curation.inputs import RawScan
from imhead.curation.page import MOST_CARDS, write_page
from imhead.curation.problems import Problem
from imhead.curation.table import ROUND_COLUMNS, Entry


def entry(file: str, rank: float, *problems: Problem) -> Entry:
    raw = RawScan(Path(file), file, f"{len(file):016d}", "anna")
    return Entry(raw, Verdict(problems, not problems, rank), None, None)


def test_the_worst_scan_comes_first_and_names_are_escaped(tmp_path: Path) -> None:
    bad = entry("<script>alert(1)</script>.ply", 2.0, Problem("partial", "it shows 4 % & less"))
    write_page(tmp_path, [entry("good.ply", 0.4), bad], "model", {"aa": Decision(True, "</script><b>")}, [])
    page = (tmp_path / "index.html").read_text()
    assert page.index("alert(1)") < page.index("good.ply")
    assert "<script>alert" not in page and "</script><b>" not in page
    assert "1 of 2 scans are accepted, of 1 people" in page and "partial 1" in page and "4 % &amp; less" in page


def test_a_copy_has_no_buttons_since_they_would_decide_on_the_original(tmp_path: Path) -> None:
    scan = Entry(entry("good.ply", 0.4).raw, Verdict((), True, 0.4), {}, None)
    write_page(tmp_path, [scan, entry("copy.ply", 10.0, Problem("duplicate", "it is the same file"))], "m", {}, [])
    cards = (tmp_path / "index.html").read_text().split("<article")[1:]
    assert ["<button" in card for card in cards] == [False, True]


def test_two_rounds_stand_in_a_table(tmp_path: Path) -> None:
    rows = [(name, 3, 2, 1, 0.3, 0.9, 0.1, 0.02, 1.1, 3) for name in ("first", "second")]
    write_page(tmp_path, [entry("good.ply", 0.4)], "second", {}, rows)
    page = (tmp_path / "index.html").read_text()
    assert "<th>face mm</th>" in page and "<td>first</td>" in page and len(ROUND_COLUMNS) == len(rows[0])


def test_of_many_scans_the_page_shows_the_worst(tmp_path: Path) -> None:
    scans = [entry(f"scan_{k}.ply", k / (2 * MOST_CARDS)) for k in range(MOST_CARDS + 3)]
    write_page(tmp_path, scans, "model", {}, [])
    page = (tmp_path / "index.html").read_text()
    assert page.count("<article") == MOST_CARDS and "the last 3 of them are in summary.csv alone" in page
    assert "scan_3.ply" in page and "scan_2.ply" not in page
